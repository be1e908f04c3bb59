"""The server's secret key, and what is derived from it."""

import fcntl
import hashlib
import hmac
import os
import secrets
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from mediakeep.errors import SettingsError
from mediakeep.settings import Settings

_MIN_LENGTH = 32

# Without letters and digits that look alike.
_READABLE = "ABCDEFGHJKMNPQRSTVWXYZ23456789"


def load_secret_key(settings: Settings) -> bytes:
    """The setting, or else the key in the data folder, which is made when there is none.

    Processes that start at the same time get the same key. Raises `SettingsError` when the file is no good.
    """
    given = settings.secret_key.get_secret_value()
    if given:
        return given.encode()
    path = settings.data / "secret_key"
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        key = _read_or_make(path)
    except OSError as error:
        raise SettingsError(f"The secret key {path} cannot be read or made: {error.strerror}.") from error
    if len(key) < _MIN_LENGTH:
        raise SettingsError(
            f"The secret key {path} is damaged; delete it, and everybody has to log in again."
        )
    return key


def previous_secret_keys(settings: Settings) -> tuple[bytes, ...]:
    """The key before this one, where it is still given: what it has signed stays good."""
    given = settings.previous_secret_key.get_secret_value()
    return (given.encode(),) if given else ()


@lru_cache(maxsize=16)
def derive_key(secret: bytes, purpose: str) -> bytes:
    """A key of 256 bits for one purpose: what is signed for one is worth nothing for another."""
    return hmac.digest(secret, b"mediakeep:" + purpose.encode(), hashlib.sha256)


def setup_code(secret: bytes) -> str:
    """The code that proves to a fresh server that one may read its log; the same in all its processes."""
    digest = int.from_bytes(derive_key(secret, "set-up code"), "big")
    letters = ""
    for _ in range(10):
        digest, place = divmod(digest, len(_READABLE))
        letters += _READABLE[place]
    return f"{letters[:5]}-{letters[5:]}"


def is_setup_code(secret: bytes, given: str) -> bool:
    """Whether it is the set-up code, in whatever case and with or without its dash."""
    plain = "".join(given.split()).replace("-", "").upper()
    return hmac.compare_digest(plain.encode(), setup_code(secret).replace("-", "").encode())


def _read_or_make(path: Path) -> bytes:
    """The file's content, made under a lock so that nobody reads it half written."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "rb+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        key = file.read().strip()
        if not key:
            key = secrets.token_urlsafe(48).encode()
            file.write(key + b"\n")
            file.flush()
            os.fsync(file.fileno())
            _sync_folder(path.parent)
    return key


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems cannot
            os.fsync(descriptor)
    finally:
        os.close(descriptor)
