"""Signed URLs: whoever has one may read what it names until it expires."""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence
from urllib.parse import urlencode

from mediakeep.accounts.secrets import derive_key

EXPIRES = "expires"
SIGNATURE = "signature"


def sign_query(
    secret: bytes, path: str, *, expires_at: int, parameters: Sequence[tuple[str, str]] = ()
) -> str:
    """The query that makes `path` readable, with these parameters, until `expires_at` (Unix time, seconds)."""
    signed = [*parameters, (EXPIRES, str(expires_at))]
    return urlencode([*signed, (SIGNATURE, _signature(secret, path, signed))])


def is_signed(secrets: Sequence[bytes], path: str, query: Sequence[tuple[str, str]]) -> bool:
    """Whether the query is one of ours for this path, signed with one of the secrets, unchanged and not expired.

    Everything else in the query is covered as well: nothing can be added to a signed URL.
    """
    given = [value for name, value in query if name == SIGNATURE]
    rest = [(name, value) for name, value in query if name != SIGNATURE]
    expires = [value for name, value in rest if name == EXPIRES]
    if len(given) != 1 or len(expires) != 1 or not (expires[0].isascii() and expires[0].isdigit()):
        return False
    if not any(
        hmac.compare_digest(given[0].encode(), _signature(one, path, rest).encode()) for one in secrets
    ):
        return False
    return len(expires[0]) < 16 and int(expires[0]) > time.time()


def _signature(secret: bytes, path: str, parameters: Sequence[tuple[str, str]]) -> str:
    signed = f"GET\n{path}\n{urlencode(sorted(parameters))}".encode()
    digest = hmac.digest(derive_key(secret, "signed-urls"), signed, hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
