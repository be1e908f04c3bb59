"""The models that run inside Mediakeep: what may be asked of each, as a schema and as what parses a request.

Known to the server only; a film's own process is told plain values.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mediakeep.errors import InvalidInput
from mediakeep.media import films
from mediakeep.media.limits import IMAGE_SECONDS
from mediakeep.media.transform import Anchor

MAX_IMAGES = 50
#: All frames of a film together, width × height × frames: a minute of 1920 × 1080 at 30 frames a second has fewer.
MAX_FILM_PIXELS = 4_000_000_000

# A film takes 20 to 40 s of a core for 1,000 million pixels; at the lowest priority that may last longer.
_PIXELS_PER_SECOND = 5_000_000
_LEAST_SECONDS = 30.0
# Where no one field is wrong but what they make together.
_WHOLE = "input"

Address = Annotated[str, Field(min_length=1, json_schema_extra={"format": "uri"})]
Width = Annotated[int, Field(ge=64, le=1920, multiple_of=2, description="Width of the film, pixels.")]
Height = Annotated[int, Field(ge=64, le=1920, multiple_of=2, description="Height of the film, pixels.")]
FramesPerSecond = Annotated[int, Field(ge=1, le=60, description="Frames a second.")]


class KenBurns(BaseModel):
    """What `local/ken-burns` takes."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, allow_inf_nan=False)

    image: Annotated[Address, Field(description="The image to make a film of.")]
    duration: Annotated[float, Field(ge=1, le=60, description="How long the film lasts, seconds.")] = 5
    width: Width = 1280
    height: Height = 720
    fps: FramesPerSecond = 24
    zoom: Annotated[
        float, Field(ge=1, le=2, description="How many times smaller the part that is seen closest is.")
    ] = 1.25
    direction: Annotated[
        films.Direction,
        Field(description="Nearer, away, or across; `random` is one of these that `seed` decides."),
    ] = "in"
    gravity: Annotated[
        Anchor, Field(description="What the film moves to or stays with; `smart` is what draws the eye.")
    ] = "smart"
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Decides what is `random`.")] = 0

    @property
    def images(self) -> Sequence[str]:
        return (self.image,)

    @property
    def frame_count(self) -> int:
        return films.frame_count(self.duration, self.fps)

    @model_validator(mode="after")
    def _is_affordable(self) -> Self:
        _check_pixels(self)
        return self

    def rendering(self, pictures: Sequence[str]) -> Callable[..., None]:
        """What makes the film of these files: called with `target`, `limits` and `report`."""
        (picture,) = pictures
        return partial(
            films.ken_burns,
            picture,
            duration=self.duration,
            width=self.width,
            height=self.height,
            fps=self.fps,
            zoom=self.zoom,
            direction=self.direction,
            gravity=self.gravity,
            seed=self.seed,
        )


class Slideshow(BaseModel):
    """What `local/slideshow` takes."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, allow_inf_nan=False)

    images: Annotated[
        list[Address],
        Field(min_length=1, max_length=MAX_IMAGES, description="The images to show, in their order."),
    ]
    seconds_per_image: Annotated[
        float, Field(ge=1, le=20, description="How long it is from one image to the next, seconds.")
    ] = 3
    fade: Annotated[
        float, Field(ge=0, le=5, description="How long an image fades into the next one; 0 for a cut.")
    ] = 0.5
    fit: Annotated[
        films.FilmFit,
        Field(description="`contain`: images whole, on black. `cover`: the film is filled, images cropped."),
    ] = "contain"
    width: Width = 1280
    height: Height = 720
    fps: FramesPerSecond = 24

    @property
    def frame_count(self) -> int:
        return films.frame_count(len(self.images) * self.seconds_per_image, self.fps)

    @model_validator(mode="after")
    def _is_affordable(self) -> Self:
        if self.fade > self.seconds_per_image:
            raise ValueError("fade must not be longer than seconds_per_image.")
        _check_pixels(self)
        return self

    def rendering(self, pictures: Sequence[str]) -> Callable[..., None]:
        """What makes the film of these files: called with `target`, `limits` and `report`."""
        return partial(
            films.slideshow,
            tuple(pictures),
            seconds_per_image=self.seconds_per_image,
            fade=self.fade,
            fit=self.fit,
            width=self.width,
            height=self.height,
            fps=self.fps,
        )


Film = KenBurns | Slideshow


@dataclass(frozen=True, slots=True)
class LocalModel:
    """A model: its name for people, one sentence about it, and the type of what it takes."""

    title: str
    description: str
    film: type[Film]

    @property
    def input_schema(self) -> dict[str, Any]:
        """JSON Schema (2020-12) of its input."""
        return self.film.model_json_schema()


MODELS: dict[str, LocalModel] = {
    "local/ken-burns": LocalModel(
        "Ken Burns", "Moves over one image, near, away or across, and makes an MP4 of it.", KenBurns
    ),
    "local/slideshow": LocalModel(
        "Slideshow", "Shows images one after another, each fading into the next, in one MP4.", Slideshow
    ),
}


def parse(model_id: str, values: Mapping[str, Any]) -> Film:
    """What is asked of a model of `MODELS`, with defaults for what is not said; names it does not know do not matter.

    Raises `InvalidInput`, which names every input that is missing or wrong.
    """
    try:
        return MODELS[model_id].film.model_validate(values)
    except ValidationError as error:
        raise _refusal(error) from error


def timeout_seconds(film: Film) -> float:
    """How long making it may take before its process is stopped."""
    return _LEAST_SECONDS + len(film.images) * IMAGE_SECONDS + round(_pixels(film) / _PIXELS_PER_SECOND)


def _pixels(film: Film) -> int:
    return film.width * film.height * film.frame_count


def _check_pixels(film: Film) -> None:
    if _pixels(film) > MAX_FILM_PIXELS:
        raise ValueError(
            f"The film would have {_pixels(film)} pixels ({film.width} × {film.height} × {film.frame_count} frames); "
            f"the limit is {MAX_FILM_PIXELS}."
        )


def _refusal(error: ValidationError) -> InvalidInput:
    errors = [
        {
            "field": ".".join(str(part) for part in one["loc"]) or _WHOLE,
            "reason": one["msg"].removeprefix("Value error, "),
        }
        for one in error.errors(include_url=False)
    ]
    sentences = (f"{one['field']}: {one['reason']}".removeprefix(f"{_WHOLE}: ") for one in errors[:3])
    refusal = InvalidInput("; ".join(sentences), field=errors[0]["field"])
    refusal.members["errors"] = errors
    return refusal
