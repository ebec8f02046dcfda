"""The environment that the peers run in: made once, beside Brink's, from `requirements.txt`. Standard library only."""

import subprocess
import sys
from pathlib import Path

PLACE = Path(".venv-peers")

_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_MADE = "requirements-installed.txt"


def peer_programs(place: Path = PLACE) -> Path:
    """Return the folder of the environment's programs; make it first where it is missing or of other requirements."""
    made, wanted = place / _MADE, _REQUIREMENTS.read_text()
    if not made.is_file() or made.read_text() != wanted:
        subprocess.run([sys.executable, "-m", "venv", "--clear", place], check=True)
        pip: list[str | Path] = [
            place / "bin" / "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ]
        subprocess.run([*pip, "-r", _REQUIREMENTS], check=True)
        made.write_text(wanted)
    return (place / "bin").absolute()
