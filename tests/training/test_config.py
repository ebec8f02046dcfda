from typing import Any

import pytest

from model.labels import LABELS
from training.config import DEFAULT_BASE, FitConfig
from training.errors import ConfigError


def test_run_that_names_no_setting_trains_the_default_labels_from_the_packaged_base() -> None:
    assert FitConfig().labels == LABELS
    assert FitConfig().base == DEFAULT_BASE


def test_settings_cannot_be_changed() -> None:
    config = FitConfig()
    with pytest.raises(AttributeError, match="cannot assign to field 'seed'"):
        config.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ({"labels": ()}, "two or more different labels"),
        ({"labels": ("one",)}, "two or more different labels"),
        ({"labels": ("one", "two", "one")}, "two or more different labels"),
        ({"epochs": 0}, "epochs of 1 or more"),
        ({"batch_size": 0}, "a batch_size of 1 or more"),
        ({"learning_rate": -1e-4}, "learning rates of 0 or more"),
        ({"learning_rate": float("nan")}, "learning rates of 0 or more"),
        ({"head_learning_rate": float("inf")}, "learning rates of 0 or more"),
        ({"checkpoint_every_s": -1.0}, "a checkpoint_every_s of 0 or more"),
        ({"max_tokens": 34}, "window_overlap_tokens from 0 to max_tokens - 3"),
        ({"window_overlap_tokens": -1}, "window_overlap_tokens from 0 to max_tokens - 3"),
        ({"test_share": 0.0}, "shares above 0 that leave some for training"),
        ({"test_share": 0.5, "validation_share": 0.5}, "shares above 0 that leave some for training"),
        ({"epochs": 0, "batch_size": 0}, "epochs of 1 or more, a batch_size of 1 or more"),
    ],
)
def test_setting_that_no_run_could_use_is_refused(setting: dict[str, Any], reason: str) -> None:
    with pytest.raises(ConfigError, match=rf"^expected {reason}; came FitConfig\("):
        FitConfig(**setting)


@pytest.mark.parametrize("setting", [{"learning_rate": 0.0}, {"max_tokens": 35}, {"window_overlap_tokens": 0}])
def test_setting_at_its_limit_is_accepted(setting: dict[str, Any]) -> None:
    assert FitConfig(**setting) != FitConfig()
