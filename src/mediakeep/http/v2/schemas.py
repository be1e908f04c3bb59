"""Assets as `/api/v2` shows them: a union told apart by `type`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import Integer, Text, case, cast, func, or_

from mediakeep.assets.models import Asset as AssetTable
from mediakeep.assets.queries import Shape, told_base
from mediakeep.assets.text import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH, MAX_TAG_LENGTH, MAX_TAGS
from mediakeep.collections.models import Campaign, Client, Project
from mediakeep.db.functions import as_json, json_object, zulu
from mediakeep.files.models import File
from mediakeep.http.bodies import NAME_PATTERN, TEXT_PATTERN, changes_schema

Visibility = Literal["public", "private"]
AssetType = Literal["image", "video", "audio", "document"]


_ID = "098a4f86-fbc5-4507-99c3-2723e6e79399"
_URL = f"http://localhost:8000/api/v2/assets/{_ID}"


def _no_truth_value(value: object) -> object:
    if isinstance(value, bool):
        raise ValueError("Input should be a valid number")  # noqa: TRY004 pydantic's way to refuse
    return value


#: For numbers, since Python takes `true` for 1. Comes last: what stands before it is in the schema.
NO_TRUTH_VALUE = BeforeValidator(_no_truth_value)


class FocalPoint(BaseModel):
    """A point of a picture as shares of its width and height, from its top left corner."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"x": 0.5, "y": 0.25}]})

    x: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NO_TRUTH_VALUE]
    y: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False), NO_TRUTH_VALUE]


class BaseAsset(BaseModel):
    id: str = Field(description="A random UUID (version 4).", examples=[_ID])
    userId: int | None = Field(examples=[1])  # noqa: N815 the wire's names
    clientId: str | None = Field(examples=[None])  # noqa: N815
    campaignId: str | None = Field(examples=[None])  # noqa: N815
    personaId: int | None = Field(examples=[None])  # noqa: N815
    projectId: str | None = Field(examples=[None])  # noqa: N815
    name: str = Field(examples=["Hero shot"])
    description: str = Field(examples=[""])
    url: str = Field(
        description="Where the file is, without login while the asset is public.", examples=[_URL]
    )
    size: int | None = Field(description="Bytes.", examples=[153_600])
    uploadedAt: str = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T09:30:00Z"])  # noqa: N815
    updatedAt: str = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T09:30:00Z"])  # noqa: N815
    tags: list[str] | None = Field(examples=[["hero", "night"]])
    metadata: dict[str, Any] = Field(
        description="What the owner put there, over what was read out of the file: exact `duration_seconds`, "
        "`thumbhash`, `dominant_color`, `location` and facts of its format.",
        examples=[{"dominant_color": "#3f5a6b"}],
    )
    visibility: Visibility = Field(examples=["public"])
    focalPoint: FocalPoint | None = Field(  # noqa: N815
        description="What matters most in the picture: what `fit=cover` keeps.", examples=[None]
    )
    format: str = Field(description="Such as `png`, `mp4`, `pdf`.", examples=["jpg"])


class ImageAsset(BaseAsset):
    type: Literal["image"] = Field(examples=["image"])
    width: int = Field(description="Pixels as displayed.", examples=[1200])
    height: int = Field(description="Pixels as displayed.", examples=[800])
    thumbnailUrl: str | None = Field(examples=[f"{_URL}/thumbnail"])  # noqa: N815


class VideoAsset(BaseAsset):
    type: Literal["video"] = Field(examples=["video"])
    width: int = Field(description="Pixels as displayed.", examples=[1200])
    height: int = Field(description="Pixels as displayed.", examples=[800])
    duration: int = Field(description="Whole seconds, rounded half up.", examples=[12])
    thumbnailUrl: str | None = Field(examples=[f"{_URL}/thumbnail"])  # noqa: N815


