"""Joins labels with texts that are kept elsewhere, by the hash of the text.

The text of other people's statements is not part of this project, only what was read into it: pointers with labels.
Whoever has the texts, from the public collections that data/real/README.md names, gets training statements back.
"""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.labels import normalise_text, text_digest
from training.corpus import json_rows
from training.errors import CorpusError

__all__ = ["Rehydrated", "rehydrate"]

_POINTER = ("id", "source", "sha256", "label")
_OPTIONAL = ("document", "act")


@dataclass(frozen=True)
class Rehydrated:
    """What came of a join.

    Attributes:
        statements: rows that `training.corpus` reads, in the order of the pointers.
        missing: how many pointers of each source found no text.
    """

    statements: list[dict[str, Any]]
    missing: dict[str, int]


def rehydrate(pointers: Iterable[Path], texts: Sequence[Path]) -> Rehydrated:
    """Join pointers with the texts of JSON Lines files (`text` in each row; all else in them is ignored).

    Raises:
        CorpusError: a file is missing, or a line is not what it should be.
    """
    text_of = {text_digest(text): text for _, row in json_rows(texts) if isinstance(text := row.get("text"), str)}
    statements, missing = [], Counter[str]()
    for _, row in json_rows(pointers):
        if absent := [name for name in _POINTER if not isinstance(row.get(name), str)]:
            raise CorpusError(f"a pointer lacks {', '.join(absent)}: {json.dumps(row)[:200]}")
        text = text_of.get(row["sha256"])
        if text is None:
            missing[row["source"]] += 1
        else:
            kept = {name: row.get(name) for name in (*_POINTER, *_OPTIONAL) if name != "sha256"}
            statements.append(kept | {"text": normalise_text(text)})
    return Rehydrated(statements, dict(missing.most_common()))
