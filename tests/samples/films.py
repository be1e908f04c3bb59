"""Videos and sounds, encoded by PyAV."""

import io
import struct
from fractions import Fraction
from functools import cache

import av
import numpy as np

from tests.samples import pictures

# One colour for each second, so that a poster tells when it was taken.
SECONDS = ((200, 40, 40), (40, 180, 60), (50, 60, 210), (210, 200, 50))

_VIDEO_CODECS = {"mp4": "libx264", "mov": "libx264", "mkv": "libx264", "webm": "libvpx", "avi": "mpeg4"}
_VIDEO_CODECS |= {"flv": "flv1", "wmv": "wmv2", "3gp": "libx264"}
_AUDIO_CODECS = {"mp4": "aac", "mov": "aac", "mkv": "aac", "webm": "libopus", "avi": "libmp3lame"}
_AUDIO_CODECS |= {"flv": "libmp3lame", "wmv": "wmav2", "3gp": "aac"}
_MUXERS = {"mkv": "matroska", "wmv": "asf", "m4a": "ipod"}


@cache
def video(
    format_name: str = "mp4",
    seconds: float = 2.0,
    width: int = 160,
    height: int = 120,
    fps: int = 10,
    *,
    sound: bool = False,
    rotation: int = 0,
    place: str = "",
    keyframe_every: int = 12,
) -> bytes:
    """A film of a second of each colour with a moving bar. `rotation` is clockwise degrees, as a player turns it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=_MUXERS.get(format_name, format_name)) as container:
        container.metadata.update({"title": "Film"} | ({"location": place} if place else {}))
        stream = container.add_stream(_VIDEO_CODECS[format_name], rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.gop_size = keyframe_every
        voice = _add_voice(container, _AUDIO_CODECS[format_name]) if sound else None
        for index in range(round(seconds * fps)):
            container.mux(stream.encode(_frame(index, fps, width, height)))
        container.mux(stream.encode(None))
        if voice:
            _speak(container, voice, seconds)
    data = buffer.getvalue()
    return _rotated(data, rotation) if rotation else data


def _frame(index: int, fps: int, width: int, height: int) -> av.VideoFrame:
    pixels = np.full((height, width, 3), SECONDS[index // fps % len(SECONDS)], np.uint8)
    at = index * 7 % width
    pixels[: height // 8, at : at + 8] = 255
    frame = av.VideoFrame.from_ndarray(pixels)
    frame.pts, frame.time_base = index, Fraction(1, fps)
    return frame


def _rotated(data: bytes, degrees: int) -> bytes:
    """Write a turn into the track header's matrix (ISO/IEC 14496-12 §8.3.2)."""
    whole = 0x10000
    matrices = {90: (0, whole, -whole, 0), 180: (-whole, 0, 0, -whole), 270: (0, -whole, whole, 0)}
    a, b, c, d = matrices[degrees]
    at = data.index(b"tkhd") + 4 + 40  # version 0
    return data[:at] + struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000) + data[at + 36 :]


def with_unknown_sound(data: bytes) -> bytes:
    """An MP4 whose AAC says that it is of a codec that nobody knows (ISO/IEC 14496-1 §7.2.6.6)."""
    at = data.index(b"esds")
    at = data.index(b"\4\x80\x80\x80", at) + 5  # the object type of the decoder's configuration
    return (data[:at] + b"\xfe" + data[at + 1 :]).replace(b"mp4a", b"zzzz")


@cache
def sound(
    format_name: str = "mp3",
    seconds: float = 2.0,
    *,
    xing: bool = True,
    cover: bool = False,
    sample_rate: int = 44_100,
    codec: str = "",
    bit_rate: int = 64_000,
) -> bytes:
    """A tone that grows louder. `xing` is for MP3 only: its header that counts the frames."""
    codecs = {
        "mp3": "libmp3lame",
        "wav": "pcm_s16le",
        "flac": "flac",
        "ogg": "libopus",
        "m4a": "aac",
        "mp4": "aac",
    }
    buffer = io.BytesIO()
    options = {} if xing else {"write_xing": "0"}
    with av.open(buffer, "w", format=_MUXERS.get(format_name, format_name), options=options) as container:
        container.metadata.update({"title": "Tone", "artist": "Mediakeep"})
        rate = 48_000 if format_name == "ogg" else sample_rate
        stream = _add_voice(container, codec or codecs[format_name], rate, bit_rate)
        picture = None
        if cover:
            picture = container.add_stream("mjpeg", rate=1)
            picture.width, picture.height, picture.pix_fmt = 64, 64, "yuvj420p"
            picture.disposition = av.stream.Disposition.attached_pic
            container.start_encoding()
            packet = av.Packet(pictures.jpeg(64, 64))
            packet.stream, packet.pts, packet.dts = picture, 0, 0
            container.mux(packet)
        _speak(container, stream, seconds)
    return buffer.getvalue()


def _add_voice(
    container: av.container.OutputContainer, codec: str, rate: int = 48_000, bit_rate: int = 64_000
) -> av.AudioStream:
    stream = container.add_stream(codec, rate=rate)
    stream.layout, stream.bit_rate = "mono", bit_rate
    return stream


def _speak(container: av.container.OutputContainer, stream: av.AudioStream, seconds: float) -> None:
    for frame in _tone(seconds, stream.rate):
        container.mux(stream.encode(frame))
    container.mux(stream.encode(None))


def _tone(seconds: float, rate: int) -> list[av.AudioFrame]:
    times = np.arange(round(seconds * rate)) / rate
    samples = (np.sin(times * 440 * 2 * np.pi) * times / seconds * 30_000).astype(np.int16)
    frames = []
    for start in range(0, len(samples), 1024):
        frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        frames.append(frame)
    return frames
