"""Paging by `limit` and `offset`, told in headers where a body has no place for it."""

from typing import Any
from urllib.parse import urlencode

from fastapi import Request

#: What `page_headers` gives, for OpenAPI.
PAGE_HEADERS: dict[str, Any] = {
    "X-Total-Count": {
        "description": "How many there are in all; beyond 10,000 of several filters, that there are more.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Link": {
        "description": "The first, previous, next and last page (RFC 8288).",
        "required": True,
        "schema": {"type": "string"},
        "example": '<http://localhost:8000/api/v2/assets?limit=50&offset=50>; rel="next"',
    },
}


def page_headers(request: Request, base_url: str, *, total: int, limit: int, offset: int) -> dict[str, str]:
    """`X-Total-Count`, and a `Link` (RFC 8288) to the first, previous, next and last page where there are such."""
    last = max(0, (total - 1) // limit * limit)
    offsets = {"first": 0, "prev": max(0, offset - limit), "next": offset + limit, "last": last}
    if offset == 0:
        del offsets["prev"]
    if offset + limit >= total:
        del offsets["next"]
    given = request.query_params.multi_items()
    others = urlencode([(name, value) for name, value in given if name not in {"limit", "offset"}])
    path = f"{base_url}{request.url.path}?{others}{'&' if others else ''}limit={limit}&offset="
    links = [f'<{path}{one}>; rel="{relation}"' for relation, one in offsets.items()]
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}
