"""Tokens: short-lived signed ones (JWT), and random ones of which only the hash is kept."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

import jwt

from mediakeep.accounts.secrets import derive_key

API_KEY_PREFIX = "mk_"

_ALGORITHM = "HS256"

#: `access` goes into the Authorization header, `session` is the page's cookie. Neither passes for the other.
TokenType = Literal["access", "session"]


@dataclass(frozen=True, kw_only=True)
class Claims:
    """What a signed token says: which user, by which sign-in (its public id)."""

    user_id: int
    sign_in: str


@dataclass(frozen=True, kw_only=True)
class RandomToken:
    """A token to hand out once, `text`, and what is kept of it."""

    text: str
    digest: str

    def __repr__(self) -> str:
        return "RandomToken(…)"


def sign_token(secret: bytes, claims: Claims, *, type_: TokenType, lifetime: timedelta) -> str:
    now = datetime.now(UTC)
    payload = {
        "sub": str(claims.user_id),
        "sid": claims.sign_in,
        "iat": now,
        "exp": now + lifetime,
        "typ": type_,
    }
    return jwt.encode(payload, derive_key(secret, f"{type_} token"), algorithm=_ALGORITHM)


def find_claims(secret: bytes, token: str, *, type_: TokenType) -> Claims | None:
    """What the token says, or None when it is not ours, not of this type, changed or expired."""
    try:
        payload = jwt.decode(
            token,
            derive_key(secret, f"{type_} token"),
            algorithms=[_ALGORITHM],
            # The clocks of several machines differ: a token made a moment ago may seem to come from the future.
            options={"require": ["sub", "sid", "exp", "typ"], "verify_iat": False},
        )
    except jwt.InvalidTokenError:
        return None
    if payload["typ"] != type_:
        return None
    return Claims(user_id=int(payload["sub"]), sign_in=payload["sid"])


def new_api_key() -> RandomToken:
    return _random_token(API_KEY_PREFIX)


def new_family() -> RandomToken:
    """What all refresh tokens of one sign-in begin with."""
    return _random_token("")


def new_refresh_token(family: str) -> RandomToken:
    return _random_token(f"{family}.")


def family_of(refresh_token: str) -> str:
    """The part that all refresh tokens of one sign-in have in common."""
    return refresh_token.partition(".")[0]


def digest_of(token: str) -> str:
    """SHA-256 in hex. No salt and no stretching: the tokens are 256 random bits."""
    return hashlib.sha256(token.encode()).hexdigest()


def _random_token(prefix: str) -> RandomToken:
    text = prefix + secrets.token_urlsafe(32)
    return RandomToken(text=text, digest=digest_of(text))
