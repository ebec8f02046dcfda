from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from model.artifact import Manifest, read_manifest
from training.card import model_card
from training.evaluate import table


@pytest.fixture(scope="module")
def manifest(tiny_model: Path) -> Manifest:
    return read_manifest(tiny_model)


def _with_sources(manifest: Manifest, sources: dict[str, int]) -> Manifest:
    splits: dict[str, Any] = manifest.data["splits"]
    return replace(
        manifest, data=manifest.data | {"splits": splits | {"train": splits["train"] | {"sources": sources}}}
    )


def test_front_matter_comes_first(manifest: Manifest) -> None:
    front = model_card(manifest).split("---\n")[1]
    assert front.splitlines() == [
        "license: apache-2.0",
        "language: en",
        "pipeline_tag: text-classification",
        f"base_model: {manifest.base['name']}",
    ]


def test_card_says_version_labels_scores_and_counts(manifest: Manifest) -> None:
    card = model_card(manifest)
    splits = manifest.data["splits"]
    assert "version tiny-1" in card
    assert "`escalatory`, `deterrent`, `de-escalatory`, `none`" in card
    assert table(manifest.metrics) in card
    assert f"Fingerprint `{manifest.data['fingerprint']}`" in card
    assert "\n| split | escalatory | deterrent | de-escalatory | none |\n| --- | --- | --- | --- | --- |\n" in card
    for name, part in splits.items():
        assert f"\n| {name} | " + " | ".join(str(part["labels"][label]) for label in manifest.labels) + " |\n" in card


def test_label_that_a_split_lacks_is_counted_as_none_there(manifest: Manifest) -> None:
    splits = manifest.data["splits"]
    lacking = splits | {"test": splits["test"] | {"labels": {"none": 20}}}
    assert "\n| test | 0 | 0 | 0 | 20 |\n" in model_card(replace(manifest, data=manifest.data | {"splits": lacking}))


def test_composed_statements_alone_name_no_source(manifest: Manifest) -> None:
    assert "public statements" not in model_card(manifest)


def test_sources_of_real_statements_are_named(manifest: Manifest) -> None:
    card = model_card(_with_sources(manifest, {"composed": 100, "voa-newswire": 20, "kcna": 33}))
    assert "public statements from kcna, voa-newswire, kept only as labels and pointers" in card


def test_unknown_commit_is_said_to_be_unknown(manifest: Manifest) -> None:
    assert "commit not recorded" in model_card(replace(manifest, code=manifest.code | {"commit": None}))
