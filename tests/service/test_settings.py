"""The environment as settings: defaults, and each mistake named with its remedy."""

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from service.errors import SettingsError
from service.settings import Settings, load_settings

DEFAULTS: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 8000,
    "allow_anonymous": False,
    "model": "fast",
    "models": "models/versions",
    "models_cache": "models/cache",
    "database_url": "sqlite:///brink.db",
    "training": "models/trainings",
    "corpus": "data/statements",
    "splits": "data/splits",
    "threads": 0,
    "workers": 1,
    "max_body_bytes": 67_108_864,
    "max_queued_tokens": 131_072,
    "request_timeout_s": 60.0,
    "shutdown_timeout_s": 60,
    "drift_answers": 1000,
    "log_level": "info",
    "log_format": "json",
}


def test_defaults() -> None:
    assert load_settings({}).model_dump() == DEFAULTS
    assert Settings().model_dump() == DEFAULTS


def test_every_setting_has_its_variable() -> None:
    given_values = {
        "BRINK_HOST": "0.0.0.0",
        "BRINK_PORT": "0",
        "BRINK_ALLOW_ANONYMOUS": "true",
        "BRINK_MODEL": "/models/ours",
        "BRINK_MODELS": "s3://bucket/brink",
        "BRINK_MODELS_CACHE": "/var/cache/brink",
        "BRINK_DATABASE_URL": "postgresql://brink@db/brink",
        "BRINK_TRAINING": "/var/trainings",
        "BRINK_CORPUS": "/data/statements.jsonl",
        "BRINK_SPLITS": "",
        "BRINK_THREADS": "4",
        "BRINK_WORKERS": "3",
        "BRINK_MAX_BODY_BYTES": "1024",
        "BRINK_MAX_QUEUED_TOKENS": "1024",
        "BRINK_REQUEST_TIMEOUT_S": "0.5",
        "BRINK_SHUTDOWN_TIMEOUT_S": "0",
        "BRINK_DRIFT_ANSWERS": "200",
        "BRINK_LOG_LEVEL": "debug",
        "BRINK_LOG_FORMAT": "console",
    }
    assert load_settings(given_values).model_dump() == {
        "host": "0.0.0.0",
        "port": 0,
        "allow_anonymous": True,
        "model": "/models/ours",
        "models": "s3://bucket/brink",
        "models_cache": "/var/cache/brink",
        "database_url": "postgresql://brink@db/brink",
        "training": "/var/trainings",
        "corpus": "/data/statements.jsonl",
        "splits": "",
        "threads": 4,
        "workers": 3,
        "max_body_bytes": 1024,
        "max_queued_tokens": 1024,
        "request_timeout_s": 0.5,
        "shutdown_timeout_s": 0,
        "drift_answers": 200,
        "log_level": "debug",
        "log_format": "console",
    }
    assert {name.removeprefix("BRINK_").lower() for name in given_values} == Settings.model_fields.keys()


def test_every_setting_has_a_description() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("BRINK_HOST", "", "at least 1 character"),
        ("BRINK_PORT", "65536", "less than or equal to 65535"),
        ("BRINK_PORT", "-1", "greater than or equal to 0"),
        ("BRINK_PORT", "http", "valid integer"),
        ("BRINK_PORT", "", "valid integer"),
        ("BRINK_PORT", "tcp://10.0.0.1:8000", "valid integer"),
        ("BRINK_MODEL", "", "at least 1 character"),
        ("BRINK_THREADS", "-1", "greater than or equal to 0"),
        ("BRINK_THREADS", "1025", "less than or equal to 1024"),
        ("BRINK_THREADS", "1.5", "valid integer"),
        ("BRINK_WORKERS", "0", "greater than or equal to 1"),
        ("BRINK_WORKERS", "257", "less than or equal to 256"),
        ("BRINK_MAX_BODY_BYTES", "1023", "greater than or equal to 1024"),
        ("BRINK_MAX_BODY_BYTES", "64MB", "valid integer"),
        ("BRINK_MAX_QUEUED_TOKENS", "1023", "greater than or equal to 1024"),
        ("BRINK_REQUEST_TIMEOUT_S", "0", "greater than 0"),
        ("BRINK_REQUEST_TIMEOUT_S", "nan", "less than or equal to 3600"),
        ("BRINK_REQUEST_TIMEOUT_S", "inf", "less than or equal to 3600"),
        ("BRINK_REQUEST_TIMEOUT_S", "1m", "valid number"),
        ("BRINK_SHUTDOWN_TIMEOUT_S", "-1", "greater than or equal to 0"),
        ("BRINK_SHUTDOWN_TIMEOUT_S", "3601", "less than or equal to 3600"),
        ("BRINK_LOG_LEVEL", "INFO", "'debug', 'info', 'warning' or 'error'"),
        ("BRINK_LOG_FORMAT", "xml", "'json' or 'console'"),
    ],
)
def test_bad_value_is_named_with_what_was_expected(name: str, value: str, reason: str) -> None:
    expected = rf"^bad settings: {name}={re.escape(repr(value))}: (Input|String) should .*{re.escape(reason)}"
    with pytest.raises(SettingsError, match=expected):
        load_settings({name: value})


