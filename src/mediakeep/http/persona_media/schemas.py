"""Personas and media files as `/personas` and `/media` show them."""

import re
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from sqlalchemy import case

from mediakeep.assets.models import Asset
from mediakeep.assets.queries import Shape
from mediakeep.assets.text import MAX_DESCRIPTION_LENGTH, MAX_NAME_LENGTH
from mediakeep.db.functions import json_object, naive
from mediakeep.files.models import File
from mediakeep.http.bodies import NAME_PATTERN, TEXT_PATTERN, changes_schema

MediaType = Literal["image", "video"]

_TIME = "ISO 8601 in UTC, without zone."


def parse_id(given: object) -> object:
    """The number that an address or a query gives. Raises `ValueError` for what Python alone takes for one."""
    if isinstance(given, str) and not re.fullmatch(r"-?[0-9]{1,100}", given):
        raise ValueError("Input should be a valid integer")
    return given


#: An id in an address or a query; what no row can have is one that nothing has.
Id = Annotated[int, BeforeValidator(parse_id)]

_Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=MAX_NAME_LENGTH,
        examples=["Ada"],
        json_schema_extra={"pattern": NAME_PATTERN},
    ),
]
_Description = Annotated[
    str, Field(max_length=MAX_DESCRIPTION_LENGTH, json_schema_extra={"pattern": TEXT_PATTERN})
]


class PersonaBody(BaseModel):
    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"name": "Ada", "description": "Curious and dry"}]}
    )

    name: _Name
    description: _Description | None = None


class PersonaChanges(BaseModel):
    """What is absent stays as it is, null clears the description."""

    model_config = ConfigDict(extra="forbid", json_schema_extra=changes_schema({"name": "Ada L."}))

    name: _Name = ""
    description: _Description | None = None


class Persona(BaseModel):
    id: int = Field(examples=[1])
    name: str = Field(examples=["Ada"])
    description: str | None = Field(examples=["Curious and dry"])
    user_id: int = Field(description="Whose it is.", examples=[1])
    asset_count: int = Field(description="What deleting it would take along.", examples=[3])
    created_at: str = Field(description=_TIME, examples=["2024-01-01T12:00:00"])
    updated_at: str = Field(description=_TIME, examples=["2024-01-01T12:00:00"])


class MediaFile(BaseModel):
    id: int = Field(description="Never used again.", examples=[1])
    filename: str = Field(
        description="A name of the server's making.", examples=["098a4f86-fbc5-4507-99c3-2723e6e79399.png"]
    )
    original_filename: str = Field(examples=["my-image.png"])
    file_size: int = Field(description="Bytes.", examples=[1_024_000])
    mime_type: str = Field(description="What the bytes are.", examples=["image/png"])
    media_type: MediaType = Field(examples=["image"])
    persona_id: int = Field(examples=[1])
    user_id: int = Field(examples=[1])
    description: str | None = Field(examples=["My image description"])
    created_at: str = Field(description=_TIME, examples=["2024-01-01T12:00:00"])
    updated_at: str = Field(description=_TIME, examples=["2024-01-01T12:00:00"])


class MediaChanges(BaseModel):
    """What is absent stays as it is, null clears."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=changes_schema({"description": "A better description"})
    )

    description: _Description | None = None


class MediaForm(BaseModel):
    """As `MediaChanges`, where nothing clears."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra=changes_schema({"description": "A better description"})
    )

    description: _Description = ""


class MediaStats(BaseModel):
    total_files: int = Field(examples=[5])
    total_images: int = Field(examples=[3])
    total_videos: int = Field(examples=[2])
    total_size_bytes: int = Field(examples=[52_428_800])
    total_size_mb: float = Field(description="To two places; a MB is 1,048,576 bytes.", examples=[50.0])
    files_per_persona: dict[str, int] = Field(
        description="By the persona's id; those that have any.", examples=[{"1": 2, "2": 3}]
    )


#: The JSON of a media file; its members are those of `MediaFile`.
SHAPE = Shape(
    json=json_object(
        {
            "id": Asset.id,
            "filename": Asset.public_id + "." + File.format,
            "original_filename": Asset.file_name,
            "file_size": File.size,
            "mime_type": File.media_type,
            "media_type": Asset.type,
            "persona_id": Asset.persona_id,
            "user_id": Asset.owner_id,
            "description": case((Asset.description != "", Asset.description), else_=None),
            "created_at": naive(Asset.created_at),
            "updated_at": naive(Asset.updated_at),
        }
    ),
    has_metadata=False,
)
