"""Reading what a submission refers to: a prediction cannot succeed on files that the model cannot get at."""

import asyncio
import base64
import binascii
import hashlib
import io
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

import httpx
from PIL import Image

from mediakeep.emulators.replicate.files import find_content
from mediakeep.emulators.replicate.predictions import Prediction
from mediakeep.emulators.replicate.state import Emulator

_MAX_BYTES: Final = 100 << 20
_TIMEOUT_SECONDS: Final = 30.0


class UnreadableInput(Exception):
    """The sentence is what the prediction says."""


async def read_inputs(emulator: Emulator, prediction: Prediction) -> None:
    """Get every file that the inputs name, and decode it as the image that it has to be.

    The log has size and hash of each, so that tests see whether it came over whole. Raises `UnreadableInput`.
    """
    for name, rules in prediction.model.properties.items():
        if rules.get("format") == "uri" and name in prediction.input:
            uri = str(prediction.input[name])
            source, content = await _read(emulator, prediction, name, uri)
            emulator.journal.note(
                "input",
                prediction=prediction.id,
                name=name,
                source=source,
                size=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
            await asyncio.to_thread(_check_image, name, content)


async def _read(emulator: Emulator, prediction: Prediction, name: str, uri: str) -> tuple[str, bytes]:
    if uri.startswith("data:"):
        return "data", _decode(name, uri)
    own = f"{prediction.base_url}/v1/files/"
    if uri.startswith(own):  # models reach the account's files without its token
        content = find_content(emulator, uri.removeprefix(own))
        if content is None:
            raise UnreadableInput(f"{name}: there is no such file, or it has expired: {uri}")
        return "file", content
    return "url", await _download(emulator, name, uri)


def _decode(name: str, uri: str) -> bytes:
    """The content of a data URL (RFC 2397)."""
    head, _, data = uri.partition(",")
    try:
        raw = unquote_to_bytes(data)
        return base64.b64decode(raw, validate=True) if head.endswith(";base64") else raw
    except binascii.Error as error:
        raise UnreadableInput(f"{name}: the data URL cannot be decoded.") from error


async def _download(emulator: Emulator, name: str, uri: str) -> bytes:
    host = urlsplit(uri).netloc
    content = bytearray()
    try:
        async with emulator.client.stream(
            "GET", uri, follow_redirects=True, timeout=_TIMEOUT_SECONDS
        ) as answer:
            if not answer.is_success:
                raise UnreadableInput(f"{name}: {host} answered {answer.status_code}: {uri}")
            async for chunk in answer.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise UnreadableInput(f"{name}: the file is larger than 100 MB: {uri}")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise UnreadableInput(f"{name}: {host} cannot be reached: {error!r}") from error
    return bytes(content)


def _check_image(name: str, content: bytes) -> None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UnreadableInput(f"{name}: cannot identify an image in the file.") from error
