"""Every option of the program: its type, unit, default and one sentence.

Read once, from `MEDIAKEEP_…` in the environment or a TOML file, then passed down; never a global.
"""

import os
import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as UnreadableSetting

from mediakeep.errors import SettingsError

MIB = 1 << 20

PREFIX = "MEDIAKEEP_"

#: The formats that a door may take, by the names that `media.formats` gives them.
KNOWN_FORMATS = frozenset(
    [
        "3gp",
        "avi",
        "avif",
        "bmp",
        "flac",
        "flv",
        "gif",
        "heic",
        "jpg",
        "m4a",
        "mkv",
        "mov",
        "mp3",
        "mp4",
        "ogg",
        "pdf",
        "png",
        "tiff",
        "wav",
        "webm",
        "webp",
        "wmv",
    ]
)

#: Variables of `mediakeep upload`, which is a client: a shell may well have them set when a server starts.
_CLIENT_VARIABLES = frozenset({"api_key", "url"})

#: What must not be shown, wrong as it may be: a log keeps it.
_SECRET_FIELDS = frozenset(
    {
        "cdn_purge_token",
        "comfyui_token",
        "comfyui_url",
        "database_url",
        "metrics_token",
        "previous_secret_key",
        "redis_url",
        "replicate_api_token",
        "replicate_webhook_secret",
        "secret_key",
        "storage_options",
    }
)

