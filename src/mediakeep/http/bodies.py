"""What requests to all surfaces have in common, as OpenAPI describes them."""

from collections.abc import Callable
from typing import Annotated, Any

from pydantic import AfterValidator
from pydantic.config import JsonDict

#: What names look like, for OpenAPI; `assets.text` is what checks them, and has sentences for people.
NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"

#: The same for longer texts, which may have several lines.
TEXT_PATTERN = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$"


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("it must not contain NUL characters")
    return text


#: Text that no database has to refuse. A limit goes before it: after it, characters would be told of as "items".
WITHOUT_NUL = AfterValidator(_without_nul)

#: Text of an address's query.
Text = Annotated[str, WITHOUT_NUL]


def changes_schema(example: JsonDict) -> Callable[[JsonDict], None]:
    """For the schema of a partial update: what is absent is unchanged, so that no member has a default."""

    def extend(schema: JsonDict) -> None:
        members: Any = schema["properties"]
        for member in members.values():
            member.pop("default", None)
        schema["examples"] = [example]

    return extend
