"""The errors that this package raises. They say what was expected, what came and what to do; they know no HTTP."""

__all__ = [
    "ArtifactError",
    "ModelError",
    "PromotionError",
    "StorageError",
    "UnclassifiableTextError",
    "UnknownVersionError",
]


class ModelError(Exception):
    """Base of every error that `model` raises on purpose."""


class ArtifactError(ModelError):
    """A model folder is missing, incomplete, altered since it was written, or written in a format not known here."""


class UnknownVersionError(ModelError):
    """There is no version of that name."""


class PromotionError(ModelError):
    """A promotion or a rollback does not fit what serves now."""


class StorageError(ModelError):
    """Where the versions lie cannot be read or written now."""


class UnclassifiableTextError(ModelError):
    """One text cannot be classified; the texts beside it can.

    Attributes:
        code: a word for programs: `empty`, `too_long` or `not_unicode`.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
