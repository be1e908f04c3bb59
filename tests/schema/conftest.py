from collections.abc import Iterator

import pytest

from mediakeep.settings import Settings
from tests.schema.server import serving


@pytest.fixture
def server_url(library_settings: Settings, warm_decoders: None) -> Iterator[str]:
    """The address of a server, on each engine."""
    with serving(library_settings) as url:
        yield url
