from datetime import timedelta

import jwt
import pytest

from mediakeep.accounts import tokens
from mediakeep.accounts.secrets import derive_key
from mediakeep.accounts.tokens import Claims

CLAIMS = Claims(user_id=7, sign_in="6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d")


def sign(secret, type_="access", lifetime=timedelta(minutes=1)):
    return tokens.sign_token(secret, CLAIMS, type_=type_, lifetime=lifetime)


def test_a_token_says_what_was_signed(secret):
    assert tokens.find_claims(secret, sign(secret), type_="access") == CLAIMS


def test_an_expired_token_says_nothing(secret):
    assert tokens.find_claims(secret, sign(secret, lifetime=timedelta(seconds=-1)), type_="access") is None


def test_a_token_of_another_type_or_server_says_nothing(secret):
    assert tokens.find_claims(secret, sign(secret, "session"), type_="access") is None
    assert tokens.find_claims(secret, sign(secret), type_="session") is None
    assert tokens.find_claims(b"another", sign(secret), type_="access") is None


@pytest.mark.parametrize("algorithm", ["none", "HS512"])
def test_only_our_algorithm_counts(secret, algorithm):
    payload = jwt.decode(sign(secret), options={"verify_signature": False})
    key = None if algorithm == "none" else derive_key(secret, "access token") * 2
    assert tokens.find_claims(secret, jwt.encode(payload, key, algorithm=algorithm), type_="access") is None


@pytest.mark.parametrize("token", ["", ".", "a.b.c", "é", "[" * 5000, "mk_x"])
def test_nonsense_says_nothing(secret, token):
    assert tokens.find_claims(secret, token, type_="access") is None


def test_a_token_that_names_another_type_says_nothing_whatever_key_signed_it(secret):
    payload = {**jwt.decode(sign(secret), options={"verify_signature": False}), "typ": "session"}
    token = jwt.encode(payload, derive_key(secret, "access token"), algorithm="HS256")
    assert tokens.find_claims(secret, token, type_="access") is None


@pytest.mark.parametrize("missing", ["sub", "sid", "exp", "typ"])
def test_every_claim_is_needed(secret, missing):
    payload = jwt.decode(sign(secret), options={"verify_signature": False})
    del payload[missing]
    token = jwt.encode(payload, derive_key(secret, "access token"), algorithm="HS256")
    assert tokens.find_claims(secret, token, type_="access") is None


def test_random_tokens_are_long_never_repeat_and_do_not_show_themselves():
    key, other = tokens.new_api_key(), tokens.new_api_key()
    assert key.text.startswith("mk_")
    assert len(key.text) >= 46
    assert key.text != other.text
    assert key.digest == tokens.digest_of(key.text)
    assert key.text not in repr(key)
    assert key.text not in key.digest
