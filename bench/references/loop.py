"""The physical limit of ingest: socket to disk with a hash on the way, then the same probe; no HTTP, no database.

`python -m bench.references.loop PORT FOLDER`. A request is a frame: the length of the content in 8 bytes, its format in
4, the content; the answer is one byte, sent when the file is probed and durable.
"""

import asyncio
import hashlib
import os
import socket
import struct
import sys
import threading
import uuid
from pathlib import Path

from mediakeep.media.limits import limits_from
from mediakeep.media.pool import DecodePool, Priority, decode_process_count
from mediakeep.media.probe import probe
from mediakeep.media.render import thumbnail_seconds
from mediakeep.settings import Settings

_CHUNK_BYTES = 1 << 20
_HEADER = struct.Struct(">Q4s")


class Loop:
    def __init__(self, folder: Path, decoders: DecodePool, settings: Settings) -> None:
        self.folder = folder
        self.decoders = decoders
        self.limits = limits_from(settings)
        self.loop = asyncio.get_running_loop()

    def serve(self, port: int) -> None:
        with socket.create_server(("127.0.0.1", port)) as listener:
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self.answer_all, args=(connection,), daemon=True).start()

    def answer_all(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        buffer = bytearray(_CHUNK_BYTES)
        with connection:
            while header := connection.recv(_HEADER.size, socket.MSG_WAITALL):
                size, format_name = _HEADER.unpack(header)
                self.take(connection, size, format_name.decode().strip(), buffer)
                connection.sendall(b"\1")

    def take(self, connection: socket.socket, size: int, format_name: str, buffer: bytearray) -> None:
        view, digest = memoryview(buffer), hashlib.sha256()
        part = self.folder / f"{uuid.uuid4()}.part"
        with part.open("xb", buffering=0) as file:
            while size:
                received = connection.recv_into(view[: min(size, _CHUNK_BYTES)])
                if not received:
                    raise ConnectionError("the content ends too early")
                digest.update(view[:received])
                file.write(view[:received])
                size -= received
            self.probe(part, format_name)
            os.fsync(file.fileno())
        part.rename(self.folder / digest.hexdigest())
        folder = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        os.fsync(folder)
        os.close(folder)

    def probe(self, path: Path, format_name: str) -> None:
        work = self.decoders.run(
            probe,
            str(path),
            format_name,
            self.limits,
            timeout_seconds=thumbnail_seconds(format_name),
            priority=Priority.UPLOAD,
        )
        asyncio.run_coroutine_threadsafe(work, self.loop).result()


async def main(port: int, folder: Path) -> None:
    settings = Settings()
    decoders = DecodePool(processes=decode_process_count(settings), memory_bytes=settings.decode_memory_bytes)
    decoders.start()
    server = Loop(folder, decoders, settings)
    threading.Thread(target=server.serve, args=(port,), daemon=True).start()
    try:
        await asyncio.Event().wait()
    finally:
        decoders.close()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1]), Path(sys.argv[2]).absolute()))
