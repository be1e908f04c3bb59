"""PDF: page count, and page 1 as a picture. PDFium allows one thread in a process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pypdfium2

from mediakeep.errors import UndecodableMedia
from mediakeep.media.facts import Detail, Facts, clean_text, iso_time
from mediakeep.media.image import THUMBNAIL_SIDE
from mediakeep.media.limits import Limits
from mediakeep.media.pixels import Pixels, encode_jpeg
from mediakeep.media.transform import Size

# pypdfium2 publishes no types.
_pdfium: Any = pypdfium2
_raw: Any = pypdfium2.raw
_Document = Any

DAMAGED = "The PDF is damaged and cannot be opened."
PROTECTED = "The PDF needs a password."

_TAGS = {
    "Title": "title",
    "Author": "author",
    "Subject": "subject",
    "Creator": "creator",
    "Producer": "producer",
}


class _NeedsPassword(UndecodableMedia):
    pass


def probe(path: str, format_name: str, limits: Limits) -> Facts:  # noqa: ARG001 one signature for all families
    """Page count and details. One that needs a password is accepted, without page count; a broken one raises
    `UndecodableMedia`.
    """
    try:
        with _opened(path) as document:
            _first_page(document)
            return Facts(page_count=len(document), details=_details(document))
    except _NeedsPassword:
        return Facts(details={"encrypted": True})


def page_picture(path: str, format_name: str, limits: Limits) -> bytes:  # noqa: ARG001
    """Page 1 as a JPEG, its long side 512 px. Raises `UndecodableMedia`, also when it needs a password."""
    with opened_page(path, 1) as page:
        size = page.size(THUMBNAIL_SIDE)
        pixels = page.draw(size, (0, 0), size)
    return encode_jpeg(pixels)


class Page:
    """A page of an open document; raises PDFium's errors."""

    def __init__(self, page: Any) -> None:
        self._page = page
        self._points: tuple[float, float] = page.get_size()

    def size(self, side: int) -> Size:
        """Width and height of the whole page when its long side is `side` pixels. Never take it by a fixed scale: a page
        may claim to be two million points wide.
        """
        scale = side / max(self._points)
        return max(1, round(self._points[0] * scale)), max(1, round(self._points[1] * scale))

    def draw(self, whole: Size, start: Size, size: Size) -> Pixels:
        """Of the page drawn `whole` pixels large, on white, the part of this size whose left and top is `start`."""
        bitmap = _pdfium.PdfBitmap.new_native(*size, _raw.FPDFBitmap_BGRx)
        bitmap.fill_rect((255, 255, 255, 255), 0, 0, *size)
        flags = _raw.FPDF_ANNOT | _raw.FPDF_REVERSE_BYTE_ORDER
        _raw.FPDF_RenderPageBitmap(bitmap, self._page, -start[0], -start[1], *whole, 0, flags)
        return np.ascontiguousarray(bitmap.to_numpy()[:, :, :3])


@contextmanager
def opened_page(path: str, number: int) -> Iterator[Page]:
    """A page, the first of which is 1. Raises `UndecodableMedia`, also for one beyond the last, and when the document needs
    a password.
    """
    with _opened(path) as document:
        first = _first_page(document)
        if not 1 <= number <= len(document):
            pages = "1 page" if len(document) == 1 else f"{len(document)} pages"
            raise UndecodableMedia(f"The PDF has {pages}; there is no page {number}.")
        yield Page(first if number == 1 else _sound(document[number - 1]))


@contextmanager
def _opened(path: str) -> Iterator[_Document]:
    try:
        with _pdfium.PdfDocument(path) as document:
            yield document
    except _pdfium.PdfiumError as error:
        if error.err_code in {_raw.FPDF_ERR_PASSWORD, _raw.FPDF_ERR_SECURITY}:
            raise _NeedsPassword(PROTECTED) from error
        raise UndecodableMedia(DAMAGED) from error


def _first_page(document: _Document) -> Any:
    if not len(document):
        raise UndecodableMedia("The PDF has no pages.")
    return _sound(document[0])


def _sound(page: Any) -> Any:
    if min(page.get_size()) <= 0:
        raise UndecodableMedia(DAMAGED)
    return page


def _details(document: _Document) -> dict[str, Detail]:
    metadata = document.get_metadata_dict()
    details: dict[str, Detail] = {
        name: text for tag, name in _TAGS.items() if (text := clean_text(metadata.get(tag, "")))
    }
    created_at = _pdf_time(metadata.get("CreationDate", ""))
    return details | ({"created_at": created_at} if created_at else {})


def _pdf_time(text: str) -> str | None:
    """`D:20240501120000+02'00'` (ISO 32000-1 §7.9.4) as ISO 8601."""
    digits = text.removeprefix("D:")
    if len(digits) < 14 or not digits[:14].isdecimal():
        return None
    offset = digits[14:].replace("'", "")
    offset = f"{offset[:3]}:{offset[3:5]}" if offset[:1] in {"+", "-"} and len(offset) >= 5 else ""
    return iso_time(f"{digits[:8]}T{digits[8:14]}", offset)
