"""How much decoding one file may cost; goes to the decode processes with each job."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a decode process knows nothing of settings
    from mediakeep.settings import Settings

IMAGE_SECONDS = 10.0  # an image or a PDF page
POSTER_SECONDS = 20.0
PEAKS_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Limits:
    """Pixels are width × height of one frame, except `max_animation_pixels`: of all frames together."""

    max_image_pixels: int
    max_heif_pixels: int
    max_frames: int
    max_animation_pixels: int
    max_video_pixels: int
    max_waveform_seconds: int


def limits_from(settings: "Settings") -> Limits:
    return Limits(
        max_image_pixels=settings.max_image_pixels,
        max_heif_pixels=settings.max_heif_pixels,
        max_frames=settings.max_frames,
        max_animation_pixels=settings.max_animation_pixels,
        max_video_pixels=settings.max_video_pixels,
        max_waveform_seconds=settings.max_waveform_seconds,
    )
