"""What ComfyUI says of a workflow that has ended, or that it will not have."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import urlencode

from mediakeep.jobs.providers.base import Look, ProviderAway
from mediakeep.jobs.providers.comfyui.server import Answer, nonsense, plain

#: Under which names nodes list their files. VHS_VideoCombine puts films among "gifs", SaveVideo among "images".
_MEDIA: Final = ("images", "gifs", "video", "videos", "audio")

_NAME_CHARACTERS = 500
_SENTENCE_CHARACTERS = 500
_DETAIL_CHARACTERS = 200
_MOST_ERRORS = 3

#: Folders of the machine that ComfyUI runs on are nobody's business; the file's name may help.
_FOLDERS = re.compile(r"(?<![\w.:/\\])(?:[A-Za-z]:)?[/\\](?:[^\s'\"/\\]+[/\\])+")


def read(entry: object) -> Look:
    """How a job has ended, by its entry in the history. Raises `ProviderAway` for what is no such entry."""
    if not isinstance(entry, Mapping):
        raise nonsense()
    status = entry.get("status")
    if not isinstance(status, Mapping):  # servers of old note only what has succeeded
        status = {"status_str": "success", "completed": True}
    messages = dict(_messages(status.get("messages")))
    if "execution_interrupted" in messages:
        return Look(status="cancelled", error="It was interrupted at the ComfyUI server.")
    if status.get("status_str") != "success" or status.get("completed") is not True:
        return Look(status="failed", error=_failure(messages.get("execution_error", {})))
    outputs = _outputs(entry.get("outputs"))
    if not outputs:
        return Look(
            status="failed", error="The workflow saved no file; it needs a node that does, such as SaveImage."
        )
    return Look(status="succeeded", progress=1.0, outputs=outputs, metrics=_times(messages))


def refusal(answer: Answer) -> str:
    """Why a workflow was refused, in a sentence."""
    try:
        body = answer.json()
    except ProviderAway:
        body = None
    if not isinstance(body, Mapping):
        return f"ComfyUI answered {answer.status} to the workflow."
    reasons = list(_node_errors(body.get("node_errors")))[:_MOST_ERRORS] or [_reason(body.get("error"))]
    told = "; ".join(reason for reason in reasons if reason)
    return f"ComfyUI refused the workflow: {told or f'it answered {answer.status}'}."


def _messages(messages: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """What was told while it ran: pairs of a kind and its data."""
    for message in messages if isinstance(messages, list) else []:
        match message:
            case [str() as kind, dict() as data]:
                yield kind, data


def _failure(error: Mapping[str, Any]) -> str:
    message = error.get("exception_message")
    first = (
        next((line for line in message.splitlines() if line.strip()), "") if isinstance(message, str) else ""
    )
    reason = _shown(first, _SENTENCE_CHARACTERS).rstrip(".") or "it did not say why"
    node, kind = plain(str(error.get("node_id", "")), 50), plain(error.get("node_type"), 100)
    return f"{kind} (node {node}) failed: {reason}." if kind else f"The workflow failed: {reason}."


def _node_errors(errors: object) -> Iterator[str]:
    for node, found in errors.items() if isinstance(errors, Mapping) else []:
        if not isinstance(found, Mapping) or not isinstance(found.get("errors"), list):
            continue
        kind = plain(found.get("class_type"), 100)
        for one in found["errors"]:
            if reason := _reason(one):
                yield f"{kind} (node {plain(node, 50)}): {reason}"


def _reason(error: object) -> str:
    """One of its errors: a text, or an object with a message and details."""
    if not isinstance(error, Mapping):
        return _shown(error, _DETAIL_CHARACTERS).rstrip(".")
    message, details = error.get("message"), _shown(error.get("details"), _DETAIL_CHARACTERS)
    told = _shown(message, _DETAIL_CHARACTERS).rstrip(".")
    return f"{told} ({details})" if details and details != told else told


def _shown(text: object, characters: int) -> str:
    return _FOLDERS.sub("…/", plain(text, characters))


def _outputs(nodes: object) -> list[str]:
    """The files that were saved, each as the query of its address; the previews where nothing else is."""
    found: dict[str, list[str]] = {"output": [], "temp": []}
    for file in _files(nodes):
        name, folder, kind = (file.get(one) or "" for one in ("filename", "subfolder", "type"))
        if kind in ("output", "temp") and _is_name(name) and (not folder or _is_name(folder)):
            found[kind].append(urlencode({"filename": name, "subfolder": folder, "type": kind}))
    return list(dict.fromkeys(found["output"] or found["temp"]))


def _files(nodes: object) -> Iterator[Mapping[str, Any]]:
    for files in nodes.values() if isinstance(nodes, Mapping) else []:
        for name in _MEDIA:
            listed = files.get(name) if isinstance(files, Mapping) else None
            for file in listed if isinstance(listed, list) else []:
                if isinstance(file, Mapping):
                    yield file


def _is_name(text: object) -> bool:
    return isinstance(text, str) and 0 < len(text) <= _NAME_CHARACTERS and text.isprintable()


def _times(messages: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """How long it took, seconds; the messages have milliseconds."""
    times = [messages.get(one, {}).get("timestamp") for one in ("execution_start", "execution_success")]
    match times:
        case [int() as begun, int() as ended] if 0 < begun <= ended < 10**15:
            return {"predict_time": (ended - begun) / 1000}
    return {}
