"""The bodies of the older dialect."""

from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import bindparam, literal_column

from mediakeep.assets.models import Asset
from mediakeep.assets.queries import Shape
from mediakeep.db.functions import as_json, json_object, naive
from mediakeep.files.models import File


class Uploaded(BaseModel):
    success: Literal[True]
    url: str = Field(description="Where the file is, without login while the asset is public.")
    asset_id: str
    filename: str
    size_bytes: int


class ListedAsset(BaseModel):
    asset_id: str
    filename: str
    file_type: str = Field(examples=["image/jpeg"])
    size_bytes: int
    uploaded_at: str = Field(description="ISO 8601 in UTC, without zone.", examples=["2025-11-15T12:34:56"])
    url: str


class AssetList(BaseModel):
    success: Literal[True]
    assets: list[ListedAsset]
    limit: int
    offset: int


class Deleted(BaseModel):
    success: Literal[True]
    message: str


_MEMBERS: dict[str, Any] = {
    "asset_id": Asset.public_id,
    "filename": Asset.file_name,
    "size_bytes": File.size,
    "url": bindparam("base", type_=Asset.name.type) + "/api/v2/assets/" + Asset.public_id,
}

#: The answer to an upload.
UPLOADED = Shape(
    json=json_object({"success": as_json(literal_column("'true'")), **_MEMBERS}), has_metadata=False
)

#: An asset in a list.
LISTED = Shape(
    json=json_object({**_MEMBERS, "file_type": File.media_type, "uploaded_at": naive(Asset.created_at)}),
    has_metadata=False,
)
