"""Whether a GIF is all there; libvips decodes the frames that arrived and says nothing."""

from pathlib import Path

_EXTENSION, _IMAGE, _TRAILER = 0x21, 0x2C, 0x3B


def is_whole(path: str) -> bool:
    """Whether every block up to the trailer is in the file (GIF89a, appendix B). Nothing is decoded.

    A file that ends cleanly after a frame counts: some encoders leave the trailer out.
    """
    data = Path(path).read_bytes()
    try:
        at = 13 + _table_bytes(data[10])
        while at < len(data) and data[at] != _TRAILER:
            if data[at] == _EXTENSION:
                at = _after_blocks(data, at + 2)
            elif data[at] == _IMAGE:
                at = _after_blocks(data, at + 11 + _table_bytes(data[at + 9]))
            else:
                return True  # not a block: other data follows the picture
    except IndexError:
        return False
    return True


def _table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(data: bytes, at: int) -> int:
    """Where the chain of data blocks at `at` ends. Raises `IndexError` when the file ends first."""
    while data[at]:
        at += data[at] + 1
    return at + 1
