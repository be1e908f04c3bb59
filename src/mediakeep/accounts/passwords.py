"""Passwords as argon2id hashes. Hashing is slow on purpose: do it outside transactions."""

import asyncio
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from mediakeep.errors import InvalidInput

MIN_CHARACTERS = 8
MAX_CHARACTERS = 1024

_T = TypeVar("_T")

_HASHER = PasswordHasher()

# Each hash takes 64 MiB: a flood of logins must fill neither the memory nor the threads that files are read in.
_THREADS = ThreadPoolExecutor(2, thread_name_prefix="password")

# The hash of a password that nobody knows: verifying against it takes as long as against a real one.
_NOBODY = "$argon2id$v=19$m=65536,t=3,p=4$bm8gb25lIGtub3dzIQ$Cr6eKxPXeVxtQkRYGwfG0TnpIZPVzPUoNQwXUvPP8zA"


async def hash_password(password: str, *, field: str = "password") -> str:
    """Hash a new password. Raises `InvalidInput` for `field` when it is too short or too long."""
    if not MIN_CHARACTERS <= len(password) <= MAX_CHARACTERS:
        raise InvalidInput(
            f"The password must have {MIN_CHARACTERS} to {MAX_CHARACTERS} characters.", field=field
        )
    return await _in_thread(_HASHER.hash, password)


async def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether `password` is the one that was hashed. Takes as long without a hash, so that time tells nothing."""
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
    return await asyncio.get_running_loop().run_in_executor(_THREADS, work, plain)
