"""What every test starts from: the same random numbers and an environment without settings of ours."""

import os
import random

import numpy as np
import pytest


@pytest.fixture(autouse=True)
def _seeds() -> None:
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("BRINK_")]:
        monkeypatch.delenv(name)
