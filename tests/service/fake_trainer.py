"""In place of `python -m training`: does at once what a file of the test says, and notes how it was called.

`python fake_trainer.py FOLDER COMMAND...`. The folder holds `plan`, one word; `template`, a version to copy; `calls`,
to append to; and may hold `go`, which ends a wait.
"""

import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path
from typing import Any


def option(words: list[str], name: str) -> Path:
    return Path(words[words.index(name) + 1])


def train(folder: Path, plan: str, words: list[str]) -> int:
    with option(words, "--progress").open("a", encoding="utf-8") as progress:
        progress.write(
            '{"phase": "reading"}\n{"phase": "training", "epoch": 1, "step": 3, "steps": 9, "loss": 0.5}\n{"ph'
        )
    if plan == "fail":
        sys.stderr.write("training:  50%\rerror: expected a corpus, came none.\n")
        return 1
    if plan == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if plan in {"wait", "deaf"}:
        while not (folder / "go").exists():
            time.sleep(0.01)
    out = option(words, "--out")
    made = shutil.copytree(folder / "template", out.with_name("made"))
    manifest = json.loads((made / "manifest.json").read_bytes()) | {"version": words[words.index("--version") + 1]}
    (made / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    made.rename(out)
    if plan in {"judges", "judges another"}:
        champion = words[words.index("--model") + 1] if plan == "judges" else "another"
        name = json.loads((Path(champion) / "manifest.json").read_bytes())["version"] if plan == "judges" else champion
        option(words, "--verdict").write_text(json.dumps(verdict(plan, words[words.index("--version") + 1], name)))
    return 0


def verdict(plan: str, challenger: str = "", champion: str = "") -> dict[str, Any]:
    check = {"name": "macro-F1, test split", "numbers": {"challenger": 0.5}, "limit": "a loss of at most 0.010"}
    check |= {"passed": plan != "worse", "reason": "0.500 after 0.700"}
    return {"challenger": challenger, "champion": champion, "promoted": plan != "worse", "checks": [check]}


def judge(plan: str) -> int:
    sys.stdout.write(json.dumps(verdict(plan)))
    return 2 if plan == "worse" else 0


def main() -> int:
    folder, words = Path(sys.argv[1]), sys.argv[2:]
    with (folder / "calls").open("a", encoding="utf-8") as calls:
        calls.write(json.dumps({"process": os.getpid(), "words": words}) + "\n")
    plan = (folder / "plan").read_text(encoding="utf-8")
    return judge(plan) if words[0] == "gate" else train(folder, plan, words)


if __name__ == "__main__":
    sys.exit(main())
