"""Paging by `limit` and `offset`, told in headers where a body has no place for it."""

from fastapi import Request


def page_headers(request: Request, base_url: str, *, total: int, limit: int, offset: int) -> dict[str, str]:
    """`X-Total-Count`, and a `Link` (RFC 8288) to the first, previous, next and last page where there are such."""
    last = max(0, (total - 1) // limit * limit)
    offsets = {"first": 0, "prev": max(0, offset - limit), "next": offset + limit, "last": last}
    if offset == 0:
        del offsets["prev"]
    if offset + limit >= total:
        del offsets["next"]
    path = f"{base_url}{request.url.path}"
    links = [
        f'<{path}?{request.url.include_query_params(limit=limit, offset=one).query}>; rel="{relation}"'
        for relation, one in offsets.items()
    ]
    return {"X-Total-Count": str(total), "Link": ", ".join(links)}
