"""Private folders whose entries survive a power cut, and the scratch folder, where files under way are made."""

import os
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO


def make_private(folder: Path) -> None:
    """Create a folder that only this account may enter, with those above it, unless it is there."""
    if not folder.is_dir():
        make_private(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        sync(folder.parent)


def make_private_hastily(folder: Path) -> None:
    """As `make_private`, but a power cut may lose it again."""
    if not folder.is_dir():
        make_private_hastily(folder.parent)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)


def sync(folder: Path) -> None:
    """Make the names in `folder` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def scratch_path(folder: Path) -> Path:
    """A fresh name in a scratch folder."""
    return folder / uuid.uuid4().hex


def create_private(path: Path) -> BinaryIO:
    """Create a file that only this account may read, and open it for writing."""
    return open(path, "xb", opener=_private)


def clean(folder: Path, older_than_seconds: float) -> int:
    """Remove files that were not modified for so long, and say how many."""
    limit = time.time() - older_than_seconds
    removed = 0
    for path in folder.iterdir():
        with suppress(FileNotFoundError):  # its owner was quicker
            if path.is_file() and path.stat().st_mtime < limit:
                path.unlink()
                removed += 1
    return removed


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)
