"""The life of a prediction, from its submission until its data are removed."""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from mediakeep.emulators.replicate import media
from mediakeep.emulators.replicate.inputs import UnreadableInput, read_inputs
from mediakeep.emulators.replicate.options import Outcome
from mediakeep.emulators.replicate.predictions import Output, Prediction, document
from mediakeep.emulators.replicate.state import Emulator, Made

#: Lines of progress that are logged while a prediction is processing.
_STEPS: Final = 10


def start(emulator: Emulator, prediction: Prediction) -> None:
    """Take it in, and go on with it beside the requests."""
    emulator.predictions[prediction.id] = prediction
    emulator.spawn(prediction.deliveries.run(prediction.id))
    prediction.work = emulator.spawn(_run(emulator, prediction))
    if prediction.deadline:
        lifetime = prediction.deadline - prediction.created_at
        emulator.call_later(lifetime.total_seconds(), partial(_give_up, emulator, prediction))


def cancel(emulator: Emulator, prediction: Prediction) -> None:
    """End it at its owner's wish, unless it has ended or is not to be stopped."""
    if not prediction.options.cancel_race:
        _end(emulator, prediction, "canceled")


def _give_up(emulator: Emulator, prediction: Prediction) -> None:
    """Its deadline is over."""
    _end(emulator, prediction, "canceled" if prediction.started_at else "aborted")


async def _run(emulator: Emulator, prediction: Prediction) -> None:
    options = prediction.options
    await asyncio.sleep(options.startup_seconds)
    if options.outcome == "aborted":
        _end(emulator, prediction, "aborted")
        return
    prediction.status = "processing"
    prediction.started_at = datetime.now(UTC)
    prediction.deliveries.note("start", document(prediction))
    try:
        await read_inputs(emulator, prediction)
        await _process(emulator, prediction)
    except UnreadableInput as error:
        _end(emulator, prediction, "failed", error=str(error))
    except Exception as error:  # noqa: BLE001  whatever a model raises fails its prediction
        _end(emulator, prediction, "failed", error=f"{type(error).__name__}: {error}")


async def _process(emulator: Emulator, prediction: Prediction) -> None:
    outcome = prediction.options.outcome
    await _progress(prediction)
    if outcome == "succeeded":
        prediction.outputs = await asyncio.to_thread(_make_outputs, prediction)
        for output in prediction.outputs:
            emulator.outputs[output.key] = Made(prediction=prediction, output=output)
        prediction.deliveries.note("output", document(prediction))
    _end(emulator, prediction, outcome, error=prediction.options.error if outcome == "failed" else None)


async def _progress(prediction: Prediction) -> None:
    """Log the way tqdm does, a line for each step."""
    seed = prediction.input.get("seed")
    _log(prediction, f"Using seed: {secrets.randbelow(1 << 16) if seed is None else seed}\n")
    for step in range(_STEPS + 1):
        if step:
            await asyncio.sleep(prediction.options.latency_seconds / _STEPS)
        bar = ("█" * step).ljust(10)
        _log(prediction, f"{step * 100 // _STEPS:3}%|{bar}| {step}/{_STEPS} [00:00<00:00,  7.96it/s]\n")


def _log(prediction: Prediction, line: str) -> None:
    prediction.logs += line
    prediction.deliveries.note("logs", document(prediction))


def _end(emulator: Emulator, prediction: Prediction, outcome: Outcome, *, error: str | None = None) -> None:
    """Whatever ends it first has ended it."""
    if prediction.ended.is_set():
        return
    prediction.status = outcome
    prediction.error = error
    prediction.completed_at = datetime.now(UTC)
    prediction.ended.set()
    prediction.deliveries.note("completed", document(prediction))
    emulator.call_later(
        prediction.options.output_lifetime_seconds, partial(_remove_data, emulator, prediction)
    )
    if prediction.work and prediction.work is not asyncio.current_task():
        prediction.work.cancel()


def _remove_data(emulator: Emulator, prediction: Prediction) -> None:
    for output in prediction.outputs:
        del emulator.outputs[output.key]
    prediction.outputs = ()
    prediction.input = {}
    prediction.logs = ""
    prediction.data_removed = True


def _make_outputs(prediction: Prediction) -> tuple[Output, ...]:
    """The files that the model makes, for this prediction alone."""
    if prediction.model.produces == "video":
        return (_output("output.mp4", "video/mp4", media.make_video(prediction.id)),)
    given: Mapping[str, Any] = prediction.input  # has been checked against the model's schema
    image_format = given.get("output_format", "webp")
    aspect_ratio = given.get("aspect_ratio", "1:1")
    return tuple(
        _output(
            f"out-{index}.{image_format}",
            media.IMAGE_FORMATS[image_format][0],
            media.make_image(
                f"{prediction.id}/{index}", image_format=image_format, aspect_ratio=aspect_ratio
            ),
        )
        for index in range(int(given.get("num_outputs", 1)))  # 2.0 is whole, too
    )


def _output(name: str, media_type: str, content: bytes) -> Output:
    return Output(key=secrets.token_urlsafe(24), name=name, media_type=media_type, content=content)
