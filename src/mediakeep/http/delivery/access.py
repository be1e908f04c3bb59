"""One request for an asset's bytes, and what its sender may have of it."""

import time
from dataclasses import dataclass

from fastapi import Request
from starlette.datastructures import QueryParams

from mediakeep.assets.served import Served
from mediakeep.errors import NotFound
from mediakeep.http.auth import find_actor, library_of
from mediakeep.http.delivery.state import DeliveryState
from mediakeep.http.signing import EXPIRES, SIGNATURE, is_signed


@dataclass(frozen=True, kw_only=True)
class Access:
    """What a caller may have of an asset, and how long others may keep it."""

    max_age: int | None
    embeddable: bool
    #: Whether the address is signed, with all its parameters.
    signed: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request for an asset's bytes."""

    request: Request
    query: QueryParams
    served: Served
    access: Access

    @property
    def state(self) -> DeliveryState:
        state: DeliveryState = self.request.app.state.delivery
        return state

    @property
    def is_download(self) -> bool:
        return self.query.get("download", "0") not in {"", "0", "false"}

    @property
    def tag(self) -> str:
        """What a CDN is told to forget the answer by, where there is one and it may keep it."""
        has_cdn = library_of(self.request).settings.cdn_url
        return self.served.public_id if has_cdn and self.access.max_age is not None else ""

    async def is_owner(self) -> bool:
        """Whether the owner asks, or an admin, and may read."""
        actor = await find_actor(self.request)
        return (
            actor is not None
            and (actor.user_id == self.served.owner_id or actor.is_admin)
            and "read" in actor.scopes
        )


async def access_to(served: Served, request: Request, query: QueryParams, *, missing: str) -> Access:
    """Raises `NotFound` for a private asset unless its owner asks, an admin, or somebody with a signed address."""
    library = library_of(request)
    is_public = served.visibility == "public"
    if SIGNATURE in query:
        if not is_signed(request.app.state.delivery.secrets, request.scope["path"], query.multi_items()):
            raise NotFound(missing)
        left = int(query[EXPIRES]) - int(time.time())
        max_age = min(library.settings.public_max_age, left) if is_public else None
        return Access(max_age=max_age, embeddable=True, signed=True)
    if is_public:
        return Access(max_age=library.settings.public_max_age, embeddable=True)
    access = Access(max_age=None, embeddable=False)
    if not await Asked(request=request, query=query, served=served, access=access).is_owner():
        raise NotFound(missing)
    return access