class AudioAsset(BaseAsset):
    type: Literal["audio"] = Field(examples=["audio"])
    duration: int = Field(description="Whole seconds, rounded half up.", examples=[12])
    waveformUrl: str | None = Field(examples=[f"{_URL}/waveform"])  # noqa: N815
    thumbnailUrl: str | None = Field(examples=[f"{_URL}/thumbnail"])  # noqa: N815


class DocumentAsset(BaseAsset):
    type: Literal["document"] = Field(examples=["document"])
    pageCount: int | None = Field(  # noqa: N815
        description="Null where a password keeps it from being read.", examples=[4]
    )
    thumbnailUrl: str | None = Field(examples=[f"{_URL}/thumbnail"])  # noqa: N815


Asset = Annotated[ImageAsset | VideoAsset | AudioAsset | DocumentAsset, Field(discriminator="type")]


_Tag = Annotated[
    str,
    Field(
        description=f"At most {MAX_TAG_LENGTH} characters.",
        json_schema_extra={"maxLength": MAX_TAG_LENGTH, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"},
    ),
]


class AssetChanges(BaseModel):
    """What to change: what is absent stays, null clears, `metadata` is replaced whole."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra=changes_schema(
            {"name": "Hero shot", "tags": ["hero", "night"], "visibility": "private"}
        ),
    )

    name: str = Field(
        "", max_length=MAX_NAME_LENGTH, json_schema_extra={"minLength": 1, "pattern": NAME_PATTERN}
    )
    description: (
        Annotated[str, Field(max_length=MAX_DESCRIPTION_LENGTH, json_schema_extra={"pattern": TEXT_PATTERN})]
        | None
    ) = None
    tags: Annotated[list[_Tag], Field(json_schema_extra={"maxItems": MAX_TAGS})] | None = None
    metadata: dict[str, Any] | None = None
    visibility: Visibility = "public"
    focalPoint: FocalPoint | None = None  # noqa: N815
    clientId: str | None = None  # noqa: N815
    campaignId: str | None = None  # noqa: N815
    personaId: int | str | None = None  # noqa: N815
    projectId: str | None = None  # noqa: N815


_SIGNED = "expires=1763289000&signature=3q2-7wUAAAB5m0bZ1lq4o2f8T7s6r5xvYk9dEw1hJcM"


class SignRequest(BaseModel):
    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"expires_in": 3600}]})

    expires_in: Annotated[int, Field(ge=1), NO_TRUTH_VALUE] = Field(
        description="How long the URL is good for, seconds; at most a week unless set otherwise."
    )

    parameters: dict[str, str | int | float | bool] = Field(
        default_factory=dict,
        max_length=32,
        description="Parameters of `url` that are signed with it: those of a picture, or `download`.",
        examples=[{"width": 1024, "format": "webp"}],
    )


class SignedUrls(BaseModel):
    """Addresses that anybody may read until they expire."""

    url: str = Field(examples=[f"{_URL}?{_SIGNED}"])
    thumbnailUrl: str | None = Field(examples=[f"{_URL}/thumbnail"])  # noqa: N815
    waveformUrl: str | None = Field(examples=[None])  # noqa: N815
    expiresAt: str = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T10:30:00Z"])  # noqa: N815


class Deleted(BaseModel):
    success: Literal[True] = Field(examples=[True])
    message: str = Field(examples=[f"Asset {_ID} deleted successfully"])


def _members(*own: str) -> dict[str, Any]:
    """The JSON of an asset of one type: what all have, and `own`."""
    url = told_base() + "/api/v2/assets/" + AssetTable.public_id
    each = {
        "width": File.width,
        "height": File.height,
        "duration": cast(func.floor(func.coalesce(File.duration_seconds, 0.0) + 0.5), Integer),
        "waveformUrl": url + "/waveform",
        "pageCount": File.page_count,
    }
    tags = case((cast(AssetTable.tags, Text) != "[]", cast(AssetTable.tags, Text)), else_="null")
    point = json_object({"x": AssetTable.focal_x, "y": AssetTable.focal_y})
    focal_point = case((AssetTable.focal_x.is_not(None), cast(point, Text)), else_="null")
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
        "focalPoint": as_json(focal_point),
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
