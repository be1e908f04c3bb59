"""Assets as `/api/v2` shows them: a union told apart by `type`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Integer, Text, bindparam, case, cast, func, or_

from mediakeep.assets.models import Asset as AssetTable
from mediakeep.assets.queries import Shape
from mediakeep.assets.text import MAX_NAME_LENGTH
from mediakeep.collections.models import Campaign, Client, Project
from mediakeep.db.functions import as_json, json_object, zulu
from mediakeep.files.models import File

Visibility = Literal["public", "private"]
AssetType = Literal["image", "video", "audio", "document"]


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


def _members(*own: str) -> dict[str, Any]:
    """The JSON of an asset of one type: what all have, and `own`."""
    url = bindparam("base", type_=AssetTable.name.type) + "/api/v2/assets/" + AssetTable.public_id
    each = {
        "width": File.width,
        "height": File.height,
        "duration": cast(func.floor(func.coalesce(File.duration_seconds, 0.0) + 0.5), Integer),
        "waveformUrl": url + "/waveform",
        "pageCount": File.page_count,
    }
    tags = case((cast(AssetTable.tags, Text) != "[]", cast(AssetTable.tags, Text)), else_="null")
    # A document that a password protects has no thumbnail.
    has_thumbnail = or_(AssetTable.type != "document", File.page_count.is_not(None))
    return {
        "id": AssetTable.public_id,
        "userId": AssetTable.owner_id,
        "clientId": Client.public_id,
        "campaignId": Campaign.public_id,
        "personaId": AssetTable.persona_id,
        "projectId": Project.public_id,
        "name": AssetTable.name,
        "description": AssetTable.description,
        "url": url,
        "size": File.size,
        "uploadedAt": zulu(AssetTable.created_at),
        "updatedAt": zulu(AssetTable.updated_at),
        "tags": as_json(tags),
        "visibility": AssetTable.visibility,
        "format": File.format,
        "type": AssetTable.type,
        "thumbnailUrl": case((has_thumbnail, url + "/thumbnail"), else_=None),
        **{name: each[name] for name in own},
    }


#: The JSON of an asset; its members are those of the model of its type.
SHAPE = Shape(
    json=case(
        (AssetTable.type == "image", json_object(_members("width", "height"))),
        (AssetTable.type == "video", json_object(_members("width", "height", "duration"))),
        (AssetTable.type == "audio", json_object(_members("duration", "waveformUrl"))),
        else_=json_object(_members("pageCount")),
    ),
    has_metadata=True,
)
