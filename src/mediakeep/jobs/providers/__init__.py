"""Where models run. A provider is one file here and one line below."""

from mediakeep.errors import InvalidInput
from mediakeep.jobs.providers.base import Provider
from mediakeep.jobs.providers.comfyui import ComfyUI
from mediakeep.jobs.providers.local import Local
from mediakeep.jobs.providers.replicate import Replicate
from mediakeep.library import Library

#: The first whose pattern a model id fits is asked.
PROVIDERS: dict[str, type[Provider]] = {one.name: one for one in (Local, ComfyUI, Replicate)}


def provider_of(library: Library, model_id: str) -> Provider:
    """The provider that a model id picks. Raises `InvalidInput` where it picks none."""
    for kind in PROVIDERS.values():
        if kind.model_ids.fullmatch(model_id):
            return kind(library)
    raise InvalidInput(
        "model_id is owner/name or owner/name:version, comfyui/… or local/…; GET /api/v2/models lists what there is.",
        field="model_id",
    )
