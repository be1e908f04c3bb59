"""What can be asked for on this server."""

import asyncio

from mediakeep.errors import InvalidInput, Unavailable
from mediakeep.jobs import service
from mediakeep.jobs.providers import PROVIDERS, provider_of
from mediakeep.jobs.providers.base import Model, NotConfigured, RefusedByProvider, UnknownModel
from mediakeep.library import Library


async def list_models(library: Library) -> list[tuple[str | None, Model]]:
    """The models of the providers that are set up, and the aliases, each of which comes with its name.

    Those of a provider that does not answer now are left out.
    """
    wanted: list[tuple[str | None, str]] = [
        (alias, model) for alias, model in library.settings.model_aliases.items()
    ]
    for kind in PROVIDERS.values():
        provider = kind(library)
        try:
            provider.check_configured()
        except NotConfigured:
            continue
        wanted += [(None, model) for model in provider.listed()]
    described = await asyncio.gather(*(_describe(library, model) for _, model in wanted))
    return [(alias, model) for (alias, _), model in zip(wanted, described, strict=True) if model]


async def _describe(library: Library, model_id: str) -> Model | None:
    try:
        provider = provider_of(library, model_id)
        provider.check_configured()
        return await service.describe(provider, model_id)
    except (InvalidInput, NotConfigured, UnknownModel, RefusedByProvider, Unavailable):
        return None
