"""Metadata that users keep with their assets: any JSON object that is not too large or deep to store and show."""

import json
from typing import Any

from mediakeep.errors import InvalidInput

MAX_BYTES = 64 << 10
MAX_DEPTH = 32


def check_metadata(
    value: dict[str, Any], *, field: str = "metadata", max_bytes: int = MAX_BYTES
) -> dict[str, Any]:
    """The value of this field as given. Raises `InvalidInput` for what is too large, too deep, or not storable as JSON."""
    _check(value, 1, field)
    try:
        size = len(json.dumps(value, ensure_ascii=False, allow_nan=False).encode())
    except ValueError as error:  # NaN and infinities; lone surrogates
        raise InvalidInput(f"{field} must hold numbers and text that JSON can carry.", field=field) from error
    if size > max_bytes:
        raise InvalidInput(f"{field} has at most {max_bytes} bytes as JSON.", field=field)
    return value


def _check(value: object, depth: int, field: str) -> None:
    if depth > MAX_DEPTH:
        raise InvalidInput(f"{field} is nested at most {MAX_DEPTH} deep.", field=field)
    if isinstance(value, str) and "\0" in value:
        raise InvalidInput(f"{field} must not contain NUL characters.", field=field)
    if isinstance(value, dict):
        for key, one in value.items():
            _check(key, depth, field)
            _check(one, depth + 1, field)
    elif isinstance(value, list):
        for one in value:
            _check(one, depth + 1, field)
