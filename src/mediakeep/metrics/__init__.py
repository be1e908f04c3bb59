"""What the program counts, for Prometheus. Names carry their unit; labels take few values.

Counting is cheap (0.2 µs a request) and never fails. The server processes of one `serve` count together. What shows
the figures is not imported here: its library is of no use to decode processes.
"""

from mediakeep.metrics.cells import shared_folder
from mediakeep.metrics.kinds import FOLDER_VARIABLE, Reading, figures
from mediakeep.metrics.names import (
    EVENT_STREAMS,
    RENDITIONS,
    REQUESTS_IN_PROGRESS,
    STORAGE_FAILURES,
    TASK_STEPS,
    TASKS_DEAD,
    TASKS_OVERDUE,
    TASKS_WAITING,
    UPLOADED_BYTES,
    UPLOADS,
    DecodeJob,
    RequestMetrics,
    request_metrics,
)

__all__ = [
    "EVENT_STREAMS",
    "FOLDER_VARIABLE",
    "RENDITIONS",
    "REQUESTS_IN_PROGRESS",
    "STORAGE_FAILURES",
    "TASKS_DEAD",
    "TASKS_OVERDUE",
    "TASKS_WAITING",
    "TASK_STEPS",
    "UPLOADED_BYTES",
    "UPLOADS",
    "DecodeJob",
    "Reading",
    "RequestMetrics",
    "figures",
    "request_metrics",
    "shared_folder",
]
