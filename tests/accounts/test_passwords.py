import asyncio
import threading
import time

import pytest
from argon2 import PasswordHasher

from mediakeep.accounts import passwords
from mediakeep.errors import InvalidInput, Unavailable

#: As it is where no test replaces it by a cheap one.
NOBODY = passwords._NOBODY


async def test_a_password_is_verified_against_its_hash_only():
    password_hash = await passwords.hash_password("correct horse")
    assert password_hash.startswith("$argon2id$")
    assert await passwords.verify_password(password_hash, "correct horse")
    assert not await passwords.verify_password(password_hash, "correct horsf")


async def test_composed_and_decomposed_letters_are_the_same_password():
    password_hash = await passwords.hash_password("Äpfelsaft")
    assert await passwords.verify_password(password_hash, "A\u0308pfelsaft")


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025])
async def test_too_short_and_too_long_passwords_are_refused(password):
    with pytest.raises(InvalidInput, match="8 to 1024 characters"):
        await passwords.hash_password(password)


async def test_an_unknown_account_takes_as_long_as_a_known_one(monkeypatch):
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher())
    monkeypatch.setattr(passwords, "_NOBODY", NOBODY)
    password_hash = await passwords.hash_password("correct horse")

    async def seconds(against):
        best = 1e9
        for _ in range(3):
            started = time.perf_counter()
            assert not await passwords.verify_password(against, "wrong horse")
            best = min(best, time.perf_counter() - started)
        return best

    assert await seconds(None) > 0.5 * await seconds(password_hash)


async def test_no_password_is_that_of_an_unknown_account(monkeypatch):
    monkeypatch.setattr(passwords, "_NOBODY", await passwords.hash_password("correct horse"))
    assert not await passwords.verify_password(None, "correct horse")


async def test_hashes_with_other_parameters_are_to_be_renewed(monkeypatch):
    password_hash = await passwords.hash_password("correct horse")
    assert not passwords.needs_rehash(password_hash)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(time_cost=2, memory_cost=8, parallelism=1))
    assert passwords.needs_rehash(password_hash)


async def test_when_too_many_wait_the_next_is_told_to_come_back(monkeypatch):
    go_on = threading.Event()

    class SlowHasher:
        def hash(self, _password):
            go_on.wait(10)
            return "hash"

    monkeypatch.setattr(passwords, "_HASHER", SlowHasher())
    waiting = [asyncio.create_task(passwords.hash_password("correct horse")) for _ in range(34)]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable) as refusal:
        await passwords.hash_password("correct horse")
    assert int(refusal.value.headers["Retry-After"]) > 0
    go_on.set()
    assert await asyncio.gather(*waiting) == ["hash"] * 34
    assert await passwords.hash_password("correct horse") == "hash"
