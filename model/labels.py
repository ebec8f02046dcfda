"""The default label set, the acts beneath it, and the identity of a text.

Knows nothing of files, models or frameworks: standard library only. A model carries its own labels in its manifest;
what stands here is only the set that is used where a run does not name another.
"""

import hashlib
import unicodedata
from collections.abc import Mapping
from types import MappingProxyType

__all__ = ["ABSTENTION_LABEL", "ACTS", "LABELS", "label_of_act", "normalise_text", "text_digest"]

LABELS = ("escalatory", "deterrent", "de-escalatory", "none")
"""The four labels, in the order of a model's outputs. Defined in data/CODEBOOK.md."""

ABSTENTION_LABEL = "none"
"""The label of a text that takes no stance; every other label is a stance."""

ACTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "escalatory": ("attack", "ultimatum", "hostility", "rupture", "incite", "coerce"),
        "deterrent": ("if-then", "pledge", "show", "warn", "stop", "arm"),
        "de-escalatory": ("call", "offer", "reassure", "agree", "mediate", "ease"),
        "none": ("report", "assess", "condemn", "profess", "procedure", "other"),
    }
)
"""What a statement does; the label follows from the act. Defined in data/CODEBOOK.md."""


def label_of_act(act: object) -> str | None:
    """Return the label that an act of the codebook belongs to; None for anything else."""
    return next((label for label, acts in ACTS.items() if act in acts), None)


def normalise_text(text: str) -> str:
    """Return `text` in Unicode NFC with every run of white space folded to one space and none at either end."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def text_digest(text: str) -> str:
    """Return the SHA-256 of the normalised text, 64 hexadecimal digits: equal for texts that differ only in spacing."""
    return hashlib.sha256(normalise_text(text).encode("utf-8", "surrogatepass")).hexdigest()
