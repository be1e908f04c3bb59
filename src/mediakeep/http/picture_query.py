"""The pictures that an address may ask for: its parameters, checked, and what they mean for one file."""

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, Literal, get_args
from urllib.parse import parse_qsl

from fastapi.exceptions import RequestValidationError
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from mediakeep.assets.served import Served
from mediakeep.errors import BadRequest, NotFound, PermissionDenied, SettingsError
from mediakeep.files.renditions import Bounds
from mediakeep.media.picture import PAGE_SIDE
from mediakeep.media.transform import (
    ALPHA_FORMATS,
    ANIMATED_FORMATS,
    DEFAULT_QUALITY,
    MAX_PIXELS,
    MAX_SIDE,
    Anchor,
    Fit,
    OutputFormat,
    Transform,
    fitted,
)
from mediakeep.settings import Settings

_COLOR = r"^(#?([0-9A-Fa-f]{3,4}|[0-9A-Fa-f]{6}|[0-9A-Fa-f]{8})|transparent)$"


def _color(value: str) -> str:
    """`rrggbbaa` of a colour as CSS writes it."""
    if value == "transparent":
        return "00000000"
    digits = value.lower().removeprefix("#")
    if len(digits) in {3, 4}:
        digits = "".join(digit * 2 for digit in digits)
    return digits.ljust(8, "f")


def _one_name(value: object) -> object:
    return "jpg" if value == "jpeg" else value


_Side = Annotated[int, Field(ge=1, le=MAX_SIDE)]
_Number = Field(allow_inf_nan=False)


class PictureQuery(BaseModel):
    """What an address may say of the picture it wants."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    width: _Side | None = Field(None, description="Width, pixels.", examples=[640])
    height: _Side | None = Field(None, description="Height, pixels.", examples=[480])
    fit: Fit = Field(
        "inside",
        description="`inside`: the whole picture within the box. `cover`: fills the box, crops. `contain`: pads. "
        "`fill`: stretches.",
    )
    enlarge: bool = Field(False, description="Whether it may become larger than the original.")
    dpr: float = Field(
        1.0,
        ge=0.1,
        le=8,
        allow_inf_nan=False,
        description="Device pixels for one of `width`, `height` and `blur`.",
    )
    gravity: Literal[Anchor, "focal"] | None = Field(
        None,
        description="What `cover` keeps: one of nine places, `smart` for the busiest part, or `focal` for the asset's "
        "focal point. Without it the focal point where the asset has one, else the centre.",
    )
    quality: Annotated[int, Field(ge=1, le=100)] | None = Field(
        None, description="Of JPEG, WebP and AVIF.", examples=[80]
    )
    format: Annotated[Literal[OutputFormat, "auto"], BeforeValidator(_one_name)] | None = Field(
        None,
        description="`auto` is the best of AVIF, WebP and JPEG that `Accept` names. Without it the original's, or JPEG.",
    )
    blur: float = Field(
        0.0, ge=0, le=250, allow_inf_nan=False, description="The Gaussian's standard deviation, pixels."
    )
    background: Annotated[str, Field(pattern=_COLOR), AfterValidator(_color)] | None = Field(
        None, description="Behind what is transparent or padded: `ffffff`, `336699cc`, `transparent`."
    )
    page: int = Field(1, ge=1, le=1_000_000, description="Page of a document, from 1.")
    t: float | None = Field(
        None, ge=0, le=1_000_000, allow_inf_nan=False, description="Time of a video's frame, seconds."
    )
    animated: bool | None = Field(
        None, description="Whether a GIF or WebP keeps moving; it does unless the format cannot."
    )
    preset: str | None = Field(
        None, max_length=64, description="Name of a picture that the server's settings define."
    )

    @property
    def is_preset(self) -> bool:
        """Whether it names a preset and says nothing else."""
        return self.preset is not None and self.model_fields_set == {"preset"}


#: What makes an address one of a picture instead of the file itself.
NAMES = frozenset(PictureQuery.model_fields)


def parse(given: Mapping[str, Any]) -> PictureQuery:
    """Raises `RequestValidationError`."""
    try:
        return PictureQuery.model_validate({name: given[name] for name in given if name in NAMES})
    except ValidationError as error:
        raise RequestValidationError(error.errors()) from error


def presets_from(settings: Settings) -> dict[str, PictureQuery]:
    """The settings' named pictures. Raises `SettingsError`."""
    presets = {}
    for name, text in settings.rendition_presets.items():
        given = dict(parse_qsl(text.removeprefix("?"), keep_blank_values=True))
        unknown = sorted(set(given) - (NAMES - {"preset"}))
        if unknown or not given:
            reason = f"{unknown[0]!r} is no parameter of a picture" if unknown else "it asks for nothing"
            raise SettingsError(f"MEDIAKEEP_RENDITION_PRESETS: preset {name!r}: {reason}.")
        try:
            presets[name] = PictureQuery.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{first['loc'][0]}: {first['msg']}"
            raise SettingsError(f"MEDIAKEEP_RENDITION_PRESETS: preset {name!r}: {reason}.") from error
    return presets


