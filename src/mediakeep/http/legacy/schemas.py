"""The bodies of the older dialect."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from mediakeep.assets.queries import AssetRow
from mediakeep.http.times import naive


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


def render_uploaded(row: AssetRow, base_url: str) -> dict[str, Any]:
    return {
        "success": True,
        "url": _url(row, base_url),
        "asset_id": row.asset.public_id,
        "filename": row.asset.file_name,
        "size_bytes": row.file.size,
    }


def render_listed(row: AssetRow, base_url: str) -> dict[str, Any]:
    return {
        "asset_id": row.asset.public_id,
        "filename": row.asset.file_name,
        "file_type": row.file.media_type,
        "size_bytes": row.file.size,
        "uploaded_at": naive(row.asset.created_at),
        "url": _url(row, base_url),
    }


def _url(row: AssetRow, base_url: str) -> str:
    return f"{base_url}/api/v2/assets/{row.asset.public_id}"
