"""Words that are nearly the same: candidates share runs of three letters, then the edits between them are counted."""

import asyncio
import json
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy import JSON, Float, Select, Text, bindparam, cast, delete, func, select, text

from mediakeep.db import Database, HotQuery
from mediakeep.db.hot import Value
from mediakeep.index.models import Term, TermGram

#: Words that may be misspelt: shorter ones are all near to one another, longer ones and numbers are nobody's to type.
LENGTHS: Final = range(3, 25)

#: Those that share most with a word are looked at more closely. They are everybody's: not so few that somebody's many words
#: that are nearly the same hide another's.
_CANDIDATES: Final = 500

#: A mark before and after a word, so that its first and last letters count more.
_EDGE: Final = "\ue000"

_CHUNK: Final = 200


def is_term(word: str) -> bool:
    """Whether the vocabulary has such words. Those with digits are names of files, of which there is no end."""
    return len(word) in LENGTHS and word.isalpha()


def grams_of(word: str) -> set[str]:
    """Three letters in a row each, of the word between its edges."""
    between = f"{_EDGE}{word}{_EDGE}"
    return {between[at : at + 3] for at in range(len(between) - 2)}


async def near_words(database: Database, word: str) -> list[tuple[int, str]]:
    """The words of the vocabulary that are a slip or two away from this one, nearest first; not itself.

    With each comes how many slips. The vocabulary is everybody's: `held_words` tells which of them say anything.
    """
    if not is_term(word):
        return []
    most = 1 if len(word) < 6 else 2
    grams = sorted(grams_of(word))
    values: dict[str, Value] = {f"gram_{at}": gram for at, gram in enumerate(grams)}
    values |= {"given_count": len(grams), "shortest": len(word) - most, "longest": len(word) + most}
    rows = await database.fetch(_candidates(len(grams)), values)
    return await asyncio.to_thread(_nearest, word, [candidate for (candidate,) in rows], most)


async def held_words(database: Database, words: Iterable[str], scope: str) -> set[str]:
    """Those of the vocabulary's words that anything within a scope (`service.owner_scope`) holds; anywhere, without one."""
    within = f' AND "{scope}"' if database.is_sqlite else f" & '{scope}'"
    given = {"words": json.dumps(list(words)), "within": within if scope else ""}
    return {word for (word,) in await database.fetch(_held(database.dialect_name), given)}


def _nearest(word: str, candidates: Iterable[str], most: int) -> list[tuple[int, str]]:
    distances = {candidate: edits(word, candidate, most) for candidate in candidates if candidate != word}
    return sorted((distance, candidate) for candidate, distance in distances.items() if distance <= most)


def edits(one: str, other: str, most: int) -> int:
    """How many letters are wrong, missing, too many, or swapped with the next one; `most` + 1 where there are more."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, 1):
        earlier, before, row = before, row, [most + 1] * (len(other) + 1)
        row[0] = i
        for j in range(max(1, i - most), min(len(other), i + most) + 1):  # beyond, there are more anyway
            another = other[j - 1]
            cost = min(row[j - 1] + 1, before[j] + 1, before[j - 1] + (letter != another))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == another:
                cost = min(cost, earlier[j - 2] + 1)
            row[j] = cost
        if min(row) > most:
            return most + 1
    return min(row[-1], most + 1)


async def clear_terms(database: Database) -> int:
    """Delete the words that no text holds any more, a few at a time; returns how many those were."""
    cleared, after = 0, 0
    while True:
        async with database.read() as session:
            chunk = select(Term.id).where(Term.id > after).order_by(Term.id).limit(_CHUNK)
            ids = list(await session.scalars(chunk))
            unused = list((await session.scalars(_unused(database.dialect_name, ids))).all())
        if unused:
            async with database.write() as session:  # which looks once more
                removed = delete(Term).where(Term.id.in_(_unused(database.dialect_name, unused)))
                options = {"synchronize_session": False}
                cleared += len(
                    (await session.scalars(removed.returning(Term.id), execution_options=options)).all()
                )
        if len(ids) < _CHUNK:
            return cleared
        after = ids[-1]


def _unused(dialect_name: str, term_ids: Sequence[int]) -> Select[int]:
    """Those of the words that are in no document."""
    if dialect_name == "sqlite":
        holds = text("SELECT 1 FROM search_fts WHERE search_fts MATCH '\"' || terms.word || '\"'")
    else:
        holds = text("SELECT 1 FROM search_documents WHERE vector @@ quote_literal(terms.word)::tsquery")
    return select(Term.id).where(Term.id.in_(term_ids), text(f"NOT EXISTS ({holds})"))


@lru_cache(maxsize=32)
def _candidates(count: int) -> HotQuery:
    """Candidates by the share of their runs that they have in common with so many given ones (Dice's coefficient)."""
    grams = [bindparam(f"gram_{at}", type_=TermGram.gram.type) for at in range(count)]
    given_count = bindparam("given_count", type_=Term.gram_count.type)
    share = cast(func.count(), Float) / (Term.gram_count + given_count)
    shortest, longest = (bindparam(name, type_=Term.gram_count.type) for name in ("shortest", "longest"))
    statement = select(Term.word).join(TermGram, TermGram.term_id == Term.id).where(TermGram.gram.in_(grams))
    statement = statement.where(func.length(Term.word).between(shortest, longest))
    statement = statement.group_by(Term.id, Term.word, Term.gram_count)
    return HotQuery(statement.order_by(share.desc(), Term.word).limit(_CANDIDATES), is_scan=True)


@lru_cache(maxsize=2)
def _held(dialect_name: str) -> HotQuery:
    """Words have letters only, so that nothing in them has to be escaped."""
    words = bindparam("words", type_=Text())
    if dialect_name == "sqlite":
        given = func.json_each(words).table_valued("value", name="given")
        holds = "SELECT 1 FROM search_fts WHERE search_fts MATCH '\"' || given.value || '\"' || :within"
    else:
        given = func.json_array_elements_text(cast(words, JSON)).table_valued("value", name="given")
        holds = (
            "SELECT 1 FROM search_documents "
            "WHERE vector @@ CAST(quote_literal(given.value) || :within AS tsquery)"
        )
    is_held = text(f"EXISTS ({holds})").bindparams(bindparam("within", type_=Text()))
    return HotQuery(select(given.c.value).where(is_held), is_scan=True)