def with_preset(query: PictureQuery, presets: Mapping[str, PictureQuery]) -> PictureQuery:
    """The preset with what the address says besides it. Raises `NotFound`."""
    if query.preset is None:
        return query
    preset = presets.get(query.preset)
    if preset is None:
        known = ", ".join(sorted(presets)) or "none"
        raise NotFound(f"There is no preset of this name. There are: {known}.")
    given = query.model_fields_set - {"preset"}
    return preset.model_copy(update={name: getattr(query, name) for name in given})


def check_presets_only(given: PictureQuery, settings: Settings) -> None:
    """Raises `PermissionDenied` for more than a preset's name where the settings allow nothing else, whoever asks."""
    if settings.renditions == "presets" and not given.is_preset:
        raise PermissionDenied("Only presets may be asked for here, such as ?preset=name and nothing else.")


def transform_of(query: PictureQuery, served: Served, bounds: Bounds, *, accept: str) -> Transform:
    """The picture of this file that is meant. Raises `BadRequest` where there is none such, or it is too large."""
    _check_source(query, served)
    formats = _formats(query, served, accept)
    for format_ in formats:
        transform = _in_format(query, served, bounds, format_)
        most = MAX_PIXELS.get(format_, bounds.max_pixels)
        if (transform.width or 0) * (transform.height or 0) <= most:
            return transform
    raise BadRequest(
        f"A picture of {transform.width} × {transform.height} pixels is too large for {format_}; "
        f"it may have at most {most} in all.",
        members={"max_pixels": most},
    )


def _in_format(query: PictureQuery, served: Served, bounds: Bounds, format_: OutputFormat) -> Transform:
    width, height = (
        None if side is None else max(1, round(side * query.dpr)) for side in (query.width, query.height)
    )
    _check_size(width, height, bounds)
    transform = Transform(
        width=width,
        height=height,
        fit=query.fit,
        enlarge=query.enlarge,
        gravity=_gravity(query, served),
        blur=round(query.blur * query.dpr, 1),
        background=_background(query, format_),
        format=format_,
        quality=(query.quality or DEFAULT_QUALITY[format_]) if format_ in DEFAULT_QUALITY else None,
        page=query.page if served.type == "document" else 1,
        seconds=None if query.t is None or served.type != "video" else round(query.t, 3),
        animated=_is_moving(query, served) and format_ in ANIMATED_FORMATS,
    )
    if served.width is None or served.height is None:
        return _of_page(transform, bounds)
    exact = fitted(
        transform, (served.width, served.height), max_side=bounds.max_side, max_pixels=bounds.max_pixels
    )
    _check_size(exact.width, exact.height, bounds)
    return exact


