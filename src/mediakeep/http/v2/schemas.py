"""Assets as `/api/v2` shows them: a union told apart by `type`."""

import math
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mediakeep.assets.queries import AssetRow
from mediakeep.assets.text import MAX_NAME_LENGTH
from mediakeep.http.times import zulu

Visibility = Literal["public", "private"]
AssetType = Literal["image", "video", "audio", "document"]

#: Facts of the file that `metadata` shows besides those that were read out of its format.
_FACT_COLUMNS = ("duration_seconds", "thumbhash", "dominant_color", "location")


class BaseAsset(BaseModel):
    id: str = Field(description="A random UUID (version 4).")
    userId: int | None  # noqa: N815 the wire's names
    clientId: str | None  # noqa: N815
    campaignId: str | None  # noqa: N815
    personaId: int | None  # noqa: N815
    projectId: str | None  # noqa: N815
    name: str
    description: str
    url: str = Field(description="Where the file is, without login while the asset is public.")
    size: int | None = Field(description="Bytes.")
    uploadedAt: str = Field(description="ISO 8601 in UTC.")  # noqa: N815
    updatedAt: str = Field(description="ISO 8601 in UTC.")  # noqa: N815
    tags: list[str] | None
    metadata: dict[str, Any] = Field(
        description="What the owner put there, over what was read out of the file: exact `duration_seconds`, "
        "`thumbhash`, `dominant_color`, `location` and facts of its format."
    )
    visibility: Visibility
    format: str = Field(description="Such as `png`, `mp4`, `pdf`.")


class ImageAsset(BaseAsset):
    type: Literal["image"]
    width: int = Field(description="Pixels as displayed.")
    height: int = Field(description="Pixels as displayed.")
    thumbnailUrl: str | None  # noqa: N815


class VideoAsset(BaseAsset):
    type: Literal["video"]
    width: int = Field(description="Pixels as displayed.")
    height: int = Field(description="Pixels as displayed.")
    duration: int = Field(description="Whole seconds, rounded half up.")
    thumbnailUrl: str | None  # noqa: N815


class AudioAsset(BaseAsset):
    type: Literal["audio"]
    duration: int = Field(description="Whole seconds, rounded half up.")
    waveformUrl: str | None  # noqa: N815
    thumbnailUrl: str | None  # noqa: N815


class DocumentAsset(BaseAsset):
    type: Literal["document"]
    pageCount: int | None = Field(description="Null where a password keeps it from being read.")  # noqa: N815
    thumbnailUrl: str | None  # noqa: N815


Asset = Annotated[ImageAsset | VideoAsset | AudioAsset | DocumentAsset, Field(discriminator="type")]


class AssetChanges(BaseModel):
    """What to change: what is absent stays, null clears, `metadata` is replaced whole."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [{"name": "Hero shot", "tags": ["hero", "night"], "visibility": "private"}]
        },
    )

    name: str = Field("", max_length=MAX_NAME_LENGTH)
    description: str | None = Field(None, max_length=10_000)
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    visibility: Visibility = "public"
    clientId: str | None = None  # noqa: N815
    campaignId: str | None = None  # noqa: N815
    personaId: int | str | None = None  # noqa: N815
    projectId: str | None = None  # noqa: N815


class SignRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in": 3600}]})

    expires_in: int = Field(ge=1, description="How long the URL is good for, seconds.")


class SignedUrls(BaseModel):
    """Addresses that anybody may read until they expire."""

    url: str
    thumbnailUrl: str | None  # noqa: N815
    waveformUrl: str | None  # noqa: N815
    expiresAt: str = Field(description="ISO 8601 in UTC.")  # noqa: N815


class Deleted(BaseModel):
    success: Literal[True]
    message: str = Field(examples=["Asset 098a4f86-fbc5-4507-99c3-2723e6e79399 deleted successfully"])


def render_asset(row: AssetRow, base_url: str) -> dict[str, Any]:
    """An asset's JSON; its keys are those of the model of its type."""
    asset, file = row.asset, row.file
    url = f"{base_url}/api/v2/assets/{asset.public_id}"
    shown: dict[str, Any] = {
        "id": asset.public_id,
        "userId": asset.owner_id,
        "clientId": row.client_id,
        "campaignId": row.campaign_id,
        "personaId": asset.persona_id,
        "projectId": row.project_id,
        "name": asset.name,
        "description": asset.description,
        "url": url,
        "size": file.size,
        "uploadedAt": zulu(asset.created_at),
        "updatedAt": zulu(asset.updated_at),
        "tags": asset.tags or None,
        "metadata": facts(row) | asset.metadata_,
        "visibility": asset.visibility,
        "format": file.format,
        "type": asset.type,
        "thumbnailUrl": f"{url}/thumbnail" if has_thumbnail(row) else None,
    }
    if asset.type in {"image", "video"}:
        shown |= {"width": file.width, "height": file.height}
    if asset.type in {"video", "audio"}:
        shown["duration"] = math.floor((file.duration_seconds or 0) + 0.5)
    if asset.type == "audio":
        shown["waveformUrl"] = f"{url}/waveform"
    if asset.type == "document":
        shown["pageCount"] = file.page_count
    return shown


def facts(row: AssetRow) -> dict[str, Any]:
    """What was read out of the file and has no field of its own."""
    columns = {name: getattr(row.file, name) for name in _FACT_COLUMNS}
    return row.file.details | {name: value for name, value in columns.items() if value is not None}


def has_thumbnail(row: AssetRow) -> bool:
    """A document that a password protects has none."""
    return row.asset.type != "document" or row.file.page_count is not None
