"""Who may do what: API keys with scopes, kept as digests in the database.

A key is 256 random bits, so its plain SHA-256 cannot be reversed, and needs no salt. While there is no key, whoever
reaches the port may do everything, as `local`; `service.__main__` then refuses to listen beyond this machine.
"""

import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from time import monotonic
from typing import Literal, get_args

from sqlalchemy import select

from service.database import Database
from service.errors import ConflictError, DatabaseError, InvalidError, MissingError, SettingsError
from service.records import KeyRecord

__all__ = ["ANONYMOUS", "SCOPES", "Access", "Key", "Keys", "Scope", "check_listening", "is_loopback"]

Scope = Literal["predict", "label", "admin"]
SCOPES: tuple[Scope, ...] = get_args(Scope)

ANONYMOUS = "local"
"""Who makes a change where there are no keys."""

_PREFIX = "brink_"
# A key that was made or revoked counts after so many seconds at the latest.
_REFRESH_S = 5.0


@dataclass(frozen=True)
class Key:
    """What is known of a key; the key itself is shown once, when it is made."""

    name: str
    scopes: tuple[Scope, ...]
    created_at: datetime
    revoked_at: datetime | None
    digest: str

    def allows(self, scope: Scope) -> bool:
        """Return whether the key has the scope; `admin` has all."""
        return scope in self.scopes or "admin" in self.scopes


class Keys:
    """The keys of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, name: str, scopes: Sequence[str]) -> str:
        """Make a key and return it: the only time that it is seen.

        Raises:
            InvalidError: a scope is unknown, there is none, or the name is empty or too long.
            ConflictError: there is a key of that name, revoked or not; the audit tells people by it.
        """
        if not scopes or not set(scopes) <= set(SCOPES):
            raise InvalidError(f"expected one or more of the scopes {', '.join(SCOPES)}, came {', '.join(scopes)}.")
        if not 0 < len(name.strip()) <= 200 or name == ANONYMOUS:
            raise InvalidError(f"expected a name of 1 to 200 characters that is not {ANONYMOUS!r}, came {name!r}.")
        secret = _PREFIX + secrets.token_urlsafe(32)
        with self._database.writing() as session:
            if session.scalar(select(KeyRecord).where(KeyRecord.name == name)):
                raise ConflictError(f"there is or was a key {name!r}; choose another name.")
            joined = ",".join(scope for scope in SCOPES if scope in scopes)
            session.add(KeyRecord(name=name, digest=_digest(secret), scopes=joined, created_at=datetime.now(UTC)))
        return secret

    def revoke(self, name: str) -> None:
        """Make a key worthless; raises `MissingError` where there is none of that name that is not revoked."""
        with self._database.writing() as session:
            record = session.scalar(select(KeyRecord).where(KeyRecord.name == name, KeyRecord.revoked_at.is_(None)))
            if record is None:
                raise MissingError(f"there is no key {name!r} to revoke.")
            record.revoked_at = datetime.now(UTC)

    def all(self) -> list[Key]:
        """Return every key, revoked ones too, in the order in which they were made."""
        if not self._database.exists():
            return []
        with self._database.reading() as session:
            records = session.scalars(select(KeyRecord).order_by(KeyRecord.number))
            return [
                Key(each.name, _scopes(each.scopes), each.created_at, each.revoked_at, each.digest) for each in records
            ]


def _scopes(joined: str) -> tuple[Scope, ...]:
    return tuple(scope for scope in SCOPES if scope in joined.split(","))


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


class Access:
    """The keys as a service asks for them: read again every few seconds, and kept while the database is away."""

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._known: list[Key] = []
        self._read_at: float | None = None
        self._reading = threading.Lock()

    def is_stale(self) -> bool:
        """Return whether the keys should be read again."""
        return self._read_at is None or monotonic() - self._read_at > _REFRESH_S

    def refresh(self) -> None:
        """Read the keys, unless another thread is at it and some reading is known.

        Raises:
            DatabaseError: they cannot be read, and never were: nobody is let in.
        """
        with self._reading:
            if not self.is_stale():
                return
            try:
                # Keys are revoked, never deleted: a database that has none any more is another one.
                self._known = self._keys.all() or self._known
            except DatabaseError:
                if self._read_at is None:
                    raise
            self._read_at = monotonic()

    @property
    def is_open(self) -> bool:
        """Whether no key was ever made: revoking the last one does not open the service."""
        return not self._known

    def identify(self, secret: str) -> Key | None:
        """Return the key that a secret is, or None; every known one is compared, each in constant time."""
        digest = _digest(secret)
        found = None
        for key in self._known:
            if hmac.compare_digest(key.digest, digest) and key.revoked_at is None:
                found = key
        return found


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check_listening(host: str, allow_anonymous: bool, keys: Keys) -> None:
    """Refuse to listen beyond this machine where nobody is asked who they are.

    Raises:
        SettingsError: there is no key, and being open to all was not asked for.
    """
    if is_loopback(host) or allow_anonymous:
        return
    try:
        if keys.all():
            return
        reason = "there is no API key"
    except DatabaseError as error:
        reason = f"the API keys cannot be read ({error})"
    raise SettingsError(
        f"refused to listen on {host}, which others may reach: {reason}. Make a key with `python -m service keys "
        "create NAME --scopes predict label`, listen on 127.0.0.1, or set BRINK_ALLOW_ANONYMOUS=true to be open to all."
    )
