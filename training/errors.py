"""The errors that this package raises: each says what was expected, what came and what to do."""

__all__ = [
    "BaseWeightsError",
    "ConfigError",
    "CorpusError",
    "NetworkError",
    "OutputError",
    "ParityError",
    "TrainingError",
]


class TrainingError(Exception):
    """Base of every error that `training` raises on purpose."""


class ConfigError(TrainingError):
    """A setting of a run is one that no run could use."""


class CorpusError(TrainingError):
    """Statements cannot be read, break the schema, or cannot be trained on."""


class BaseWeightsError(TrainingError):
    """The pretrained encoder is missing or is not the one that was expected."""


class NetworkError(TrainingError):
    """The network of a version is not built as it must be for its head to be refitted."""


class OutputError(TrainingError):
    """The output folder holds something that must not be overwritten."""


class ParityError(TrainingError):
    """The exported network answers otherwise than the trained one, so no version was written."""
