"""One transaction per request, opened and closed at its edge."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.http.auth import Who, library_of


async def read_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with library_of(request).database.read() as session:
        yield session


async def write_session(request: Request, _: Who) -> AsyncIterator[AsyncSession]:
    """A transaction for a known caller: who it is, is found out before SQLite's one writer is taken."""
    async with library_of(request).database.write() as session:
        yield session


# The scope lets the commit come before the answer; by default FastAPI answers 200 first, and a commit may fail.
ReadSession = Annotated[AsyncSession, Depends(read_session, scope="function")]
WriteSession = Annotated[AsyncSession, Depends(write_session, scope="function")]
