"""A store belongs to one catalogue."""

import pytest

from mediakeep.errors import SettingsError
from mediakeep.files.identity import check_store


async def test_a_new_store_is_marked_and_fits_from_then_on(library):
    await check_store(library)
    await check_store(library)
    assert await library.store.stat("library/id") is not None


async def test_another_librarys_store_is_refused(library):
    await library.store.put_bytes("library/id", b"somebody else's", media_type="text/plain")
    with pytest.raises(SettingsError, match="belongs to another library"):
        await check_store(library)
