"""What happened, for tests to look at: `GET /emulator/log`."""

from collections import deque
from datetime import UTC, datetime
from typing import Final

_KEPT: Final = 100_000

Entry = dict[str, object]


class Journal:
    """The newest entries, oldest first. An entry may still be added to once it is in."""

    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=_KEPT)

    def note(self, kind: str, **facts: object) -> Entry:
        entry: Entry = {"kind": kind, "at": datetime.now(UTC).isoformat(), **facts}
        self._entries.append(entry)
        return entry

    def entries(self, kind: str | None = None) -> list[Entry]:
        return [entry for entry in self._entries if kind in {None, entry["kind"]}]

    def clear(self) -> None:
        self._entries.clear()
