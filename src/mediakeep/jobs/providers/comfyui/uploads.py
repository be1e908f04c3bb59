"""Inputs that are files, put where ComfyUI's nodes read them."""

import asyncio
import hashlib
from collections.abc import Mapping
from io import BytesIO
from typing import BinaryIO, Final

from mediakeep.jobs.providers.base import Order, RefusedByProvider
from mediakeep.jobs.providers.comfyui.server import UPLOAD_SECONDS, Answer, Server, nonsense, unexpected
from mediakeep.jobs.values import read_data_url
from mediakeep.media.formats import Format, find_format_by_media_type
from mediakeep.media.sniff import HEAD_BYTES, sniff

#: Below ComfyUI's own folder of inputs.
_FOLDER: Final = "mediakeep"

MAX_DATA_URL_CHARACTERS = 16 << 20
_NAME_CHARACTERS = 300


async def upload(server: Server, order: Order, name: str, address: str) -> str:
    """Upload the file that an input's address stands for; returns what its node is to be told.

    The same file of the same job has the same name, however often it is sent, and no other has it. Raises
    `RefusedByProvider`, `ProviderAway`.
    """
    if address in order.sources:
        async with order.open_source(address) as source:
            format_ = find_format_by_media_type(source.media_type)
            with await asyncio.to_thread(source.path.open, "rb") as file:
                return await _send(server, file, _file_name(order, source.sha256, format_), source.media_type)
    if address[:5].lower() == "data:":
        content = _decoded(name, address)
        format_ = sniff(content[:HEAD_BYTES])
        if format_ is None or format_.family == "document":
            raise RefusedByProvider(f"input.{name}: the data URL holds no image, video or sound.")
        file_name = _file_name(order, hashlib.sha256(content).hexdigest(), format_)
        return await _send(server, BytesIO(content), file_name, format_.media_type)
    raise RefusedByProvider(
        f"input.{name}: ComfyUI takes files only; give the address of an asset of this library, or a data URL."
    )


def _file_name(order: Order, sha256: str, format_: Format | None) -> str:
    return f"{order.job_id}-{sha256}.{format_.extensions[0] if format_ else 'bin'}"


def _decoded(name: str, address: str) -> bytes:
    if len(address) > MAX_DATA_URL_CHARACTERS:
        raise RefusedByProvider(
            f"input.{name}: the data URL is too long; upload the file as an asset instead."
        )
    try:
        return read_data_url(address)
    except ValueError as error:
        raise RefusedByProvider(f"input.{name}: the data URL cannot be read.") from error


async def _send(server: Server, file: BinaryIO, name: str, media_type: str) -> str:
    answer = await server.request(
        "POST",
        "/upload/image",
        seconds=UPLOAD_SECONDS,
        data={"type": "input", "subfolder": _FOLDER, "overwrite": "true"},
        files={"image": (name, file, media_type)},
    )
    if answer.status == 413:
        raise RefusedByProvider(
            "An input is larger than ComfyUI takes; its --max-upload-size says how much that is."
        )
    if 300 <= answer.status < 500 and answer.status != 429:
        raise RefusedByProvider(f"ComfyUI answered {answer.status} to an input's file.")
    if answer.status != 200:
        raise unexpected(answer.status)
    return _told_name(answer)


def _told_name(answer: Answer) -> str:
    told = answer.json()
    parts = (told.get("subfolder", ""), told.get("name")) if isinstance(told, Mapping) else ()
    if not parts or not all(isinstance(one, str) and one.isprintable() for one in parts) or not parts[1]:
        raise nonsense()
    name = "/".join(one for one in parts if one)
    if len(name) > _NAME_CHARACTERS:
        raise nonsense()
    return name
