"""What a request is called in the log and in its answer."""

import itertools
import re
import secrets

_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")

# Random once for a process, then counted: a fresh random one for each request costs as much as a small answer.
_PROCESS = secrets.token_hex(6)
_NUMBERS = itertools.count(1)


def new_request_id() -> str:
    return f"{_PROCESS}-{next(_NUMBERS):x}"


def request_id_from(given: str) -> str:
    """The caller's own where it is sensible, else a new one."""
    return given if _ID.fullmatch(given) else new_request_id()
