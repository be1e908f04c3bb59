"""The loudness of a sound over time, as numbers and as a picture, in bounded memory."""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt
from av.audio.stream import AudioStream
from av.container import InputContainer

from mediakeep.errors import UndecodableMedia
from mediakeep.media.audio import find_sound
from mediakeep.media.container import DAMAGED_AUDIO, open_media
from mediakeep.media.limits import Limits
from mediakeep.media.pixels import Pixels, encode_jpeg, encode_png

PEAKS_PER_SECOND = 100
MAX_PEAKS = 8000  # pairs in the answer; longer sounds get coarser ones
_BLOCK_SECONDS = 10

Samples = npt.NDArray[np.int16]

_INK, _PAPER = (0x33, 0x41, 0x55), (0xF8, 0xFA, 0xFC)


@dataclass(frozen=True, slots=True)
class _Pcm:
    """Where a WAV keeps its samples: `offset` and `frames` in the file, `dtype` of one sample."""

    sample_rate: int
    channels: int
    dtype: str
    offset: int
    frames: int


def peaks(path: str, format_name: str, limits: Limits) -> dict[str, Any]:
    """Lowest and highest sample of each stretch of sound, over all channels, ready for JSON.

    `peaks` is `[min, max, min, max, …]` from -128 to 127, `length` the number of pairs: at most 8,000, of
    `samples_per_peak` samples each (1/100 s, or a multiple of it where the sound is longer than 80 s). Raises
    `UndecodableMedia` when nothing can be decoded, when there is no sound, or when it lasts longer than the limit.
    """
    pcm = _find_pcm(path) if format_name == "wav" else None
    if pcm:
        _check_seconds(pcm.frames / pcm.sample_rate, limits)
        return _answer(
            _collect(_pcm_blocks(path, pcm), pcm.sample_rate, pcm.channels, limits), pcm.sample_rate
        )
    with open_media(path, format_name, limits, DAMAGED_AUDIO) as container:
        stream = find_sound(container)
        if stream is None:
            raise UndecodableMedia("The file has no sound.")
        blocks = _decoded_blocks(container, stream)
        return _answer(_collect(blocks, stream.sample_rate, stream.channels, limits), stream.sample_rate)


def draw(peaks: dict[str, Any], width: int, height: int) -> bytes:
    """The waveform as a PNG of `width` × `height` pixels."""
    return encode_png(_picture(peaks, width, height))


def draw_jpeg(peaks: dict[str, Any], width: int, height: int) -> bytes:
    """The waveform as a JPEG of `width` × `height` pixels."""
    return encode_jpeg(_picture(peaks, width, height))


@dataclass(slots=True)
class _Collected:
    pairs: Samples
    samples: int


