"""Keeping the index: in the transaction that changes what is found."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from sqlalchemy import Insert, bindparam, delete, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from mediakeep.db import do_last, insert_into
from mediakeep.db.base import insert_on
from mediakeep.index.models import SearchDocument, Term, TermGram
from mediakeep.index.vocabulary import grams_of, is_term
from mediakeep.index.words import words

#: Stands between tags, so that no phrase goes from one to the next; no text holds it as a word.
GAP: Final = "\ue000"

#: For each field how many words of it count, and where its first one stands in a PostgreSQL vector, whose places end at
#: 16,383. The same words count on SQLite.
_ROOM: Final = {"name": (256, 1), "tags": (2048, 300), "description": (8192, 2400), "prompts": (4096, 10_700)}

#: PostgreSQL's names for how much a word in a field weighs.
WEIGHTS: Final = {"name": "A", "tags": "B", "description": "C", "prompts": "D"}

#: PostgreSQL keeps 256 places of a word and drops the others.
_MOST_PLACES: Final = 250

_CHUNK: Final = 200

#: Where a session keeps the words that its transaction brings.
_NOTED: Final = "index.words"

_KNOWN_WORDS: Final = select(Term.word).where(Term.word.in_(bindparam("words", expanding=True)))


@dataclass(frozen=True, kw_only=True)
class Document:
    """An asset as it is found. `prompts` is what its images were asked for with; None leaves them as they are."""

    asset_id: int
    owner_id: int
    #: The project in which it is an image asset.
    project_id: int | None
    name: str
    description: str
    tags: Sequence[str]
    prompts: str | None = None


async def put_all(session: AsyncSession, documents: Iterable[Document]) -> None:
    """Have assets be found by these texts, and by no others, once this transaction has committed.

    One call for several is better than many calls.
    """
    given = {document.asset_id: document for document in documents}
    if not given:
        return
    kept = await _prompts(session, [one.asset_id for one in given.values() if one.prompts is None])
    name = session.get_bind().dialect.name
    rows: list[dict[str, str | int | None]] = []
    for id_, document in sorted(given.items()):
        if rows:
            await asyncio.sleep(0)  # a long text takes milliseconds, and there may be hundreds
        rows.append(as_row(document, dialect_name=name, prompts=kept.get(id_, "")))
    await session.execute(_put_statement(name), rows)
    texts = (row[field] for row in rows for field in _ROOM)
    _note_terms(session, {word for text in texts for word in str(text).split(" ") if is_term(word)})


async def remove(session: AsyncSession, asset_ids: Sequence[int]) -> None:
    """Have assets not be found any more."""
    await session.execute(delete(SearchDocument).where(SearchDocument.asset_id.in_(asset_ids)))


def owner_scope(owner_id: int) -> str:
    """The word that stands for what is an owner's; the first character is in no word of a text."""
    return f"{GAP}o{owner_id}"


def project_scope(project_id: int) -> str:
    return f"{GAP}p{project_id}"


@lru_cache(maxsize=2)
def _put_statement(dialect_name: str) -> Insert:
    """Made once for each engine: building a statement costs more than running it."""
    adding = insert_on(dialect_name, SearchDocument)
    changed = {name: adding.excluded[name] for name in (*_ROOM, "scope", "vector")}
    return adding.on_conflict_do_update(index_elements=[SearchDocument.asset_id], set_=changed)


async def _prompts(session: AsyncSession, asset_ids: Sequence[int]) -> dict[int, str]:
    if not asset_ids:
        return {}
    known = select(SearchDocument.asset_id, SearchDocument.prompts)
    rows = await session.execute(known.where(SearchDocument.asset_id.in_(asset_ids)))
    return {row.asset_id: row.prompts for row in rows}


def as_row(document: Document, *, dialect_name: str, prompts: str = "") -> dict[str, str | int | None]:
    """An asset's row of `search_documents`; `prompts` are the words that it has, where the document leaves them."""
    separated: list[str] = []
    for tag in document.tags:
        separated += [*words(tag), GAP]
    found = {
        "name": words(document.name),
        "tags": separated[:-1],
        "description": words(document.description),
        "prompts": prompts.split(" ") if document.prompts is None else words(document.prompts),
    }
    counted = _counted(found)
    scope = [owner_scope(document.owner_id)]
    if document.project_id is not None:
        scope.append(project_scope(document.project_id))
    return {
        "asset_id": document.asset_id,
        **{field: " ".join(each) for field, each in counted.items()},
        "scope": " ".join(scope),
        "vector": None if dialect_name == "sqlite" else _vector(counted, scope),
    }


def _counted(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """The words that count: gaps stand for those that PostgreSQL would drop."""
    seen: Counter[str] = Counter()

    def first_ones(each: list[str]) -> Iterator[str]:
        for word in each:
            seen[word] += 1
            yield word if seen[word] <= _MOST_PLACES else GAP

    return {field: list(first_ones(found[field][:most])) for field, (most, _) in _ROOM.items()}


def _vector(counted: dict[str, list[str]], scope: list[str]) -> str:
    """A tsvector as PostgreSQL reads it. Words are letters, digits and symbols: nothing in them has to be escaped."""
    places: dict[str, list[str]] = {}
    for field, (_, first) in _ROOM.items():
        for at, word in enumerate(counted[field], first):
            if word not in {GAP, ""}:
                places.setdefault(word, []).append(f"{at}{WEIGHTS[field]}")
    return " ".join([f"'{word}':{','.join(each)}" for word, each in places.items()] + scope)


def _note_terms(session: AsyncSession, words: set[str]) -> None:
    """Have the vocabulary hold these words when the transaction ends.

    Others that bring the same new words wait for one another: adding them last, but for the counters, and all in one
    order, none of them has anything that another waits for.
    """
    noted: set[str] = session.info.setdefault(_NOTED, set())
    noted |= words
    do_last(session, _add_terms, order=0)


async def _add_terms(session: AsyncSession) -> None:
    """Add those words to the vocabulary that it has not.

    There is no count of where a word occurs: under one, all who upload a "jpg" would wait for one another.
    """
    wanted = sorted(session.info.pop(_NOTED, ()))
    for start in range(0, len(wanted), _CHUNK):
        chunk = wanted[start : start + _CHUNK]
        known = set(await session.scalars(_KNOWN_WORDS, {"words": chunk}))
        rows: list[dict[str, str | int]] = [
            {"word": word, "gram_count": len(grams_of(word))} for word in chunk if word not in known
        ]
        if rows:
            await _add(session, rows)
            await asyncio.sleep(0)  # there may be thousands


async def _add(session: AsyncSession, rows: list[dict[str, str | int]]) -> None:
    adding = insert_into(session, Term).values(rows)
    adding = adding.on_conflict_do_nothing(index_elements=[Term.word])
    added = (await session.execute(adding.returning(Term.id, Term.word))).all()
    grams = [{"gram": gram, "term_id": row.id} for row in added for gram in sorted(grams_of(row.word))]
    if grams:
        await session.execute(insert(TermGram), grams)
