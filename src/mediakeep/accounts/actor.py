"""Who asks, and what they may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

from mediakeep.errors import PermissionDenied

Scope = Literal["read", "write", "admin"]

SCOPES: tuple[Scope, ...] = get_args(Scope)

#: What an API key hears where it could outlive its end or take the account over.
NO_KEY = "An API key may not do this; log in with the password."


@dataclass(frozen=True, kw_only=True)
class Actor:
    """A known caller. Exactly one of `sign_in_id` and `api_key_id` is set."""

    user_id: int
    email: str
    #: Whether this caller may act as an admin: the user is one, and a key has the scope for it.
    is_admin: bool
    scopes: frozenset[Scope]
    sign_in_id: int | None = None
    api_key_id: int | None = None
    #: The API key's own limit instead of the setting's; 0 is no limit.
    uploads_per_minute: int | None = None
    #: Where the request came from.
    address: str = ""

    def require(self, scope: Scope) -> None:
        """Raise `PermissionDenied` unless this caller has the scope."""
        if scope in self.scopes:
            return
        if scope == "admin":
            raise PermissionDenied("Only an admin may do this.")
        raise PermissionDenied(f"This API key may not {scope}.")

    def require_sign_in(self) -> int:
        """The sign-in's id. Raises `PermissionDenied` for an API key: a stolen one must not outlive its end."""
        if self.sign_in_id is None:
            raise PermissionDenied(NO_KEY)
        return self.sign_in_id


@dataclass(frozen=True, kw_only=True)
class Stranger:
    """A caller whom nothing stands for: somebody who is about to log in, or the command line."""

    address: str


Caller = Actor | Stranger

#: Whoever has a shell on the machine, and with it the database.
SHELL = Stranger(address="shell")


def effective_scopes(scopes: Iterable[Scope], *, is_admin: bool) -> frozenset[Scope]:
    """The scopes that count: nobody but an admin has `admin`, whatever a key once was given."""
    return frozenset(scope for scope in scopes if is_admin or scope != "admin")
