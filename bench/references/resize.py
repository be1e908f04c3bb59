"""The same pictures with nothing around: no HTTP, no database, no process of its own for a file that may do harm.

`python -m bench.references.resize WAY PORT QUALITY EFFORT`, the last two as libwebp has them. A request is a line,
`WIDTH HEIGHT PATH`: the box in pixels that the picture is to fit into, never enlarged. The answer is the length of the
WebP in 4 bytes, and the WebP. `vips` is how libvips means it to be done, which decodes a JPEG at a fraction of its
size; `pillow` how it is usually done.
"""

import io
import socket
import struct
import sys
import threading
from collections.abc import Callable

from PIL import Image

_LENGTH = struct.Struct(">I")

Way = Callable[[str, int, int], bytes]


def vips(quality: int, effort: int) -> Way:
    import pyvips

    # A picture that was asked for before would come out of the cache.
    pyvips.cache_set_max(0)

    def resized(path: str, width: int, height: int) -> bytes:
        picture = pyvips.Image.thumbnail(path, width, height=height, size="down")
        data: bytes = picture.webpsave_buffer(Q=quality, effort=effort, keep="none")
        return data

    return resized


def pillow(quality: int, effort: int) -> Way:
    def resized(path: str, width: int, height: int) -> bytes:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
        scale = min(1.0, width / picture.width, height / picture.height)
        size = (round(picture.width * scale), round(picture.height * scale))
        buffer = io.BytesIO()
        picture.resize(size, Image.Resampling.LANCZOS).save(buffer, "WEBP", quality=quality, method=effort)
        return buffer.getvalue()

    return resized


def serve(resized: Way, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)) as listener:
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=answer_all, args=(resized, connection), daemon=True).start()


def answer_all(resized: Way, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with connection, connection.makefile() as lines:
        for line in lines:
            width, height, path = line.rstrip("\n").split(" ", 2)
            data = resized(path, int(width), int(height))
            connection.sendall(_LENGTH.pack(len(data)) + data)


def main(way: str, port: int, quality: int, effort: int) -> None:
    resized = {"vips": vips, "pillow": pillow}[way](quality, effort)
    try:
        serve(resized, port)
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv[1], *(int(word) for word in sys.argv[2:]))
