"""Projects, image assets and generations as `/api/v1` shows them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from sqlalchemy import BigInteger, Text, case, cast, select

from mediakeep.assets.generations import ShownGeneration
from mediakeep.assets.models import Asset as AssetTable
from mediakeep.assets.models import Generation as GenerationTable
from mediakeep.assets.queries import Shape, Told, told_base
from mediakeep.assets.text import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH, MAX_TAG_LENGTH, MAX_TAGS
from mediakeep.collections.models import Project as ProjectTable
from mediakeep.db.functions import as_json, json_object, zulu
from mediakeep.http import times
from mediakeep.http.bodies import NAME_PATTERN, TEXT_PATTERN, changes_schema

_ID = "098a4f86-fbc5-4507-99c3-2723e6e79399"
_TIME = Field(description="ISO 8601 in UTC.", examples=["2025-11-16T09:30:00Z"])
_URL = "http://localhost:8000/api/v1"

#: The most items that a bulk call takes.
MAX_BULK = 1000

GenerationStatus = Literal["pending", "generating", "completed", "failed", "cancelled"]

Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        examples=["Main Character Portrait"],
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
Description = Annotated[
    str,
    Field(
        max_length=MAX_DESCRIPTION_LENGTH,
        examples=["Epic fantasy warrior character design"],
        json_schema_extra={"pattern": TEXT_PATTERN},
    ),
]
Tags = Annotated[
    list[
        Annotated[
            str,
            Field(json_schema_extra={"maxLength": MAX_TAG_LENGTH, "pattern": r"^[^\x00-\x1f\x7f-\x9f]*$"}),
        ]
    ],
    Field(examples=[["character", "fantasy"]], json_schema_extra={"maxItems": MAX_TAGS}),
]
Metadata = dict[str, Any]


def body_config(example: dict[str, Any]) -> ConfigDict:
    """Of a request's body: nothing that is not known, and an example."""
    return ConfigDict(extra="forbid", json_schema_extra={"examples": [example]})


def changes_config(example: JsonDict) -> ConfigDict:
    """Of a body of changes, where what is absent stays as it is."""
    return ConfigDict(extra="forbid", json_schema_extra=changes_schema(example))


class ProjectBody(BaseModel):
    model_config = body_config({"name": "Arcane Forge", "description": ""})

    name: Name
    description: Description = ""


class ProjectChanges(BaseModel):
    """What is absent stays as it is, null clears."""

    model_config = changes_config({"name": "Arcane Forge"})

    name: Name = ""
    description: Description | None = None


class Project(BaseModel):
    id: str = Field(examples=[_ID])
    name: str = Field(examples=["Arcane Forge"])
    description: str = Field(examples=[""])
    asset_count: int = Field(description="What deleting it would take along.", examples=[3])
    created_at: str = _TIME
    updated_at: str = _TIME


class ProjectList(BaseModel):
    projects: list[Project]
    total: int = Field(examples=[1])
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])
    has_more: bool = Field(examples=[False])


class Dimensions(BaseModel):
    width: int = Field(description="Pixels as displayed; 0 while there is no image.", examples=[512])
    height: int = Field(description="Pixels as displayed; 0 while there is no image.", examples=[768])


class ImageGeneration(BaseModel):
    """One version of an asset that a model made, or is making."""

    id: str = Field(examples=[_ID])
    asset_id: str = Field(examples=[_ID])
    image_path: str = Field(
        description="The image's storage key; empty while there is none.", examples=["files/3f/3f0c…"]
    )
    image_url: str = Field(
        description="Where the image is; empty while there is none.",
        examples=[f"{_URL}/files/images/{_ID}.png"],
    )
    parameters: Metadata = Field(examples=[{"model": "Realistic_Vision_V5.1", "seed": 123456}])
    created_at: str = _TIME
    updated_at: str = _TIME
    status: GenerationStatus = Field(examples=["completed"])
    is_favorite: bool = Field(examples=[False])
    file_size: int = Field(description="Bytes.", examples=[2_048_576])
    dimensions: Dimensions
    format: str = Field(description="`jpg` for JPEG; empty while there is no image.", examples=["png"])
    metadata: Metadata = Field(examples=[{}])


class ImageAsset(BaseModel):
    id: str = Field(examples=[_ID])
    project_id: str = Field(examples=[_ID])
    name: str = Field(examples=["Main Character Portrait"])
    description: str = Field(examples=["Epic fantasy warrior character design"])
    created_at: str = _TIME
    updated_at: str = _TIME
    thumbnail: str | None = Field(examples=[f"{_URL}/assets/{_ID}/thumbnail"])
    favorite_generation_id: str | None = Field(examples=[None])
    tags: list[str] = Field(examples=[["character", "fantasy"]])
    metadata: Metadata = Field(examples=[{}])
    file_size: int | None = Field(description="Bytes of the image that it is shown with.", examples=[None])
    total_generations: int = Field(examples=[0])