def test_all_bad_values_are_named_at_once() -> None:
    with pytest.raises(SettingsError, match=r"BRINK_PORT='x': .*; BRINK_LOG_LEVEL='y': "):
        load_settings({"BRINK_LOG_LEVEL": "y", "BRINK_PORT": "x"})


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BRINK_MODLE", "BRINK_MODEL"),
        ("BRINK_MAX_BODY", "BRINK_MAX_BODY_BYTES"),
        ("BRINK_TIMEOUT_S", "BRINK_REQUEST_TIMEOUT_S"),
        ("brink_port", "BRINK_PORT"),
        ("Brink_Log_Level", "BRINK_LOG_LEVEL"),
    ],
)
def test_unknown_variable_is_named_with_the_one_that_was_meant(name: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"^unknown setting {name}: did you mean {meant}\?$"):
        load_settings({"BRINK_PORT": "1", name: "x"})


def test_unknown_variable_like_no_other_gets_the_list() -> None:
    with pytest.raises(SettingsError, match=r"^unknown setting BRINK_QQ: known are BRINK_HOST, .*BRINK_LOG_FORMAT\.$"):
        load_settings({"BRINK_QQ": "1"})


def test_variables_of_other_programs_are_left_alone() -> None:
    others = {
        "PORT": "1",
        "HOST": "x",
        "MODEL": "x",
        "LOG_LEVEL": "x",
        "BRINKMANSHIP": "1",
        "XBRINK_PORT": "1",
        "": "1",
    }
    assert load_settings(others) == Settings()


def test_only_the_given_environment_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRINK_PORT", "9")
    monkeypatch.setenv("BRINK_LOG_LEVEL", "nonsense")
    assert load_settings({}) == Settings()
    assert Settings().port == 8000


@pytest.mark.parametrize(
    ("threads", "workers", "expected"), [(0, 1, 0), (0, 3, 2), (0, 8, 1), (0, 20, 1), (5, 1, 5), (5, 3, 5)]
)
def test_workers_share_the_processors_and_the_queue(
    threads: int, workers: int, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.settings.available_processors", lambda: 8)
    settings = Settings(threads=threads, workers=workers, max_queued_tokens=9000)
    assert settings.engine_threads == expected
    assert settings.worker_queued_tokens == 9000 // workers


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Settings().port = 1  # type: ignore[misc]  # the point of the test


def test_unknown_argument_is_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs are not permitted"):
        Settings(prot=1)  # type: ignore[call-arg]  # the point of the test


@given(st.dictionaries(st.text(max_size=12).map("BRINK_".__add__) | st.text(), st.text(max_size=20), max_size=4))
def test_any_environment_gives_settings_or_a_reason(environment: dict[str, str]) -> None:
    try:
        reason = f"{load_settings(environment)}"
    except SettingsError as error:
        reason = str(error)
    assert reason.startswith(("host=", "unknown setting ", "bad settings: BRINK_"))
