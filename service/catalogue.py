"""What can be said of each version without loading it: published, shipped, serving or failed, and its report."""

import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from model.artifact import Manifest, locate_file
from model.errors import ArtifactError, UnknownVersionError
from service.models import Models

__all__ = ["Described", "describe", "describe_all", "read_report"]

_REPORT = "report"
_PLOT = re.compile(r"[\w-]+\.svg")

VersionState = Literal["current", "available", "shipped", "failed"]


@dataclass(frozen=True)
class Described:
    """One version.

    Attributes:
        version: its name.
        state: `current` is promoted, or serves because nothing is; `failed` could not be loaded when it was tried, or
            has no manifest that can be read.
        reason: why it failed; None where it did not.
        manifest: None where it cannot be read.
        published_at: when it became complete where the versions are; None for a shipped one.
    """

    version: str
    state: VersionState
    reason: str | None
    manifest: Manifest | None
    published_at: datetime | None


def describe_all(models: Models) -> list[Described]:
    """Return every version that is published or shipped, in the order of their names."""
    names = {*models.versions.names(), *models.shipped(), *models.failures}
    if (default := models.default_name) is not None:
        names.add(default)
    current = models.name_of(models.versions.current().version)
    return [_described(models, name, current) for name in sorted(names)]


def describe(models: Models, version: str) -> Described:
    """Return one version; raises `UnknownVersionError` where there is none of that name."""
    return _described(models, version, models.name_of(models.versions.current().version))


def _described(models: Models, version: str, current: str | None) -> Described:
    manifest, published_at, shipped, reason = None, None, False, models.failures.get(version)
    try:
        manifest = models.versions.describe(version)
        published_at = models.versions.published_at(version)
    except UnknownVersionError:
        manifest = models.shipped_manifest(version)
        shipped = manifest is not None
        if not shipped and reason is None:
            raise
    except ArtifactError as error:
        reason = reason or str(error)
    if reason is not None:
        state: VersionState = "failed"
    elif version == current:
        state = "current"
    else:
        state = "shipped" if shipped else "available"
    return Described(version, state, reason, manifest, published_at)


def read_report(models: Models, version: str, plot: str | None = None) -> bytes:
    """Return a version's report, or one of its plots.

    Raises:
        UnknownVersionError: there is no such version, or it has no such file.
    """
    manifest = describe(models, version).manifest
    name = "README.md" if plot is None else plot
    path = f"{_REPORT}/{name}"
    is_name = plot is None or _PLOT.fullmatch(plot)
    if manifest is None or path not in manifest.files or not is_name:
        raise UnknownVersionError(f"the version {version} has no report/{name[:100]!a}.")
    folder = models.shipped().get(version)
    content = models.versions.read(version, path) or (_read(folder, path) if folder else None)
    if content is None:
        raise UnknownVersionError(f"the version {version} has lost its report/{name}.")
    return content


def _read(folder: Path, path: str) -> bytes | None:
    file = locate_file(folder, path)
    return file.read_bytes() if file.is_file() else None
