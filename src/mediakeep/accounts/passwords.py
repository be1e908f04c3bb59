"""Passwords as argon2id hashes. Hashing is slow on purpose: do it outside transactions."""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mediakeep.errors import InvalidInput, Unavailable

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1024

_T = TypeVar("_T")

_HASHER = PasswordHasher()

# Each hash takes 64 MiB: a flood of logins must fill neither the memory nor the threads that files are read in.
_WORKERS = 2
_THREADS = ThreadPoolExecutor(_WORKERS, thread_name_prefix="password")

# With more than these in front, a caller has given up before the turn comes.
_MAX_WAITING = 32

_under_way: set[asyncio.Future[Any]] = set()  # each with the type of what it was asked to do

# The hash of a password that nobody knows: verifying against it takes as long as against a real one.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$bm8gb25lIGtub3dzIQ$Cr6eKxPXeVxtQkRYGwfG0TnpIZPVzPUoNQwXUvPP8zA"


async def hash_password(password: str, *, field: str = "password") -> str:
    """Hash a new password.

    Raises `InvalidInput` for `field` when it is too short or too long, `Unavailable` when too many wait already.
    """
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidInput(
            f"The password must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters.", field=field
        )
    return await _in_thread(_HASHER.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one that was hashed. Takes as long without a hash, so that time tells nothing.

    Raises `Unavailable` when too many wait already.
    """
    try:
        await _in_thread(partial(_HASHER.verify, password_hash or _NOBODY), password)
    except (VerificationError, InvalidHashError):
        return False
    return password_hash is not None


def needs_rehash(password_hash: str) -> bool:
    """Whether the hash was made with other parameters than new ones are."""
    return _HASHER.check_needs_rehash(password_hash)


async def _in_thread(work: Callable[[str], _T], password: str) -> _T:
    # The same letters can come as different code points from different keyboards.
    plain = unicodedata.normalize("NFC", password)
    if len(_under_way) >= _WORKERS + _MAX_WAITING:
        raise Unavailable("Too many passwords are being checked. Try again in a moment.")
    hashing = asyncio.get_running_loop().run_in_executor(_THREADS, work, plain)
    _under_way.add(hashing)
    try:
        return await hashing
    finally:
        _under_way.discard(hashing)
