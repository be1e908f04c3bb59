"""One transaction per request, opened and closed at its edge; once more where PostgreSQL ends it for another's sake."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mediakeep.db import is_collision, unavailable
from mediakeep.http.auth import Who, library_of
from mediakeep.http.problems import problem_of


async def read_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with library_of(request).database.read() as session:
        yield session


async def write_session(request: Request, _: Who) -> AsyncIterator[AsyncSession]:
    """A transaction for a known caller: who it is, is found out before SQLite's one writer is taken.

    What the request changes, it changes in this transaction alone: `CarryOutAgain` relies on that.
    """
    try:
        async with library_of(request).database.write() as session:
            yield session
    except DBAPIError as error:
        if is_collision(error):
            raise _RolledBack from error
        raise


# The scope lets the commit come before the answer; by default FastAPI answers 200 first, and a commit may fail.
ReadSession = Annotated[AsyncSession, Depends(read_session, scope="function")]
WriteSession = Annotated[AsyncSession, Depends(write_session, scope="function")]


class _RolledBack(Exception):
    """Nothing of this request remains. No handler knows it: it goes through to `CarryOutAgain`."""


class CarryOutAgain:
    """Carries out a request once more whose transaction PostgreSQL has ended so that another's could go on.

    The locks that were in the way are let go by then. Bodies must come in one piece, as `LimitBody` gives them.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fresh = dict(scope)
        body: Message | None = None

        async def receive_noting() -> Message:
            nonlocal body
            message = await receive()
            body = body or message
            return message

        async def receive_again() -> Message:
            nonlocal body
            message, body = body, None
            return message or await receive()

        try:
            await self.app(scope, receive_noting, send)
        except _RolledBack:
            # The same object: layers outside look into it for the route that took the request.
            scope.clear()
            scope.update(fresh)
            try:
                await self.app(scope, receive_again, send)
            except _RolledBack as error:
                await problem_of(unavailable(error.__cause__ or error))(scope, receive, send)