def _collect(blocks: Iterator[Samples], sample_rate: int, channels: int, limits: Limits) -> _Collected:
    """Reduce interleaved samples to a pair for each 1/100 s. Only the pairs are kept."""
    width = max(1, sample_rate // PEAKS_PER_SECOND) * channels
    found: list[Samples] = []
    rest = np.empty(0, np.int16)
    total = 0
    for block in blocks:
        total += block.size
        _check_seconds(total / channels / sample_rate, limits)
        samples = np.concatenate((rest, block)) if rest.size else block
        whole = samples.size - samples.size % width
        found.append(_pairs(samples[:whole], width))
        rest = samples[whole:].copy()
    if rest.size:
        found.append(_pairs(rest, rest.size))
    if not total:
        raise UndecodableMedia(DAMAGED_AUDIO)
    return _Collected(np.concatenate(found), total // channels)


def _pairs(samples: Samples, width: int) -> Samples:
    stretches = samples.reshape(-1, width)
    return np.stack((stretches.min(1), stretches.max(1)), 1)


def _answer(collected: _Collected, sample_rate: int) -> dict[str, Any]:
    pairs, merged = collected.pairs, -(-len(collected.pairs) // MAX_PEAKS)
    if merged > 1:
        missing = -len(pairs) % merged
        pairs = np.concatenate((pairs, np.repeat(pairs[-1:], missing, axis=0))).reshape(-1, merged, 2)
        pairs = np.stack((pairs[..., 0].min(1), pairs[..., 1].max(1)), 1)
    return {
        "version": 1,
        "channels": 1,
        "sample_rate": sample_rate,
        "samples_per_peak": max(1, sample_rate // PEAKS_PER_SECOND) * merged,
        "bits": 8,
        "length": len(pairs),
        "duration_seconds": round(collected.samples / sample_rate, 6),
        "peaks": (pairs >> 8).ravel().tolist(),
    }


def _check_seconds(seconds: float, limits: Limits) -> None:
    if seconds > limits.max_waveform_seconds:
        raise UndecodableMedia(
            f"The sound lasts longer than {limits.max_waveform_seconds} s, the limit for a waveform."
        )


def _decoded_blocks(container: InputContainer, stream: AudioStream) -> Iterator[Samples]:
    """Interleaved 16-bit samples in blocks of 10 s; broken packets are passed over."""
    context = stream.codec_context
    context.thread_count = 1
    resampler = None
    for packet in container.demux(stream):
        try:
            frames = context.decode(packet)
        except av.error.InvalidDataError:
            continue
        for frame in frames:
            resampler = resampler or av.AudioResampler(
                "s16", frame.layout, stream.sample_rate, stream.sample_rate * _BLOCK_SECONDS
            )
            for block in resampler.resample(frame):
                yield np.asarray(block.to_ndarray(), np.int16).ravel()
    for block in resampler.resample(None) if resampler else ():
        yield np.asarray(block.to_ndarray(), np.int16).ravel()


def _pcm_blocks(path: str, pcm: _Pcm) -> Iterator[Samples]:
    length = pcm.frames * pcm.channels
    step = pcm.sample_rate * pcm.channels * _BLOCK_SECONDS
    raw = np.memmap(path, pcm.dtype, "r", pcm.offset, length) if length else np.empty(0, pcm.dtype)
    for start in range(0, length, step):
        yield _to_16_bits(raw[start : start + step])


def _to_16_bits(raw: npt.NDArray[Any]) -> Samples:
    if raw.dtype == np.uint8:
        centred: Samples = raw.astype(np.int16)
        centred -= 128
        centred <<= 8
        return centred
    if raw.dtype == np.int32:
        upper: Samples = (raw >> 16).astype(np.int16)
        return upper
    if raw.dtype.kind == "f":
        scaled: Samples = (np.nan_to_num(raw).clip(-1, 1) * 32767).astype(np.int16)
        return scaled
    if raw.dtype.kind == "V":  # 24 bits: the upper two bytes of three
        high = np.frombuffer(raw.tobytes(), np.uint8).reshape(-1, 3)[:, 1:]
        return np.frombuffer(high.tobytes(), "<i2")
    return np.asarray(raw, np.int16)


_DTYPES = {(1, 8): "u1", (1, 16): "<i2", (1, 24): "V3", (1, 32): "<i4", (3, 32): "<f4", (3, 64): "<f8"}


def _find_pcm(path: str) -> _Pcm | None:
    """The layout of a WAV of plain samples, None when it is compressed, or not as simple as that."""
    with Path(path).open("rb") as file:
        size = file.seek(0, 2)
        file.seek(12)
        layout = b""
        while len(chunk := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", chunk)
            if name == b"data":
                return _pcm_of(layout, file.tell(), min(length, size - file.tell()))
            if name == b"fmt ":
                layout = file.read(min(length, 64))
                length -= len(layout)
            file.seek(length + length % 2, 1)
    return None


def _pcm_of(layout: bytes, offset: int, length: int) -> _Pcm | None:
    if len(layout) < 16:
        return None
    tag, channels, sample_rate, _, frame_bytes, bits = struct.unpack_from("<HHIIHH", layout)
    if tag == 0xFFFE and len(layout) >= 26:  # extensible: the real tag begins its sub-format
        (tag,) = struct.unpack_from("<H", layout, 24)
    dtype = _DTYPES.get((tag, bits))
    if not dtype or not 1 <= channels <= 64 or not 1 <= sample_rate <= 1_000_000:
        return None
    if frame_bytes != channels * bits // 8:
        return None
    return _Pcm(sample_rate, channels, dtype, offset, length // frame_bytes)


def _picture(peaks: dict[str, Any], width: int, height: int) -> Pixels:
    """Columns of ink on paper: each from the lowest to the highest sample that falls on it."""
    pairs = np.array(peaks["peaks"], np.int16).reshape(-1, 2)
    starts = np.arange(width) * len(pairs) // width
    low = np.minimum.reduceat(pairs[:, 0], starts)
    high = np.maximum.reduceat(pairs[:, 1], starts)
    middle, half = (height - 1) / 2, (height - 1) / 2 / 128
    rows = np.arange(height)[:, None]
    inked = (rows >= np.floor(middle - high * half)) & (rows <= np.ceil(middle - low * half))
    return np.where(inked[..., None], np.array(_INK, np.uint8), np.array(_PAPER, np.uint8))
