"""How a GET or HEAD is answered: by conditions and ranges, and by whom the bytes are sent."""

from collections.abc import Sequence

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from mediakeep.http.conditions import ByteRange, RangeNotSatisfiable, precondition_status, requested_ranges
from mediakeep.http.delivery.representation import Representation, raw_headers
from mediakeep.http.delivery.streaming import missing, send_at_hand, send_head, send_parts, send_stored
from mediakeep.http.hot import HotAnswers
from mediakeep.http.problems import problem
from mediakeep.settings import Settings
from mediakeep.storage import Store

#: The sentence of a 412.
OTHER_VERSION = "The file is another version than the request asks for."

_CONDITIONS = frozenset(
    {b"if-match", b"if-modified-since", b"if-none-match", b"if-range", b"if-unmodified-since", b"range"}
)


async def send_representation(
    content: Representation,
    body: bytes | None,
    store: Store,
    settings: Settings,
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    good_until: float = 0.0,
) -> None:
    """Answer a GET or HEAD with `content`: conditions, then ranges. Raises `NotFound` where its bytes are gone.

    Until `good_until` (`time.monotonic`) the same bytes may be sent to anybody who asks for the same address.
    """
    given = _conditions(scope)
    status = precondition_status(given, etag=content.etag, modified_at=content.modified_at) if given else None
    if status == 412:
        await problem(412, OTHER_VERSION, headers=content.headers_of_refusal())(scope, receive, send)
    elif status == 304:
        await send_head(send, 304, content.validators)
        _keep_hot(content, body, scope, good_until)
    elif scope["method"] == "HEAD":
        if body is None and await store.stat(content.key) is None:
            raise missing(content.key)
        await send_head(send, 200, content.headers_of_whole())
    else:
        try:
            parts = _parts(content, given)
        except RangeNotSatisfiable:
            await _not_satisfiable(content)(scope, receive, send)
            return
        if body is not None or not await _handed_over(content, parts, store, settings, given, send):
            await _send_content(content, body, parts, store, scope, receive, send, good_until)


def _conditions(scope: Scope) -> dict[str, str]:
    """The headers that ask for less than the whole; several lines of a name are one list (RFC 9110 §5.2)."""
    given: dict[str, str] = {}
    for name, value in scope["headers"]:
        if name in _CONDITIONS:
            known = given.get(name.decode())
            text = value.decode("latin-1")
            given[name.decode()] = text if known is None else f"{known}, {text}"
    return given


async def _send_content(
    content: Representation,
    body: bytes | None,
    parts: Sequence[ByteRange],
    store: Store,
    scope: Scope,
    receive: Receive,
    send: Send,
    good_until: float,
) -> None:
    if len(parts) > 1:
        await send_parts(content, body, parts, store, receive, send)
    elif body is None:
        await send_stored(content, parts, store, receive, send)
    else:
        await send_at_hand(content, body, parts, send)
        _keep_hot(content, body, scope, good_until)


def _keep_hot(content: Representation, body: bytes | None, scope: Scope, good_until: float) -> None:
    """Have the connections answer the same request by themselves, where that is the same for everybody."""
    hot: HotAnswers | None = scope.get("state", {}).get("hot")
    # Of a file that was cut off on disk the client would wait for the rest.
    is_whole = body is not None and len(body) == content.size
    if hot and body is not None and is_whole and not content.vary and content.max_age is not None:
        hot.keep(scope, content.headers_of_whole(), content.validators, body, content.etag, good_until)


def _not_satisfiable(content: Representation) -> Response:
    headers = {
        **content.headers_of_refusal(),
        "content-range": f"bytes */{content.size}",
        "accept-ranges": "bytes",
    }
    return problem(416, f"The file has {content.size} bytes.", headers=headers)


def _parts(content: Representation, given: dict[str, str]) -> list[ByteRange]:
    if "range" not in given:
        return []
    return requested_ranges(given, size=content.size, etag=content.etag, modified_at=content.modified_at)


async def _handed_over(
    content: Representation,
    parts: Sequence[ByteRange],
    store: Store,
    settings: Settings,
    given: dict[str, str],
    send: Send,
) -> bool:
    """Whether somebody else was told to send the bytes, who does so faster: nginx from the data folder, or the store.

    Both judge conditions by tags and dates of their own: those that ours have passed we answer. Raises `NotFound`.
    """
    if not content.key.startswith("files/"):  # a picture, which may be thrown away at any time
        return False
    if settings.accel_redirect:
        # nginx refuses ranges that we pass over.
        if not given.keys() <= {"range", "if-range"} or ("range" in given and not parts):
            return False
        await _hand_to_nginx(content, parts, store, settings, send)
        return True
    # A store knows no name for a download and no several ranges. What If-Range names may be its own tag.
    is_ours = not given.keys().isdisjoint({"if-match", "if-unmodified-since"}) or (
        "if-range" in given and len(parts) > 0
    )
    if settings.redirect_to_storage and content.is_inline and len(parts) < 2 and not is_ours:
        return await _send_to_store(content, store, settings, send)
    return False


async def _hand_to_nginx(
    content: Representation, parts: Sequence[ByteRange], store: Store, settings: Settings, send: Send
) -> None:
    # nginx would say so in its own words, and nobody would hear of it.
    if await store.stat(content.key) is None:
        raise missing(content.key)
    path = settings.accel_redirect.rstrip("/") + "/" + content.key
    # With the whole nginx says itself that it knows ranges, a second time if we do.
    headers = [header for header in content.headers if parts or header[0] != b"accept-ranges"]
    told = [(b"x-accel-redirect", path.encode()), (b"content-length", b"0")]
    await send_head(send, 200, [(b"content-type", content.media_type.encode()), *headers, *told])


async def _send_to_store(content: Representation, store: Store, settings: Settings, send: Send) -> bool:
    """Whether there is a store that has addresses."""
    seconds = settings.redirect_to_storage
    address = await store.sign(content.key, expires_in_seconds=seconds)
    if address is None:
        return False
    # Kept for half as long as the address is good, so that nobody follows one that has ended.
    keep = None if content.max_age is None else min(content.max_age, seconds // 2)
    kept = "private, no-store" if keep is None else f"public, max-age={keep}"
    tag = {"cache-tag": content.tag} if content.tag else {}
    headers = raw_headers({"location": address, "cache-control": kept, "content-length": "0", **tag})
    await send_head(send, 307, headers)
    return True
