"""An asset's file as it came, which is what most requests ask for."""

from mediakeep.assets.served import Served
from mediakeep.assets.text import clean_file_name
from mediakeep.files.memory import Content
from mediakeep.http.auth import library_of
from mediakeep.http.delivery.access import Asked
from mediakeep.http.delivery.representation import Representation
from mediakeep.http.delivery.streaming import missing
from mediakeep.media.formats import get_format
from mediakeep.storage import MissingObject


def prepared_original(asked: Asked) -> Representation:
    """The same as `original`, kept for as long as the asset is the same."""
    key = (asked.is_download, asked.access)
    known: Representation | None = asked.served.prepared.get(key)
    if known is None:
        # Signed addresses have an age that goes down by the second.
        known = original(asked)
        if not asked.access.signed:
            asked.served.prepared[key] = known
    return known


def original(asked: Asked) -> Representation:
    """What is said of the file."""
    served = asked.served
    return Representation(
        media_type=served.media_type,
        size=served.size,
        sha256=served.sha256,
        modified_at=served.created_at,
        name=_download_name(served),
        max_age=asked.access.max_age,
        embeddable=asked.access.embeddable,
        key=served.key,
        attachment=asked.is_download,
        tag=asked.tag,
    )


async def at_hand(asked: Asked) -> bytes | None:
    """The bytes of a small original, out of memory; None where they are better sent as they are read."""
    library, memory, served = library_of(asked.request), asked.state.memory, asked.served
    settings = library.settings
    if served.size > memory.largest or settings.accel_redirect or settings.redirect_to_storage:
        return None
    found = memory.find(served.key)
    if found is None:
        try:
            body = await library.store.read_bytes(served.key)
        except MissingObject as error:
            raise missing(served.key) from error
        found = Content(body, served.size, served.sha256, served.created_at)
        if len(body) == served.size:
            memory.keep(served.key, found)
    return found.body


def _download_name(served: Served) -> str:
    """The asset's name as that of a file, with the extension of what it is unless it has one."""
    extensions = tuple(f".{one}" for one in get_format(served.format).extensions)
    has_one = served.name.lower().endswith(extensions)
    return clean_file_name(served.name if has_one else f"{served.name}.{served.format}")
