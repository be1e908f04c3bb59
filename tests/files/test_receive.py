import hashlib
import os

import pytest

from mediakeep.errors import TooLarge
from mediakeep.files.receive import BATCH_BYTES, HEAD_BYTES, receiving


@pytest.fixture
def receive(tmp_path):
    """Receives pieces; returns what was received, its bytes, and the heads that were shown."""

    async def receive(*pieces, max_bytes=1 << 40):
        heads = []

        def check(size):
            if size > max_bytes:
                raise TooLarge("too large")

        async with receiving(tmp_path, on_size=check, on_head=heads.append) as receiver:
            for piece in pieces:
                await receiver.write(piece)
            received = await receiver.finish()
            return received, received.path.read_bytes(), heads

    return receive


@pytest.mark.parametrize(
    "sizes", [[0], [1], [HEAD_BYTES - 1, 2], [HEAD_BYTES], [BATCH_BYTES, 1], [100_000] * 30]
)
async def test_what_is_received_is_written_counted_and_hashed(receive, sizes):
    pieces = [os.urandom(size) for size in sizes]
    whole = b"".join(pieces)
    received, written, heads = await receive(*pieces)
    assert written == whole
    assert (received.size, received.sha256) == (len(whole), hashlib.sha256(whole).hexdigest())
    assert heads == [whole[:HEAD_BYTES]]
    assert received.head == whole[:HEAD_BYTES]


async def test_the_byte_past_the_limit_is_refused(receive, tmp_path):
    await receive(b"." * 10, max_bytes=10)
    with pytest.raises(TooLarge):
        await receive(b"." * 10, b".", max_bytes=10)
    assert list(tmp_path.iterdir()) == []


async def test_a_file_under_way_is_its_owner_s_alone(tmp_path):
    async with receiving(tmp_path, on_size=lambda _: None, on_head=lambda _: None) as receiver:
        await receiver.write(b"." * BATCH_BYTES)
        await receiver.finish()
        (path,) = tmp_path.iterdir()
        assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == []
