"""What most back ends do: FastAPI with `UploadFile`, `shutil.copyfileobj`, the ORM, pydantic, `FileResponse`.

`uvicorn bench.references.plain:app` with the folder in `PLAIN_FOLDER`. Derived pictures are made in the request. No
login, no limits, no look at what the content is, no fsync; SQLite in its quicker mode, which a power cut may set back.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import av
from fastapi import Depends, FastAPI, HTTPException, UploadFile
from fastapi.responses import FileResponse
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict
from sqlalchemy import create_engine, event, select
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column, sessionmaker

_FOLDER = Path(os.environ["PLAIN_FOLDER"])
_SIDE = 512
_KINDS = ("image/jpeg", "image/png", "video/mp4")

engine = create_engine(f"sqlite:///{_FOLDER / 'plain.db'}")
make_session = sessionmaker(engine)


@event.listens_for(engine, "connect")
def _tune(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


class Base(DeclarativeBase):
    pass


class Asset(Base):
    __tablename__ = "assets"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    media_type: Mapped[str]
    stored_as: Mapped[str]
    size: Mapped[int]
    width: Mapped[int]
    height: Mapped[int]
    created_at: Mapped[datetime] = mapped_column(index=True)


class AssetOut(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: int
    name: str
    media_type: str
    size: int
    width: int
    height: int
    created_at: datetime


Base.metadata.create_all(engine)
app = FastAPI()


def get_session() -> Iterator[Session]:
    with make_session() as session:
        yield session


Sessions = Annotated[Session, Depends(get_session)]


@app.post("/assets", status_code=201, response_model=AssetOut)
def upload(file: UploadFile, session: Sessions) -> Asset:
    if file.content_type not in _KINDS:
        raise HTTPException(415, "This type is not supported.")
    path = _FOLDER / f"{uuid.uuid4()}{Path(file.filename or '').suffix}"
    with path.open("wb") as stored:
        shutil.copyfileobj(file.file, stored)
    derive = _poster if file.content_type.startswith("video/") else _thumbnail
    width, height = derive(path, _thumbnail_path(path.name))
    asset = Asset(
        name=file.filename or "",
        media_type=file.content_type,
        stored_as=path.name,
        size=path.stat().st_size,
        width=width,
        height=height,
        created_at=datetime.now(UTC),
    )
    session.add(asset)
    session.commit()
    session.refresh(asset)
    return asset


@app.get("/assets", response_model=list[AssetOut])
def list_assets(session: Sessions, offset: int = 0, limit: int = 50) -> list[Asset]:
    newest = select(Asset).order_by(Asset.created_at.desc(), Asset.id.desc())
    return list(session.scalars(newest.offset(offset).limit(limit)))


@app.get("/assets/{asset_id}/content")
def content(asset_id: int, session: Sessions) -> FileResponse:
    asset = _get(session, asset_id)
    return FileResponse(_FOLDER / asset.stored_as, media_type=asset.media_type)


@app.get("/assets/{asset_id}/thumbnail")
def thumbnail(asset_id: int, session: Sessions) -> FileResponse:
    return FileResponse(_thumbnail_path(_get(session, asset_id).stored_as), media_type="image/jpeg")


def _get(session: Session, asset_id: int) -> Asset:
    asset = session.get(Asset, asset_id)
    if asset is None:
        raise HTTPException(404, "There is no such asset.")
    return asset


def _thumbnail_path(stored_as: str) -> Path:
    return _FOLDER / f"{stored_as}.thumbnail.jpg"


def _thumbnail(path: Path, target: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        size = image.size
        image.thumbnail((_SIDE, _SIDE))  # first, since it lets the decoder leave out what is not needed
        ImageOps.exif_transpose(image).save(target, "JPEG", quality=80)
    return size


def _poster(path: Path, target: Path) -> tuple[int, int]:
    with av.open(str(path)) as container:
        frame = next(container.decode(video=0))
        image = frame.to_image()
    size = image.size
    image.thumbnail((_SIDE, _SIDE))
    image.save(target, "JPEG", quality=80)
    return size
