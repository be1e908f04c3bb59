"""Fixtures for the tests of stored content."""

import hashlib
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from mediakeep.accounts.models import User
from mediakeep.assets.models import Asset
from mediakeep.db import now_plus
from mediakeep.files.ingest import ingest
from mediakeep.files.models import File
from mediakeep.files.receive import Received
from mediakeep.library import Library
from tests.samples import pictures


@pytest.fixture
def received(library: Library) -> Callable[[bytes], Received]:
    """Puts bytes into the scratch folder, as an upload does."""

    def received(data: bytes) -> Received:
        path = library.store.scratch / f"upload-{uuid.uuid4()}"
        path.write_bytes(data)
        return Received(path=path, size=len(data), sha256=hashlib.sha256(data).hexdigest(), head=data[:4096])

    return received


@pytest.fixture
async def owner_id(library: Library) -> int:
    async with library.database.write() as session:
        user = User(email="a", email_folded="a", password_hash="", is_admin=False, is_founder=False)
        session.add(user)
        await session.flush()
    return user.id


@pytest.fixture
def keep(
    library: Library, received: Callable[[bytes], Received], owner_id: int
) -> Callable[..., Awaitable[tuple[File, int]]]:
    """Stores content with an asset that refers to it; returns its row and the asset's id."""

    async def keep(data: bytes = b"") -> tuple[File, int]:
        async with (
            ingest(library, received(data or pictures.jpeg())) as content,
            library.database.write() as session,
        ):
            await content.record(session, owner_id=1)
            file = (await session.scalars(select(File).where(File.sha256 == content.received.sha256))).one()
            asset = Asset(
                public_id=content.public_id,
                owner_id=owner_id,
                file_id=file.id,
                type="image",
                name="a",
                file_name="a",
                folded="a",
                visibility="public",
                size=file.size,
                updated_at=now_plus(),
            )
            session.add(asset)
            await session.flush()
        return file, asset.id

    return keep


@pytest.fixture
def keys(library: Library) -> Callable[[], Awaitable[set[str]]]:
    """Everything in the store."""

    async def keys() -> set[str]:
        return {
            one.key for prefix in ("files", "renditions") async for one in library.store.iter_keys(prefix)
        }

    return keys


@pytest.fixture
def rows(library: Library) -> Callable[[], Awaitable[list[File]]]:
    async def rows() -> list[File]:
        async with library.database.read() as session:
            return list(await session.scalars(select(File)))

    return rows


@pytest.fixture
def scratch_file(library: Library) -> Path:
    """What a crash left in the scratch folder."""
    path = library.store.scratch / "upload-of-yesterday"
    path.write_bytes(b"half a file")
    return path
