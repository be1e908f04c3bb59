"""What is made of an asset's file: its thumbnail and waveform, and pictures of the size and format that are asked for."""

from dataclasses import replace
from datetime import UTC, datetime

from mediakeep.assets.text import clean_file_name
from mediakeep.errors import InvalidInput, MediakeepError, NotFound, PermissionDenied, UndecodableMedia
from mediakeep.files.renditions import (
    THUMBNAIL,
    WAVEFORM,
    WAVEFORM_PICTURE,
    Bounds,
    Recipe,
    Source,
    picture_recipe,
    rendition_key,
)
from mediakeep.http import picture_query
from mediakeep.http.auth import address_of, library_of
from mediakeep.http.delivery.access import Asked
from mediakeep.http.delivery.representation import Answer, Representation
from mediakeep.http.picture_query import PictureQuery
from mediakeep.media.formats import get_format
from mediakeep.media.transform import MAX_SIDE
from mediakeep.settings import Settings

#: The long side of an image asset's thumbnail, pixels.
IMAGE_SIZES = {"small": 160, "medium": 320, "large": 640}


async def thumbnail(asked: Asked) -> Answer:
    if not asked.served.has_thumbnail:
        raise NotFound("This asset has no thumbnail")
    return await _fixed(asked, THUMBNAIL)


async def small_image(asked: Asked) -> Answer:
    """An image asset's thumbnail, in one of three sizes."""
    if asked.served.type != "image":
        raise NotFound("Asset not found")
    size = asked.query.get("size", "medium")
    if size not in IMAGE_SIZES:
        raise InvalidInput("size is small, medium or large.", field="size")
    query = PictureQuery(width=IMAGE_SIZES[size], height=IMAGE_SIZES[size], format="jpg")
    bounds = Bounds(max_side=MAX_SIDE, max_pixels=MAX_SIDE * MAX_SIDE, reason="here")
    transform = picture_query.transform_of(query, asked.served, bounds, accept="")
    return await _fixed(asked, picture_recipe(transform, is_preset=True))


async def waveform(asked: Asked) -> Answer:
    if asked.served.type != "audio":
        raise NotFound("This asset has no waveform")
    recipes = {"json": WAVEFORM, "png": WAVEFORM_PICTURE}
    wanted = asked.query.get("format", "json")
    if wanted not in recipes:
        raise InvalidInput("format is json or png.", field="format")
    return await _fixed(asked, recipes[wanted])


async def picture(asked: Asked) -> Answer:
    """A picture of the size and format that the parameters ask for."""
    given = picture_query.parse(asked.query)
    query = picture_query.with_preset(given, asked.state.presets)
    is_preset = given.is_preset
    is_negotiated = query.format == "auto"
    try:
        picture_query.check_presets_only(given, library_of(asked.request).settings)
        bounds, max_age = await _rights(asked, query, is_preset=is_preset)
        accept = asked.request.headers.get("accept", "")
        transform = picture_query.transform_of(query, asked.served, bounds, accept=accept)
        asked = replace(asked, access=replace(asked.access, max_age=max_age))
        recipe = picture_recipe(transform, is_preset=is_preset)
        return await _rendition(asked, recipe, vary="Accept" if is_negotiated else "")
    except MediakeepError as error:
        if is_negotiated:
            error.headers["Vary"] = "Accept"
        if isinstance(error, UndecodableMedia):
            sentence = f"There is no such picture of this asset: {error.detail}"
            raise NotFound(sentence, headers=error.headers) from error
        raise


async def _rights(asked: Asked, query: PictureQuery, *, is_preset: bool) -> tuple[Bounds, int | None]:
    """What the caller may ask for, and how long others may keep it. Raises `PermissionDenied`."""
    settings = library_of(asked.request).settings
    is_trusted = asked.access.signed or is_preset
    if not is_trusted and (settings.renditions == "signed" or _needs_owner(query, settings)):
        is_trusted = await asked.is_owner()
        if settings.renditions == "signed" and not is_trusted:
            raise PermissionDenied("Pictures of other sizes need a signed address here.")
    bounds = Bounds(
        max_side=MAX_SIDE if is_trusted else settings.max_rendition_side,
        max_pixels=settings.max_rendition_pixels,
        reason="here" if is_trusted else "without login or signature",
    )
    # What only the owner may ask for is nobody else's to keep.
    is_private = is_trusted and not (asked.access.signed or is_preset)
    return bounds, None if is_private else asked.access.max_age


def _needs_owner(query: PictureQuery, settings: Settings) -> bool:
    """Whether the picture is larger than anybody may ask for."""
    return max(query.width or 0, query.height or 0) * query.dpr > settings.max_rendition_side


async def _fixed(asked: Asked, recipe: Recipe) -> Answer:
    """One of the renditions that belong to the file, whoever asks first."""
    try:
        return await _rendition(asked, recipe)
    except UndecodableMedia as error:
        raise NotFound(f"This asset has no {recipe.label}: {error.detail}") from error


async def _rendition(asked: Asked, recipe: Recipe, *, vary: str = "") -> Answer:
    served, state, address = asked.served, asked.state, address_of(asked.request)
    source = Source(
        public_id=served.file_public_id,
        key=served.key,
        format=served.format,
        family=get_format(served.format).family,
    )
    # The fixed renditions of a file are made once, whoever asks; of the others there is no end.
    made = await state.renditions.get(
        source, recipe, may_make=lambda: state.misses.hit(address) if recipe.is_variant else None
    )
    stem = served.name.rpartition(".")[0] or served.name
    content = Representation(
        media_type=recipe.media_type,
        size=made.size,
        sha256=made.sha256,
        # A focal point that was moved, or another version of the program, makes another picture of the same address;
        # but never later than now, whatever the store's clock says (RFC 9110 §8.8.2.1).
        modified_at=min(max(served.updated_at, made.made_at), datetime.now(UTC)),
        name=clean_file_name(f"{stem}-{recipe.label}.{recipe.extension}"),
        max_age=asked.access.max_age,
        embeddable=asked.access.embeddable,
        key=rendition_key(source.public_id, recipe),
        attachment=asked.is_download,
        vary=vary,
        tag=asked.tag,
    )
    return content, made.body
