"""Versions that differ from the tiny one in one thing, made without training: what the gate is shown."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from model.artifact import file_digests, read_manifest, write_manifest
from model.classifier import NETWORK
from tests.tiny import write_rows
from training.features import ShippedEncoder
from training.head import Head, with_head
from training.provenance import Provenance
from training.split import PARTS, write_splits

__all__ = ["exam_files", "learnt_from", "noisy", "variant", "without_label"]


def variant(
    source: Path,
    folder: Path,
    version: str,
    change: Callable[[Head], Head] = lambda head: head,
    **manifest: Any,
) -> Path:
    """Copy a version under another name, its head and fields of its manifest changed."""
    shutil.copytree(source, folder)
    opened = ShippedEncoder.open(source)
    (folder / NETWORK).write_bytes(with_head(opened.network, change(opened.head)))
    fields = {"version": version, "files": file_digests(folder)} | manifest
    write_manifest(folder, replace(read_manifest(source), **fields))
    return folder


def learnt_from(folder: Path, digests: list[str] | None) -> Path:
    """Let a version record that it learnt from texts of these digests, or that nobody knows."""
    ids: dict[str, list[str]] = {part: [] for part in PARTS}
    Provenance(ids, None if digests is None else {**ids, "train": digests}).write(folder)
    write_manifest(folder, replace(read_manifest(folder), files=file_digests(folder)))
    return folder


def noisy(scale: float) -> Callable[[Head], Head]:
    """Return a change that makes a head wrong now and then, by noise in units of its weights' spread."""

    def change(head: Head) -> Head:
        noise = np.random.default_rng(0).normal(size=head.weight.shape) * head.weight.std() * scale
        return replace(head, weight=(head.weight + noise).astype(np.float32))

    return change


def without_label(label: int) -> Callable[[Head], Head]:
    """Return a change under which a head hardly ever says one label."""

    def change(head: Head) -> Head:
        bias = head.bias.copy()
        bias[label] -= 10.0
        return replace(head, bias=bias)

    return change


def exam_files(folder: Path, rows: list[dict[str, Any]]) -> tuple[Path, Path]:
    """Write rows as a corpus of which all but two are tested; return its file and its folder of split files."""
    part_of = {row["id"]: "test" for row in rows} | {rows[0]["id"]: "train", rows[1]["id"]: "validation"}
    write_splits(folder / "splits", part_of)
    return write_rows(folder / "exam.jsonl", rows), folder / "splits"
