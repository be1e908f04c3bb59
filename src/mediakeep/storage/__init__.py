"""Bytes by key: files on disk, or an object store."""

from mediakeep.errors import SettingsError
from mediakeep.settings import Settings
from mediakeep.storage.base import Chunk, MissingObject, Store, Stored, new_key
from mediakeep.storage.disk import DiskStore
from mediakeep.storage.objects import ObjectStore

__all__ = ["Chunk", "DiskStore", "MissingObject", "ObjectStore", "Store", "Stored", "new_key", "open_store"]


def open_store(settings: Settings) -> Store:
    """The store that the settings name. Raises `SettingsError` when they cannot be right."""
    try:
        if settings.storage_url:
            return ObjectStore(settings.storage_url, settings.storage_options, settings.data / "tmp")
        return DiskStore(settings.data)
    except OSError as error:
        raise SettingsError(
            f"MEDIAKEEP_DATA: the folder {settings.data} cannot be written: {error.strerror}."
        ) from error
