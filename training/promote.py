"""From a verdict to what is served: publishes a challenger into the folder of versions and points to it."""

from pathlib import Path
from typing import Any, Protocol

import model.versions

__all__ = ["Versions", "open_versions", "publish_and_promote"]


class Versions(Protocol):
    """What is needed of a folder of versions."""

    def publish(self, folder: Path) -> str:
        """Copy a finished version in and return its name; it does not serve yet."""

    def promote(self, version: str, who: str) -> Any:
        """Let a version serve; `who` decided it."""


def open_versions(location: str) -> Versions:
    """Return the folder of versions at a folder's path or a URL; raises `StorageError` where nothing reaches it."""
    return model.versions.Versions(location)


def publish_and_promote(versions: Versions, challenger: Path, who: str) -> None:
    """Let a challenger serve that the gate has passed.

    Args:
        versions: that are served.
        challenger: its folder.
        who: decided it, for the history.
    """
    versions.promote(versions.publish(challenger), who)
