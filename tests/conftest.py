"""What every test starts from: the same random numbers, no settings of ours, no network; and one tiny fitted model."""

import os
import random
from pathlib import Path

import hypothesis
import numpy as np
import pytest

# Libraries read these when they are first imported, which is after this file; child processes inherit them.
os.environ["OMP_NUM_THREADS"] = "1"  # more threads than one slow a tiny network down where others compute
os.environ["HF_HUB_OFFLINE"] = "1"

# An example that is slow because the machine is busy is no failure.
hypothesis.settings.register_profile("brink", deadline=None)
hypothesis.settings.load_profile("brink")


DEFAULT_KILLS = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kills", type=int, default=DEFAULT_KILLS, help="how often processes are killed in tests/service/test_faults"
    )


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRINK_")]:
        monkeypatch.delenv(name)


# The imports within these three: torch takes seconds to load, which the service's tests do not need.


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import build_base

    return build_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="session")
def tiny_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.tiny import tiny_rows, write_rows

    return write_rows(tmp_path_factory.mktemp("corpus") / "statements.jsonl", tiny_rows(200))


@pytest.fixture(scope="session")
def tiny_model(tiny_base: Path, tiny_corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A complete version; tests read it and never write to it."""
    from tests.tiny import tiny_config
    from training.fit import fit

    folder = tmp_path_factory.mktemp("model")
    fit(tiny_config(tiny_base), [tiny_corpus], folder, "tiny-1")
    return folder
