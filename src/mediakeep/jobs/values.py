"""The values of inputs and outputs: JSON, in which texts may be addresses, and hold whole files."""

import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from typing import Any

#: What is shown of a data URL where it is only told of, and how long one may be that is shown whole.
_SHOWN_CHARACTERS = 40
_SHORT_CHARACTERS = 100


def texts_in(value: object, path: str = "input") -> Iterator[tuple[str, str]]:
    """Every text in a JSON value, with where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for name, one in value.items():
            yield from texts_in(one, f"{path}.{name}")
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from texts_in(one, f"{path}.{index}")


def replaced(value: Any, change: Callable[[str], Any]) -> Any:  # JSON
    """The JSON value with each text changed."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, Mapping):
        return {name: replaced(one, change) for name, one in value.items()}
    if isinstance(value, list):
        return [replaced(one, change) for one in value]
    return value


def told(values: Mapping[str, Any]) -> dict[str, Any]:
    """Inputs as they are told of: whole files in data URLs are left out. What was told of already stays."""
    shown: dict[str, Any] = replaced(values, _shortened)
    return shown


def _shortened(text: str) -> str:
    if text.startswith("data:") and len(text) > _SHORT_CHARACTERS:
        return f"{text[:_SHOWN_CHARACTERS]}… ({len(text)} characters)"
    return text


def read_data_url(url: str) -> bytes:
    """The bytes that a data URL holds (RFC 2397). Raises `ValueError`."""
    try:
        # The handler opens nothing: all that it can read is in the address.
        request = urllib.request.Request(url)  # noqa: S310
        with urllib.request.DataHandler().data_open(request) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, ValueError) as error:
        raise ValueError("It is no data URL.") from error
    return content
