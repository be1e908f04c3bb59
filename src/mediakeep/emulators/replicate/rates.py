"""Rate limits."""

import math
import time
from typing import Final

_WINDOW_SECONDS: Final = 60


class Bucket:
    """A limit that recovers bit by bit, so that short bursts pass.

    Recorded answers fit this: after one request of 600 a minute, 599 remain, and the limit resets within a second.
    """

    def __init__(self) -> None:
        self._spent = 0.0
        self._at = time.monotonic()

    def take(self, per_minute: int) -> bool:
        """Whether one more request passes; if so, it counts."""
        now = time.monotonic()
        self._spent = max(0.0, self._spent - (now - self._at) * per_minute / _WINDOW_SECONDS)
        self._at = now
        if self._spent + 1 > per_minute:
            return False
        self._spent += 1
        return True

    def remaining(self, per_minute: int) -> int:
        return max(0, math.floor(per_minute - self._spent))

    def reset_seconds(self, per_minute: int) -> int:
        """How long it takes until nothing counts any more."""
        return math.ceil(self._spent * _WINDOW_SECONDS / per_minute)
