"""What can go wrong, as callers see it.

MediakeepError
├── BadRequest           400  the request makes no sense as it stands
│   ├── UnsupportedMedia 400  not a type this door takes
│   ├── TooLarge         400  past a size limit
│   │   └── ContentTooLarge   the same as 413, for the doors whose clients expect that
│   └── UndecodableMedia 400  claims to be of a type, and cannot be decoded
├── NotAuthenticated     401  nobody known is asking
├── PermissionDenied     403  known, but not allowed
├── NotFound             404  not there, or not the caller's
├── Conflict             409  the state of things forbids it
├── InvalidInput         422  a field does not validate
├── RateLimited          429  too often
└── Unavailable          503  a part of the service does not answer; try again
    └── CommitUnconfirmed     the database did not say whether it has committed

SettingsError            the server does not start: a setting is wrong
"""

from collections.abc import Mapping
from typing import ClassVar


class MediakeepError(Exception):
    """An expected failure: `detail` is the sentence that the caller reads.

    `members` go into the problem document beside the standard ones (RFC 9457 §3.2), `headers` onto the answer.
    """

    code: ClassVar[str] = "error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "Internal Server Error"

    def __init__(
        self,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.headers = dict(headers or {})
        self.members = dict(members or {})


class BadRequest(MediakeepError):
    code, status, title = "bad-request", 400, "Bad Request"


class UnsupportedMedia(BadRequest):
    code = "unsupported-media"


class TooLarge(BadRequest):
    code = "too-large"


class ContentTooLarge(TooLarge):
    status, title = 413, "Content Too Large"


class UndecodableMedia(BadRequest):
    code = "undecodable-media"


class NotAuthenticated(MediakeepError):
    code, status, title = "not-authenticated", 401, "Unauthorized"

    def __init__(self, detail: str = "Not authenticated") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": "Bearer"})


class PermissionDenied(MediakeepError):
    code, status, title = "permission-denied", 403, "Forbidden"


class NotFound(MediakeepError):
    code, status, title = "not-found", 404, "Not Found"


class Conflict(MediakeepError):
    code, status, title = "conflict", 409, "Conflict"


class InvalidInput(MediakeepError):
    """A field that does not validate; `errors` lists them as `{"field", "reason"}`."""

    code, status, title = "invalid-input", 422, "Unprocessable Content"

    def __init__(self, detail: str, *, field: str) -> None:
        super().__init__(detail, members={"errors": [{"field": field, "reason": detail}]})


class RateLimited(MediakeepError):
    code, status, title = "rate-limited", 429, "Too Many Requests"

    def __init__(
        self,
        detail: str = "Too many requests",
        *,
        retry_after_seconds: int,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds), **(headers or {})})


class Unavailable(MediakeepError):
    code, status, title = "unavailable", 503, "Service Unavailable"

    def __init__(self, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class CommitUnconfirmed(Unavailable):
    """The database did not say whether it has committed."""

    def __init__(self) -> None:
        super().__init__("The database does not answer. Try again in a moment.")


class SettingsError(Exception):
    """A setting is wrong; the message is one plain sentence for whoever starts the server."""
