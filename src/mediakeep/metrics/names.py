"""Each metric, by what it is about."""

import time
from bisect import bisect_left
from types import TracebackType
from typing import Self

from mediakeep.errors import Unavailable, UndecodableMedia
from mediakeep.metrics.cells import Row
from mediakeep.metrics.kinds import BOUNDS, SUM, Counter, Gauge, Histogram, Reading

REQUESTS = Counter(
    "mediakeep_http_requests_total",
    "Requests by method, route and status; 0 where the client left before the answer.",
    "method",
    "route",
    "status",
)
DURATIONS = Histogram(
    "mediakeep_http_request_duration_seconds",
    "From a request's head to the end of its answer.",
    "method",
    "route",
    "status",
)
BODY_BYTES = Counter(
    "mediakeep_http_response_body_bytes_total",
    "Bytes of the answers' bodies.",
    "method",
    "route",
    "status",
)
REQUESTS_IN_PROGRESS = Gauge("mediakeep_http_requests_in_progress", "Requests that are being answered.")
EVENT_STREAMS = Gauge(
    "mediakeep_event_streams", "Event streams that are open, which are no requests in progress."
)

UPLOADS = Counter(
    "mediakeep_uploads_total",
    "Uploads by outcome: stored, repeated (Idempotency-Key), refused, aborted by the client, failed.",
    "outcome",
)
UPLOADED_BYTES = Counter(
    "mediakeep_upload_bytes_total", "Bytes received of files that were uploaded, by outcome.", "outcome"
)

RENDITIONS = Counter(
    "mediakeep_renditions_total",
    "Pictures and waveforms asked for, by how they were found: memory, storage, made, failed, refused.",
    "found",
)

DECODE_WAITING = Gauge("mediakeep_decode_jobs_waiting", "Jobs that wait for a decode process.")
DECODE_RUNNING = Gauge("mediakeep_decode_jobs_running", "Jobs that decode processes work on.")
DECODE_JOBS = Counter(
    "mediakeep_decode_jobs_total",
    "Jobs of the decode processes by outcome: done, undecodable, timed_out, died, refused, cancelled, failed.",
    "outcome",
)
DECODE_SECONDS = Histogram(
    "mediakeep_decode_job_duration_seconds",
    "How long jobs of the decode processes ran, without their waiting.",
)

TASK_STEPS = Counter(
    "mediakeep_task_steps_total",
    "Steps of background tasks by outcome: done, postponed, failed (tried again), dead, given_back, lost.",
    "task",
    "outcome",
)
TASKS_WAITING = Reading("mediakeep_tasks_waiting", "Background tasks that have not ended, in the database.")
TASKS_DEAD = Reading("mediakeep_tasks_dead", "Background tasks that failed for good, in the database.")
TASKS_OVERDUE = Reading(
    "mediakeep_tasks_overdue_seconds",
    "How long the task has been due that is due for longest, and not begun.",
)

STORAGE_FAILURES = Counter(
    "mediakeep_storage_failures_total", "Calls of the file storage that failed: it is away, slow or full."
)

_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

#: A request's row is its histogram's, and one number more: the bytes of the bodies.
BODY = SUM + 1
DURATIONS.size = BODY + 1


class RequestMetrics:
    """Where requests of one kind are counted. For the event loop's thread; may be kept for good."""

    __slots__ = ("_row",)

    def __init__(self, row: Row) -> None:
        self._row = row

    def observe(self, seconds: float, body_bytes: int) -> None:
        """Count a request that took `seconds` and was answered with so many bytes."""
        row = self._row
        row[bisect_left(BOUNDS, seconds)] += 1.0
        row[SUM] += seconds
        row[BODY] += body_bytes


_requests: dict[tuple[str, str, int], RequestMetrics] = {}


def request_metrics(method: str, route: str, status: int) -> RequestMetrics:
    """Where requests of this method, route template ("" for an unknown address) and status are counted."""
    if method not in _METHODS:
        method = "other"
    found = _requests.get((method, route, status))
    if found is None:
        row = DURATIONS.row(method, route or "unknown", str(status))
        found = _requests[method, route, status] = RequestMetrics(row)
    return found


class DecodeJob:
    """Counts a job: waiting when the block begins, running from `start`, over with the block.

    The outcome is told by what the block raises, unless `outcome` says it more exactly.
    """

    def __init__(self) -> None:
        self.outcome = ""
        self._started_at: float | None = None

    def __enter__(self) -> Self:
        DECODE_WAITING.add(1)
        return self

    def start(self) -> None:
        DECODE_WAITING.add(-1)
        DECODE_RUNNING.add(1)
        self._started_at = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._started_at is None:
            DECODE_WAITING.add(-1)
        else:
            DECODE_RUNNING.add(-1)
            DECODE_SECONDS.observe(time.perf_counter() - self._started_at)
        DECODE_JOBS.inc(self.outcome or _outcome(error))


def _outcome(error: BaseException | None) -> str:
    if error is None:
        return "done"
    if isinstance(error, UndecodableMedia):
        return "undecodable"
    if isinstance(error, Unavailable):
        return "refused"
    return "failed" if isinstance(error, Exception) else "cancelled"
