"""The bodies of `/api/v2/auth`."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    StrictBool,
    StringConstraints,
    WithJsonSchema,
)
from pydantic.config import JsonDict

from mediakeep.accounts.actor import Scope
from mediakeep.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS
from mediakeep.http.times import zulu
from mediakeep.http.v2.schemas import NO_TRUTH_VALUE

Email = Annotated[
    str, Field(max_length=320, examples=["you@example.com"], description="Also the name to log in with.")
]
Password = Annotated[str, Field(max_length=MAX_CHARACTERS, examples=["correct horse battery"])]
NewPassword = Annotated[
    str,
    Field(
        min_length=MIN_CHARACTERS,
        max_length=MAX_CHARACTERS,
        examples=["correct horse battery"],
        description=f"{MIN_CHARACTERS} to {MAX_CHARACTERS} characters.",
    ),
]
Time = Annotated[
    datetime,
    PlainSerializer(zulu),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2025-11-16T09:30:00Z"]}),
]
RevokeKeys = Annotated[StrictBool, Field(description="Make all API keys of the account worthless, too.")]
KeyName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=100, pattern=r"^[^\x00-\x1f\x7f]+$"),
    Field(description="What the key is for.", examples=["laptop"]),
]


_CREDENTIALS: JsonDict = {"email": "you@example.com", "password": "correct horse battery"}


class Registration(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_CREDENTIALS]})

    email: Email
    password: NewPassword
    setup_code: str | None = Field(
        None,
        max_length=64,
        description="For the first account of a server, unless this machine asks: the code that it printed at start.",
    )


class Login(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [_CREDENTIALS]})

    email: Email
    password: Password


class LoginForm(BaseModel):
    """The password grant of OAuth 2 (RFC 6749 §4.3.2); its other fields are ignored."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"username": "you@example.com", "password": "correct horse battery"}]}
    )

    username: Email
    password: Password


_REFRESH = "Wm3k1p0Q7xv.dX9sT2c4LrE"


class Refresh(BaseModel):
    refresh_token: str = Field(
        max_length=200, description="The newest one of this sign-in.", examples=[_REFRESH]
    )


class PasswordChange(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"old_password": "correct horse battery", "new_password": "battery horse correct"}]
        }
    )

    old_password: Password
    new_password: NewPassword
    revoke_keys: RevokeKeys = False


class OwnDeletion(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"password": "correct horse battery"}]})

    password: Password


class NewKey(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "laptop", "scopes": ["read", "write"], "expires_in_days": 90}]
        }
    )

    name: KeyName
    scopes: list[Scope] = Field(
        ["read", "write"], min_length=1, description="`admin` may be given by admins only."
    )
    expires_in_days: Annotated[int, Field(ge=1, le=3650), NO_TRUTH_VALUE] | None = Field(
        None, description="Null: never."
    )
    uploads_per_minute: Annotated[int, Field(ge=0, le=100_000), NO_TRUTH_VALUE] | None = Field(
        None, description="A limit of its own, given by admins only; 0 is none. Null: the server's."
    )


class TokenAnswer(BaseModel):
    access_token: str = Field(
        description="For `Authorization: Bearer …`.", examples=["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.b2s"]
    )
    refresh_token: str = Field(description="Good once, for `POST /api/v2/auth/refresh`.", examples=[_REFRESH])
    token_type: Literal["bearer"] = Field(examples=["bearer"])
    expires_in: int = Field(description="Lifetime of the access token, seconds.", examples=[3600])


class Me(BaseModel):
    id: int = Field(examples=[1])
    email: str = Field(examples=["you@example.com"])
    is_admin: bool = Field(examples=[False])
    created_at: Time
    scopes: list[Scope] = Field(description="What this token or key may do.", examples=[["read", "write"]])


class Key(BaseModel):
    id: str = Field(examples=["6f1c8a52-7f0e-4b8e-9d55-0c4e1f6a2b3d"])
    name: str = Field(examples=["laptop"])
    prefix: str = Field(description="How the key begins.", examples=["mk_Zk3VbT9q"])
    scopes: list[Scope] = Field(examples=[["read", "write"]])
    uploads_per_minute: int | None = Field(examples=[None])
    created_at: Time
    expires_at: Time | None = Field(examples=[None])
    last_used_at: Time | None = Field(description="Exact to a minute.", examples=[None])


class CreatedKey(Key):
    key: str = Field(description="The key itself, shown this once.", examples=["mk_…"])


class ShownSignIn(BaseModel):
    id: str = Field(examples=["2d1f0c7e-3b52-4a69-8e0d-7c9a5b4f1e63"])
    created_at: Time
    last_used_at: Time = Field(description="When its tokens were last renewed.")
    expires_at: Time
    user_agent: str = Field(description="What the client called itself.", examples=["Mozilla/5.0 …"])
    is_current: bool = Field(description="Whether it is the one that asks.", examples=[True])
