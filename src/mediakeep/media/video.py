"""Videos: facts that one decoded frame proves, and the poster."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from mediakeep.errors import UndecodableMedia
from mediakeep.media import audio
from mediakeep.media.container import DAMAGED_VIDEO, MICROSECOND, open_media, read_tags
from mediakeep.media.facts import Detail, Facts, clean_text, iso_time
from mediakeep.media.image import thumbnail_size
from mediakeep.media.limits import Limits
from mediakeep.media.pixels import Pixels, encode_jpeg
from mediakeep.media.transform import Size

POSTER_AT_SECONDS = 1.0
MAX_POSTER_FRAMES = 120
_MAX_PACKETS_TO_FIRST_FRAME = 600

# ISO 6709, as QuickTime and Android write it: +52.5163+013.3777+034.500/
_PLACE = re.compile(r"([+-]\d{1,2}(?:\.\d+)?)([+-]\d{1,3}(?:\.\d+)?)([+-]\d{1,6}(?:\.\d+)?)?(?!\d)")
_PLACE_TAGS = ("com.apple.quicktime.location.iso6709", "location", "location-eng", "xyz")
_TIME_TAGS = ("com.apple.quicktime.creationdate", "creation_time")
_CAMERA_TAGS = {
    "camera_make": ("com.apple.quicktime.make", "make"),
    "camera_model": ("com.apple.quicktime.model", "model"),
}


class NoPictureError(UndecodableMedia):
    """A video container that holds sound only."""


def probe(path: str, format_name: str, limits: Limits) -> Facts:
    """The facts of a video container; of one that holds sound only, those of the sound.

    Raises `UndecodableMedia` when no frame can be decoded or one would be over the limit.
    """
    with open_media(path, format_name, limits, DAMAGED_VIDEO) as container:
        stream = _find_video(container)
        if stream is None:
            return audio.facts(container)
        frame = next(_frames(container, stream, limits), None)
        if frame is None:
            raise UndecodableMedia(DAMAGED_VIDEO)
        width, height = _displayed(frame, stream)
        return Facts(
            width=width,
            height=height,
            details=_details(container, stream, frame),
            location=_location(container.metadata),
            # Last, since it may read on to the end of the file.
            duration_seconds=audio.duration_seconds(container, stream),
        )


@dataclass(frozen=True, slots=True)
class Shown:
    """A frame that was on screen. `size` is its width and height there: pixels made square, then turned."""

    size: Size
    frame: VideoFrame

    def pixels(self, size: Size) -> Pixels:
        """Upright, in exactly this size. Raises what PyAV raises."""
        width, height = size[::-1] if self.frame.rotation % 180 else size
        larger = width > self.frame.width or height > self.frame.height
        pixels = self.frame.reformat(
            width=width, height=height, format="rgb24", interpolation="BICUBIC" if larger else "AREA"
        ).to_ndarray()
        # PyAV's rotation is counter-clockwise, as numpy's.
        turned = np.rot90(pixels, self.frame.rotation // 90 % 4)
        return np.ascontiguousarray(turned).astype(np.uint8, copy=False)


def poster(path: str, format_name: str, limits: Limits) -> bytes:
    """The picture shown at 1 s, or in the middle of a shorter video, upright, as a JPEG of at most 512 px. Raises
    `UndecodableMedia`, and `NoPictureError` where there is sound only.
    """
    with shown_at(path, format_name, None, limits) as shown:
        pixels = shown.pixels(thumbnail_size(shown.size))
    return encode_jpeg(pixels)


@contextmanager
def shown_at(path: str, format_name: str, seconds: float | None, limits: Limits) -> Iterator[Shown]:
    """The frame on screen `seconds` after the start, the last one when the video ends before; the poster's for None.

    The nearest keyframe before it where reaching it would cost more than 120 decoded frames. Raises `UndecodableMedia`,
    and `NoPictureError` where there is sound only; PyAV's errors inside become `UndecodableMedia`.
    """
    with open_media(path, format_name, limits, DAMAGED_VIDEO) as container:
        stream = _find_video(container)
        if stream is None:
            raise NoPictureError("The file has no picture.")
        at = _poster_time(container, stream) if seconds is None else _within(container, stream, seconds)
        frame = _frame_at(container, stream, at, limits)
        if frame is None:
            raise UndecodableMedia(DAMAGED_VIDEO)
        yield Shown(_displayed(frame, stream), frame)


def _find_video(container: InputContainer) -> VideoStream | None:
    """The first moving picture of a codec that we have; an attached cover is none.

    Raises `UndecodableMedia` where all are of codecs that FFmpeg does not know.
    """
    covers = av.stream.Disposition.attached_pic
    films = [stream for stream in container.streams.video if not stream.disposition & covers]
    found = next((stream for stream in films if stream.codec_context is not None), None)
    if films and found is None:
        raise UndecodableMedia(DAMAGED_VIDEO)
    return found


def _poster_time(container: InputContainer, stream: VideoStream) -> float:
    duration = audio.header_seconds(container, stream)
    return POSTER_AT_SECONDS if duration is None or duration >= POSTER_AT_SECONDS else duration / 2


def _within(container: InputContainer, stream: VideoStream, seconds: float) -> float:
    """No time after the last frame's, where that is known."""
    duration = audio.header_seconds(container, stream)
    if duration is None:
        return seconds
    return max(0.0, min(seconds, duration - 1 / float(stream.average_rate or 25)))


