"""The README's first screen and tables hold: what it shows is what the program does."""

import json
import re
import shlex
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from service.app import create_app
from service.settings import PREFIX, Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\w*\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.artifact
def test_curl_example_gets_the_answer_shown() -> None:
    words = shlex.split(next(block for block in BLOCKS if block.startswith("curl")).replace("\\\n", " "))
    shown = json.loads(next(block for block in BLOCKS if block.startswith("{")))
    with TestClient(create_app(Settings())) as client:
        path = "/" + words[2].split("/", 1)[1]
        answer = client.post(path, content=words[words.index("-d") + 1], headers={"content-type": "application/json"})
    assert answer.status_code == 200
    got = answer.json()
    assert got["model"] == shown["model"]
    for said, expected in zip(got["predictions"], shown["predictions"], strict=True):
        # Processors differ in the last digits of sums; the README rounds to two.
        assert said.pop("probabilities") == pytest.approx(expected.pop("probabilities"), abs=0.03)
        assert said.pop("confidence") == pytest.approx(expected.pop("confidence"), abs=0.03)
        assert said == expected


def test_folder_tree_names_what_is_there() -> None:
    tree = next(block for block in BLOCKS if block.startswith("model/"))
    names = [line.split()[0] for line in tree.splitlines() if not line.startswith(" ")]
    assert [name for name in names if not (ROOT / name).exists()] == []
    shown = (path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith("."))
    folders = {f"{path.name}/" for path in shown if (path / "README.md").exists()}
    assert folders <= set(names)


def test_make_targets_shown_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"\bmake ([a-z]+)", "".join(BLOCKS))
    assert set(targets) >= {"serve", "test", "train"}
    assert [target for target in targets if f"\n{target}:" not in makefile] == []


def test_every_setting_is_in_the_table_with_its_default() -> None:
    rows = dict(re.findall(rf"^\| (`{PREFIX}[^|]+) \| ([^|]+) \|", README, re.MULTILINE))
    shown = {}
    for names, defaults in rows.items():
        shown |= dict(zip(re.findall(r"`(\w+)`", names), re.findall(r"`([^`]+)`", defaults), strict=True))
    expected = {f"{PREFIX}{name}".upper(): field.default for name, field in Settings.model_fields.items()}
    assert shown.keys() == expected.keys()
    for name, default in expected.items():
        assert shown[name] == (f"{default:g}" if isinstance(default, float) else str(default))