class ImageAssetWithGenerations(ImageAsset):
    generations: list[ImageGeneration] | None = Field(
        None, description="Newest first; absent with `include_generations=false`.", examples=[[]]
    )


class AssetList(BaseModel):
    assets: list[ImageAsset]
    total: int = Field(examples=[1])
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])
    has_more: bool = Field(examples=[False])


class AssetBody(BaseModel):
    model_config = body_config(
        {
            "name": "Main Character Portrait",
            "description": "",
            "tags": ["character", "fantasy"],
            "metadata": {},
        }
    )

    name: Name
    description: Description = ""
    tags: Tags = []
    metadata: Metadata = {}


class AssetChanges(BaseModel):
    """What is absent stays as it is, null clears, `metadata` is replaced whole."""

    model_config = changes_config({"name": "Updated Asset Name", "tags": ["updated", "hero"]})

    name: Name = ""
    description: Description | None = None
    tags: Tags | None = None
    metadata: Metadata | None = None


class GenerationBody(BaseModel):
    model_config = body_config(
        {"parameters": {"model": "Realistic_Vision_V5.1", "seed": 123456}, "status": "pending"}
    )

    parameters: Metadata = {}
    status: Literal["pending", "generating"] = "pending"
    metadata: Metadata = {}


class GenerationChanges(BaseModel):
    """What is absent stays as it is, null clears, `metadata` is replaced whole."""

    model_config = changes_config({"is_favorite": True, "metadata": {}})

    status: GenerationStatus = "pending"
    is_favorite: bool = False
    image_path: str | None = Field(None, max_length=255, description="A file's storage key; empty for none.")
    metadata: Metadata | None = None


class GenerationList(BaseModel):
    generations: list[ImageGeneration]
    total: int = Field(examples=[1])
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])


class UploadedImage(BaseModel):
    image_path: str = Field(examples=["files/3f/3f0c…"])
    image_url: str = Field(examples=[f"{_URL}/files/images/{_ID}.png"])
    file_size: int = Field(examples=[2_048_576])
    dimensions: Dimensions
    format: str = Field(examples=["png"])


class GenerationEntry(BaseModel):
    """A line of an asset's history."""

    model_config = ConfigDict(extra="allow")

    id: str = Field(examples=[_ID])
    status: GenerationStatus = Field(examples=["completed"])
    created_at: str = _TIME


class AssetStats(BaseModel):
    total_generations: int = Field(examples=[15])
    successful_generations: int = Field(examples=[13])
    failed_generations: int = Field(examples=[2])
    favorite_generation_id: str | None = Field(examples=[_ID])
    total_file_size: int = Field(description="Bytes of all its generations.", examples=[45_672_000])
    generation_history: list[GenerationEntry] = Field(description="The newest 1,000, oldest first.")


def shown_generation(generation: ShownGeneration, told: Told, *, is_public: bool) -> dict[str, Any]:
    """The JSON of a generation."""
    return {
        "id": generation.public_id,
        "asset_id": generation.asset_public_id,
        "image_path": generation.key,
        "image_url": image_url(generation, told, is_public=is_public),
        "parameters": generation.parameters,
        "created_at": times.zulu(generation.created_at),
        "updated_at": times.zulu(generation.updated_at),
        "status": generation.status,
        "is_favorite": generation.is_favorite,
        "file_size": generation.size,
        "dimensions": {"width": generation.width, "height": generation.height},
        "format": generation.format,
        "metadata": generation.metadata,
    }


def image_url(generation: ShownGeneration, told: Told, *, is_public: bool) -> str:
    if not generation.key:
        return ""
    base = told.public_base if is_public else told.base
    return f"{base}/api/v1/files/images/{generation.public_id}.{generation.format}"


def _favorite() -> Any:
    mine = (GenerationTable.asset_id == AssetTable.id) & GenerationTable.is_favorite
    return select(GenerationTable.public_id).where(mine).correlate(AssetTable).scalar_subquery()


_THUMBNAIL = told_base() + "/api/v1/assets/" + AssetTable.public_id + "/thumbnail"

#: The JSON of an image asset, over Asset and Project.
SHAPE = Shape(
    json=json_object(
        {
            "id": AssetTable.public_id,
            "project_id": ProjectTable.public_id,
            "name": AssetTable.name,
            "description": AssetTable.description,
            "created_at": zulu(AssetTable.created_at),
            "updated_at": zulu(AssetTable.updated_at),
            "thumbnail": case((AssetTable.file_id.is_not(None), _THUMBNAIL), else_=None),
            "favorite_generation_id": _favorite(),
            "tags": as_json(cast(AssetTable.tags, Text)),
            "metadata": as_json(cast(AssetTable.metadata_, Text)),
            "file_size": case(
                (AssetTable.file_id.is_not(None), cast(AssetTable.size, BigInteger)), else_=None
            ),
            "total_generations": AssetTable.generation_count,
        }
    ),
    has_metadata=False,
)
