"""Files that commands write: never over something that is there."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from training.errors import OutputError

__all__ = ["refuse_existing", "write_new"]


def refuse_existing(path: Path) -> None:
    """Raise `OutputError` where something stands at `path`."""
    if path.exists():
        raise OutputError(f"{path} exists and is not overwritten; choose another name or remove it.")


def write_new(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows as JSON Lines to a new file, with the folders above it.

    Raises:
        OutputError: the file exists.
    """
    refuse_existing(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