def _frame_at(
    container: InputContainer, stream: VideoStream, seconds: float, limits: Limits
) -> VideoFrame | None:
    """The frame that is on screen `seconds` after the start."""
    start = float((stream.start_time or 0) * (stream.time_base or 0))
    wanted = start + seconds
    try:
        container.seek(int(wanted / MICROSECOND))
    except av.FFmpegError:
        container.seek(0, any_frame=True)  # no index: from the beginning
    # Frames that no other needs are skipped until shortly before the one we want.
    margin = max(0.1, 2 / float(stream.average_rate or 25))
    first = shown = None
    for count, frame in enumerate(_frames(container, stream, limits, skip_before=wanted - margin)):
        if count >= MAX_POSTER_FRAMES:
            return first
        first = first or frame
        if shown is not None and frame.time is not None and frame.time > wanted + 1e-4:
            break
        shown = frame
    return shown


def _frames(
    container: InputContainer, stream: VideoStream, limits: Limits, skip_before: float = 0.0
) -> Iterator[VideoFrame]:
    """Decoded frames from where the container stands; broken packets are passed over, a broken start is not."""
    context = stream.codec_context
    context.thread_count = 1
    yielded = False
    for count, packet in enumerate(container.demux(stream)):
        time = (packet.pts or 0) * float(packet.time_base or 0)
        context.skip_frame = "NONREF" if packet.pts is not None and time < skip_before else "DEFAULT"
        _check_pixels(context.width, context.height, limits)
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError:
            frames = []
        yield from frames
        yielded = yielded or bool(frames)
        if not yielded and count >= _MAX_PACKETS_TO_FIRST_FRAME:
            return


def _check_pixels(width: int, height: int, limits: Limits) -> None:
    if width * height > limits.max_video_pixels:
        raise UndecodableMedia(
            f"The video has {width * height} pixels a frame ({width} × {height}); the limit is {limits.max_video_pixels}."
        )


def _displayed(frame: VideoFrame, stream: VideoStream) -> tuple[int, int]:
    """Width and height on screen: pixels made square, then turned."""
    aspect = stream.sample_aspect_ratio or Fraction(1)
    # A nonsensical aspect is no reason to believe it.
    width = round(frame.width * aspect) if Fraction(1, 4) <= aspect <= 4 else frame.width
    return (frame.height, width) if frame.rotation % 180 else (width, frame.height)


def _details(container: InputContainer, stream: VideoStream, frame: VideoFrame) -> dict[str, Detail]:
    details: dict[str, Detail] = {"video_codec": stream.codec_context.name}
    if stream.average_rate:
        details["fps"] = round(float(stream.average_rate), 3)
    if frame.rotation:
        details["rotation"] = -frame.rotation % 360  # clockwise, as players and phones count
    if container.bit_rate:
        details["bit_rate"] = container.bit_rate
    if sound := audio.find_sound(container):
        details |= audio.stream_details(sound)
    return details | _shooting(container.metadata) | read_tags((container.metadata, stream.metadata))


def _shooting(metadata: dict[str, str]) -> dict[str, Detail]:
    lower = {name.lower(): value for name, value in metadata.items()}
    found: dict[str, Detail] = {}
    for name, tags in _CAMERA_TAGS.items():
        text = next((text for tag in tags if (text := clean_text(lower.get(tag, "")))), "")
        if text:
            found[name] = text
    taken_at = next((time for tag in _TIME_TAGS if (time := iso_time(lower.get(tag, "")))), None)
    return found | ({"taken_at": taken_at} if taken_at else {})


def _location(metadata: dict[str, str]) -> dict[str, float] | None:
    lower = {name.lower(): value for name, value in metadata.items()}
    found = next((match for tag in _PLACE_TAGS if (match := _PLACE.match(lower.get(tag, "")))), None)
    if not found:
        return None
    latitude, longitude = float(found[1]), float(found[2])
    if abs(latitude) > 90 or abs(longitude) > 180:
        return None
    altitude = {"altitude": float(found[3])} if found[3] else {}
    return {"latitude": latitude, "longitude": longitude} | altitude
