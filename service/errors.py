"""The errors that this package raises; `service.problems` turns them into answers."""

__all__ = [
    "ConflictError",
    "DatabaseError",
    "DeadlineError",
    "InvalidError",
    "MissingError",
    "NotReadyError",
    "OverloadedError",
    "ServiceError",
    "SettingsError",
    "TableError",
    "TrainingFailedError",
]


class ServiceError(Exception):
    """Base of every error that `service` raises on purpose."""


class SettingsError(ServiceError):
    """The environment holds a setting that is unknown or does not fit."""


class TableError(ServiceError):
    """A file of rows cannot be read or written."""


class NotReadyError(ServiceError):
    """No model is loaded yet, or the service is shutting down."""


class DeadlineError(ServiceError):
    """A request's time ran out before it was computed."""


class OverloadedError(ServiceError):
    """The queue has no room for a request.

    Attributes:
        retry_after_s: seconds after which there should be room, by the measured speed.
    """

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class DatabaseError(ServiceError):
    """The database cannot be used now, or its URL does not fit."""


class MissingError(ServiceError):
    """There is no such thing."""


class ConflictError(ServiceError):
    """What is asked for does not fit the present state."""


class InvalidError(ServiceError):
    """A value does not fit what is known of it."""


class TrainingFailedError(ServiceError):
    """A training run came to no end; says why."""