_Words = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """The options, checked. Each is the variable `MEDIAKEEP_<NAME>` or `name` in the TOML file."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="forbid")

    data: Path = Field(Path("DATA"), description="Folder of the database, the files and the secret key.")
    database_url: str = Field(
        "",
        description="SQLAlchemy address; empty is SQLite in the data folder. `postgresql://user:pass@host/db`.",
    )
    storage_url: str = Field(
        "",
        description="Where bytes live; empty is the data folder. `s3://bucket/prefix` (also `gs://`, `az://`).",
    )
    storage_options: dict[str, str] = Field(
        {}, description="Options of the object store as JSON, such as `endpoint`, `region`, `access_key_id`."
    )
    redis_url: str = Field(
        "",
        description="Redis through which server processes tell workers of tasks at once; empty: they look each second. "
        "`redis://:pass@host:6379`, `rediss://…`, `unix:///path`.",
    )
    base_url: str = Field(
        "",
        description="Public address of this server, without a final slash. Empty: the request's, on loopback only.",
    )
    secret_key: SecretStr = Field(
        SecretStr(""),
        description="Signs tokens and URLs, at least 32 characters. Empty: made and kept in the data folder.",
    )
    previous_secret_key: SecretStr = Field(
        SecretStr(""), description="The key before this one: what it has signed stays good until it expires."
    )
    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(1, ge=1, le=64, description="Number of server processes.")
    embedded_worker: bool = Field(
        True, description="Run background tasks inside the server processes as well."
    )
    task_concurrency: int = Field(4, ge=1, le=64, description="Tasks that one process runs at a time.")

    registration: Literal["closed", "open"] = Field(
        "closed", description="Whether anybody may register after the first account."
    )
    default_visibility: Literal["public", "private"] = Field(
        "public", description="Visibility of an asset whose upload names none."
    )
    access_token_minutes: int = Field(60, ge=1, le=1440, description="Lifetime of an access token, minutes.")
    session_days: int = Field(
        30, ge=1, le=365, description="Lifetime of a sign-in (refresh token and cookie), days."
    )
    audit_days: int = Field(
        365, ge=1, le=36_500, description="How long the log of what happened to accounts is kept, days."
    )

    uploads_per_minute: int = Field(
        10, ge=0, le=100_000, description="Uploads a user may start in any 60 s; 0 is no limit."
    )
    other_uploads_per_minute: int = Field(
        600,
        ge=0,
        le=100_000,
        description="The same for all other doors together: /media, generations of /api/v1; 0 is no limit.",
    )
    logins_per_minute: int = Field(
        10,
        ge=0,
        le=10_000,
        description="Failed logins for one account from one address in any 60 s; 0 is no limit.",
    )
    max_upload_bytes: int = Field(
        50 * MIB, ge=1, le=5 * 1024 * MIB, description="Largest file that /api/v2 takes, bytes."
    )
    allowed_types: _Words = Field(
        ("jpg", "png", "gif", "webp", "mp4", "mov", "mp3", "wav", "pdf"),
        description="Formats that /api/v2 takes, separated by commas.",
    )
    media_max_bytes: int = Field(
        50 * MIB, ge=1, le=5 * 1024 * MIB, description="Largest file that /media takes, bytes."
    )
    media_max_image_bytes: int = Field(
        10 * MIB,
        ge=1,
        le=5 * 1024 * MIB,
        description="Largest image that /media takes, bytes; the smaller of this and MEDIA_MAX_BYTES counts.",
    )
    media_max_video_bytes: int = Field(
        100 * MIB,
        ge=1,
        le=5 * 1024 * MIB,
        description="Largest video that /media takes, bytes; the smaller of this and MEDIA_MAX_BYTES counts.",
    )
    max_request_bytes: int = Field(
        2 * MIB, ge=1024, le=64 * MIB, description="Largest body of any other request, bytes."
    )
    # A thousand assets of 40 KB each: descriptions of 10,000 characters, three bytes each in UTF-8, tags and metadata.
    max_bulk_bytes: int = Field(
        40 * MIB, ge=1024, le=256 * MIB, description="The same for creating many assets in one call."
    )

    cors_origins: _Words = Field(
        ("*",),
        description="Origins that may call with a Bearer token or read public files, separated by commas.",
    )
    trusted_proxies: _Words = Field(
        (),
        description="Addresses or networks whose X-Forwarded-For and X-Forwarded-Proto count, separated by commas.",
    )
    public_max_age: int = Field(
        300, ge=0, le=31_536_000, description="How long public files may be cached, seconds."
    )
    max_sign_seconds: int = Field(
        604_800, ge=1, le=31_536_000, description="Longest life of a signed URL, seconds."
    )

    renditions: Literal["free", "presets", "signed"] = Field(
        "free",
        description="Which pictures may be asked for: any size, the presets alone, or what is signed or asked for by "
        "its owner.",
    )
    rendition_presets: dict[str, str] = Field(
        {},
        description='Named pictures as JSON, such as `{"card": "width=320&height=200&fit=cover&format=auto"}`.',
    )
    max_rendition_side: int = Field(
        2560,
        ge=1,
        le=8192,
        description="Longest side of a picture that is asked for without login or signature, pixels.",
    )
    max_rendition_pixels: int = Field(
        40_000_000, ge=1, le=8192 * 8192, description="Most pixels of a picture that is asked for."
    )
    rendition_variants: int = Field(
        100, ge=1, le=100_000, description="Pictures kept of one file besides presets; the oldest goes."
    )
    rendition_budget_bytes: int = Field(
        10 * 1024 * MIB,
        ge=MIB,
        description="Room for pictures that were asked for; those unused for longest go, bytes.",
    )
    rendition_misses_per_minute: int = Field(
        240,
        ge=0,
        le=1_000_000,
        description="Pictures that one address may have made in any 60 s in a server process; 0 is no limit.",
    )
    max_waiting_renditions: int = Field(
        64, ge=1, le=10_000, description="Pictures that may wait for a decode process; 503 beyond that."
    )
    memory_cache_bytes: int = Field(
        64 * MIB, ge=0, description="Memory of each server process for small files and pictures, bytes."
    )
    upload_max_side: int = Field(
        0,
        ge=0,
        le=8192,
        description="Still images that are uploaded are shrunk to this side, pixels; 0 keeps them.",
    )
    upload_format: Literal["", "jpg", "png", "webp", "avif"] = Field(
        "", description="Still images that are uploaded are written anew in this format; empty keeps theirs."
    )
    upload_quality: int = Field(
        90, ge=1, le=100, description="Quality of images that are written anew at upload."
    )

    accel_redirect: str = Field(
        "",
        description="Path below which nginx serves the data folder internally, such as `/_files/`; empty: we send.",
    )
    redirect_to_storage: int = Field(
        0,
        ge=0,
        le=604_800,
        description="Send readers to the object store by addresses good for so long, seconds; 0: we send.",
    )
    cdn_url: str = Field(
        "",
        description="Address of a CDN in front of this server, told for public files in place of the base URL.",
    )
    cdn_purge_url: str = Field("", description="Where a CDN is told (POST) what to forget; empty: nowhere.")
    cdn_purge_token: SecretStr = Field(SecretStr(""), description="Bearer token for the CDN's purge address.")
    metrics_token: SecretStr = Field(
        SecretStr(""), description="Bearer token that opens /metrics to other machines."
    )
    metrics_port: int = Field(
        0, ge=0, le=65535, description="Port on which /metrics answers as well, on the same host; 0 is none."
    )

    webhooks_allow_private: bool = Field(
        False,
        description="Whether webhooks may go to this machine and to private networks, which users could then look into.",
    )

    model_aliases: dict[str, str] = Field(
        {},
        description='Models that stand for others, as JSON, such as `{"minimax/video-01": "local/ken-burns"}`.',
    )
    job_seconds: int = Field(
        3600,
        ge=10,
        le=86_400,
        description="A generation job that takes longer, once begun, is given up, seconds.",
    )
    max_active_jobs: int = Field(
        1000, ge=1, le=100_000, description="Generation jobs that a user may have waiting and running."
    )
    max_output_bytes: int = Field(
        512 * MIB, ge=1024, description="Largest output of a model that is taken, bytes."
    )
    replicate_api_token: SecretStr = Field(
        SecretStr(""), description="API token of Replicate; empty: its models cannot be asked."
    )
    replicate_api_url: str = Field(
        "https://api.replicate.com/v1", description="Where Replicate's API is, without a final slash."
    )
    replicate_webhook_secret: SecretStr = Field(
        SecretStr(""), description="What Replicate signs webhooks with; empty: it is asked for it."
    )
    replicate_models: _Words = Field(
        (),
        description="Models of Replicate that may be asked, separated by commas, without version; empty: any.",
    )
    comfyui_url: str = Field(
        "", description="Address of a ComfyUI server, such as `http://127.0.0.1:8188`; empty: there is none."
    )
    comfyui_token: SecretStr = Field(
        SecretStr(""), description="Bearer token for what guards that server; it goes nowhere else."
    )
    comfyui_workflows: str = Field(
        "", description="Folder of ComfyUI's workflow templates; empty: `comfyui` in the data folder."
    )

    decode_processes: int = Field(
        0,
        ge=0,
        le=256,
        description="Decode processes of each server process; 0 shares the machine's cores out.",
    )
    decode_memory_bytes: int = Field(
        1024 * MIB, ge=256 * MIB, description="Memory a decode process may take beyond its start, bytes."
    )
    max_image_pixels: int = Field(100_000_000, ge=1, description="Largest still image, pixels.")
    max_heif_pixels: int = Field(40_000_000, ge=1, description="Largest AVIF or HEIC image, pixels.")
    max_frames: int = Field(300, ge=1, description="Most frames of an animation that are decoded.")
    max_animation_pixels: int = Field(
        200_000_000, ge=1, description="Most pixels of all decoded frames together."
    )
    max_video_pixels: int = Field(50_000_000, ge=1, description="Largest video frame, pixels.")
    max_waveform_seconds: int = Field(
        14_400, ge=1, description="Longest audio that gets a waveform, seconds."
    )

    sweep_grace: int = Field(
        86_400, ge=0, description="Age under which the sweep leaves unreferenced bytes alone, seconds."
    )
    sweep_interval: int = Field(3600, ge=1, description="Time between two sweeps, seconds.")

    log_format: Literal["auto", "json", "console"] = Field(
        "auto", description="Log lines as JSON or for people; auto looks whether a terminal reads them."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least severity that is logged."
    )

    @field_validator("allowed_types", "cors_origins", "replicate_models", "trusted_proxies", mode="before")
    @classmethod
    def _split_words(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(word.strip() for word in value.split(",") if word.strip())
        return value

    @field_validator("allowed_types")
    @classmethod
    def _are_formats(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        unknown = set(value) - KNOWN_FORMATS
        if unknown or not value:
            raise ValueError(f"it must list formats among {', '.join(sorted(KNOWN_FORMATS))}")
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            try:
                ip_network(word, strict=False)
            except ValueError as error:
                raise ValueError(f"{word!r} is not an address or a network") from error
        return value

    @field_validator("base_url", "cdn_purge_url", "cdn_url", "comfyui_url")
    @classmethod
    def _is_base(cls, value: str) -> str:
        value = value.rstrip("/")
        if value:
            parts = urlsplit(value)
            if parts.scheme not in {"http", "https"} or not parts.hostname or parts.query or parts.fragment:
                raise ValueError("it must be an http or https address without query or fragment")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and parts.scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("it must begin with redis://, rediss:// or unix://")
        if parts.scheme in {"redis", "rediss"} and not (parts.hostname and parts.port != 0):
            raise ValueError("it must name a host")
        return value

    @field_validator("comfyui_url")
    @classmethod
    def _is_plain(cls, value: str) -> str:
        parts = urlsplit(value)
        if "@" in parts.netloc:
            raise ValueError(
                "it must be an address without user name and password; comfyui_token is for those"
            )
        if not re.fullmatch(r"[!-~]*", value) or parts.port == 0:  # the port is checked when it is asked for
            raise ValueError("it must be an address in ASCII")
        return value

    @field_validator("accel_redirect")
    @classmethod
    def _is_path(cls, value: str) -> str:
        if value and not re.fullmatch(r"/[A-Za-z0-9._~/-]*", value):
            raise ValueError("it must be a path such as /_files/")
        return value

    @field_validator("secret_key", "previous_secret_key")
    @classmethod
    def _is_long(cls, value: SecretStr) -> SecretStr:
        if value.get_secret_value() and len(value.get_secret_value()) < 32:
            raise ValueError("it must have at least 32 characters")
        return value

    @field_validator("data")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        return value.expanduser().absolute()

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if not self.base_url and not is_loopback(self.host):
            raise ValueError(f"base_url must be set when listening on {self.host}, which is not loopback")
        if not self.uses_sqlite and not self.secret_key.get_secret_value():
            raise ValueError("secret_key must be set with a database other than SQLite")
        if self.redirect_to_storage and not self.storage_url:
            raise ValueError("redirect_to_storage needs an object store: files on disk have no other address")
        if self.cdn_purge_url and not self.cdn_url:
            raise ValueError("cdn_purge_url needs cdn_url: nothing else is marked for a CDN to forget")
        if self.renditions == "presets" and not self.rendition_presets:
            raise ValueError("rendition_presets must name some when renditions is presets")
        if self.accel_redirect and self.storage_url:
            raise ValueError("accel_redirect needs the files in the data folder, where nginx finds them")
        return self

    @property
    def uses_sqlite(self) -> bool:
        return self.database_url.startswith("sqlite") or not self.database_url

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server, as far as the settings tell."""
        return is_loopback(self.host) and (
            not self.base_url or is_loopback(urlsplit(self.base_url).hostname or "")
        )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        file = os.environ.get(f"{PREFIX}CONFIG")
        if not file:
            return init_settings, env_settings
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, toml_file=Path(file))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def load_settings(**overrides: object) -> Settings:
    """The settings of this process. Raises `SettingsError` with one sentence that says what is wrong."""
    file = os.environ.get(f"{PREFIX}CONFIG")
    if file and not Path(file).is_file():
        raise SettingsError(f"{PREFIX}CONFIG: there is no file {file}.")
    unknown = sorted(name for name in os.environ if _is_unknown(name))
    if unknown:
        raise SettingsError(f"{unknown[0]} is not a setting; `mediakeep settings` lists them.")
    try:
        return Settings(**overrides)  # type: ignore[arg-type]  # checked by pydantic itself
    except ValidationError as error:
        raise SettingsError(_sentence(error)) from error
    except UnreadableSetting as error:
        # Without its cause, which quotes the value.
        named = re.search(r'field "(\w+)"', str(error))
        name = named[1].upper() if named else "STORAGE_OPTIONS"
        example = '{"region": "eu-west-1"}' if name == "STORAGE_OPTIONS" else '{"card": "width=320"}'
        raise SettingsError(f"{PREFIX}{name}: it must be a JSON object, such as {example}.") from None
    except ValueError as error:
        raise SettingsError(f"{PREFIX}CONFIG: {file} cannot be read: {error}.") from error


def _is_unknown(name: str) -> bool:
    field = name.removeprefix(PREFIX).lower()
    return (
        name.startswith(PREFIX)
        and field not in Settings.model_fields
        and field not in _CLIENT_VARIABLES
        and field != "config"
        and not field.startswith("test_")
    )


def _sentence(error: ValidationError) -> str:
    first = error.errors()[0]
    reason = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:  # a rule over several settings: its text begins with the name of the one to mend
        name, rest = reason.split(" ", 1)
        return f"{PREFIX}{name.upper()} {rest}."
    field = str(first["loc"][0])
    name = f"{PREFIX}{field.upper()}"
    if first["type"] == "extra_forbidden":
        return f"{name} is not a setting; `mediakeep settings` lists them."
    given = first["input"]
    shown = "" if field in _SECRET_FIELDS else f" (given: {given!r})"
    return f"{name}: {reason[0].lower()}{reason[1:]}{shown}."
