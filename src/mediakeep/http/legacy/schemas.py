"""The bodies of the older dialect."""

from typing import Any, Literal

from pydantic import BaseModel, Field
from sqlalchemy import literal_column

from mediakeep.assets.models import Asset
from mediakeep.assets.queries import Shape, told_base
from mediakeep.db.functions import as_json, json_object, naive
from mediakeep.files.models import File

_ID = "098a4f86-fbc5-4507-99c3-2723e6e79399"
_URL = f"http://localhost:8000/api/v2/assets/{_ID}"


class Uploaded(BaseModel):
    success: Literal[True] = Field(examples=[True])
    url: str = Field(
        description="Where the file is, without login while the asset is public.", examples=[_URL]
    )
    asset_id: str = Field(examples=[_ID])
    filename: str = Field(examples=["image.jpg"])
    size_bytes: int = Field(examples=[153_600])


class ListedAsset(BaseModel):
    asset_id: str = Field(examples=[_ID])
    filename: str = Field(examples=["image.jpg"])
    file_type: str = Field(examples=["image/jpeg"])
    size_bytes: int = Field(examples=[153_600])
    uploaded_at: str = Field(description="ISO 8601 in UTC, without zone.", examples=["2025-11-15T12:34:56"])
    url: str = Field(examples=[_URL])


class AssetList(BaseModel):
    success: Literal[True] = Field(examples=[True])
    assets: list[ListedAsset]
    limit: int = Field(examples=[50])
    offset: int = Field(examples=[0])


class Deleted(BaseModel):
    success: Literal[True] = Field(examples=[True])
    message: str = Field(examples=[f"Asset {_ID} deleted successfully"])


_MEMBERS: dict[str, Any] = {
    "asset_id": Asset.public_id,
    "filename": Asset.file_name,
    "size_bytes": File.size,
    "url": told_base() + "/api/v2/assets/" + Asset.public_id,
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