def _of_page(transform: Transform, bounds: Bounds) -> Transform:
    """The same, with bounds for the sides that nobody asked for: how large a page is, only its decoder knows."""
    if transform.width is None and transform.height is None:
        side = min(PAGE_SIDE, bounds.max_side)
        return replace(transform, width=side, height=side, fit="inside", enlarge=False, gravity="center")
    asked = transform.width or transform.height or 1
    other = min(bounds.max_side, max(1, bounds.max_pixels // asked))
    is_whole = (
        transform.width is None or transform.height is None or transform.fit in {"inside", "fill", "contain"}
    )
    return replace(
        transform,
        width=transform.width or other,
        height=transform.height or other,
        fit="inside" if transform.width is None or transform.height is None else transform.fit,
        enlarge=False,  # lines have no size of their own
        gravity="center" if is_whole else transform.gravity,
    )


def _check_source(query: PictureQuery, served: Served) -> None:
    if served.type == "audio":
        raise BadRequest("Audio has no picture that could be asked for at another size.")
    if served.type == "document":
        if served.page_count is None:
            raise NotFound("This asset has no pictures: the PDF needs a password.")
        if query.page > served.page_count:
            pages = "1 page" if served.page_count == 1 else f"{served.page_count} pages"
            raise BadRequest(f"The document has {pages}; there is no page {query.page}.")
    duration = served.duration_seconds
    if served.type == "video" and query.t is not None and duration is not None and query.t > duration:
        raise BadRequest(f"The video ends after {duration:g} seconds; there is no frame at {query.t:g}.")


def _check_size(width: int | None, height: int | None, bounds: Bounds) -> None:
    longest = max(width or 0, height or 0)
    if longest > bounds.max_side:
        raise BadRequest(
            f"A side of {longest} pixels is too long; {bounds.reason} at most {bounds.max_side} may be asked for.",
            members={"max_side": bounds.max_side},
        )
    if (width or 0) * (height or 0) > bounds.max_pixels:
        raise BadRequest(
            f"A picture of {width} × {height} pixels is too large; it may have at most {bounds.max_pixels} in all.",
            members={"max_pixels": bounds.max_pixels},
        )


def _formats(query: PictureQuery, served: Served, accept: str) -> list[OutputFormat]:
    """The formats that will do, the best first."""
    if query.format is None:
        own = next((name for name in get_args(OutputFormat) if name == served.format), None)
        return [own or "jpg"]
    if query.format != "auto":
        return [query.format]
    webp: list[OutputFormat] = ["webp"] if accepts(accept, "image/webp") else []
    if _is_moving(query, served):
        return webp or ["gif"]
    avif: list[OutputFormat] = ["avif"] if accepts(accept, "image/avif") else []
    return [*avif, *webp, "jpg"]


def _is_moving(query: PictureQuery, served: Served) -> bool:
    return served.frame_count > 1 and query.animated is not False


def accepts(accept: str, media_type: str) -> bool:
    """Whether an Accept header names this very type with a weight above 0 (RFC 9110 §12.5.1).

    `image/*` and `*/*` name nothing: browsers that cannot show a format send them as well.
    """
    for member in accept.lower().split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        if name == media_type:
            weights = [part.removeprefix("q=").strip() for part in parameters if part.startswith("q=")]
            return not weights or _is_positive(weights[0])
    return False


def _is_positive(weight: str) -> bool:
    try:
        value = float(weight)
    except ValueError:
        return False
    return math.isfinite(value) and value > 0


def _gravity(query: PictureQuery, served: Served) -> Anchor | tuple[float, float]:
    if query.gravity is not None and query.gravity != "focal":
        return query.gravity
    return served.focal_point or "center"


def _background(query: PictureQuery, format_: OutputFormat) -> str:
    if query.background is None or (format_ not in ALPHA_FORMATS and query.background == "00000000"):
        return ""
    return query.background
