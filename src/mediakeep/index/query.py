"""What people type to find something, and the same as each engine wants to be asked.

Words all have to occur. "Quoted words" have to follow one another in one field, in one tag. A word with * at its end
stands for all that begin with it, from three letters on; shorter ones match whole words only. Everything else between
words, operators of the engines among it, is punctuation and means nothing.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, FromClause, Text, bindparam, cast, column, func, literal_column, table
from sqlalchemy.dialects.postgresql import ARRAY, REAL, TSQUERY

from mediakeep.db.base import table_of
from mediakeep.index.models import SearchDocument
from mediakeep.index.service import WEIGHTS
from mediakeep.index.words import words

Field = Literal["name", "tags", "description", "prompts"]

#: All that can be searched in.
FIELDS: Final[tuple[Field, ...]] = ("name", "tags", "description", "prompts")

#: More terms and words than these do not narrow a search any further.
MAX_TERMS: Final = 16
MAX_WORDS: Final = 32

#: Characters of a query that are looked at.
_MAX_LENGTH: Final = 2000

_SHORTEST_PREFIX: Final = 3

#: A phrase, whose last quote may be missing, or whatever stands between spaces.
_PIECE = re.compile(r'"([^"]*)"?(\*?)|([^\s"]+)')

_WEIGHTS_SQLITE: Final = {"name": 10.0, "description": 2.0, "tags": 4.0, "prompts": 1.0}
_WEIGHTS_POSTGRESQL: Final = {"prompts": 0.1, "description": 0.2, "tags": 0.4, "name": 1.0}


@dataclass(frozen=True, kw_only=True)
class Term:
    """Words that follow one another; the last one may be the beginning of a longer one.

    `near` are words of which one may stand in the place of a term of one word.
    """

    words: tuple[str, ...]
    is_prefix: bool = False
    near: tuple[str, ...] = ()

    def matches(self, found: Sequence[str], at: int) -> bool:
        """Whether the words of a text, from `at` on, are these."""
        here = found[at : at + len(self.words)]
        if len(here) < len(self.words) or tuple(here[:-1]) != self.words[:-1]:
            return False
        last = here[-1]
        return (
            last == self.words[-1]
            or (self.is_prefix and last.startswith(self.words[-1]))
            or last in self.near
        )


def parse(text: str, *, as_prefixes: bool = False) -> list[Term]:
    """The terms of a query, each once; none where it holds no word. `as_prefixes` reads words as if a * followed."""
    terms: dict[Term, None] = {}
    count = 0
    for piece in _PIECE.finditer(text[:_MAX_LENGTH]):
        phrase, star, bare = piece.groups()
        found = words(phrase if bare is None else bare)[: MAX_WORDS - count]
        if not found:
            continue
        is_open = bare.endswith("*") or as_prefixes if bare is not None else star == "*"
        term = Term(words=tuple(found), is_prefix=is_open and len(found[-1]) >= _SHORTEST_PREFIX)
        if term not in terms:
            terms[term] = None
            count += len(found)
        if len(terms) == MAX_TERMS or count >= MAX_WORDS:
            break
    return list(terms)


@dataclass(frozen=True, kw_only=True)
class Spelt:
    """A query as one of the engines reads it, by the parameters of `Matching`."""

    matching: str
    ranked: str
    weights: str


def spell(
    dialect_name: str, terms: Sequence[Term], *, fields: Sequence[Field] = FIELDS, scope: str = ""
) -> Spelt:
    """All of the terms, in any of these fields, within a scope (`service.owner_scope`) if one is given."""
    is_narrowed = set(fields) != set(FIELDS)
    if dialect_name == "sqlite":
        matching = " AND ".join(map(_fts5, terms))
        if is_narrowed:
            matching = f"{{{' '.join(fields)}}} : ({matching})"
        return Spelt(matching=f'({matching}) AND "{scope}"' if scope else matching, ranked="", weights="")
    weights = "".join(WEIGHTS[field] for field in fields) if is_narrowed else ""
    matching = " & ".join(_tsquery(term, weights) for term in terms)
    # Ranked as if any of the words were enough: otherwise PostgreSQL ranks by how close together they stand.
    alone = [replace(term, words=(word,)) for term in terms for word in term.words[:-1]]
    last = [replace(term, words=term.words[-1:]) for term in terms]
    given_weights = [str(weight if field in fields else 0) for field, weight in _WEIGHTS_POSTGRESQL.items()]
    return Spelt(
        matching=f"({matching}) & '{scope}'" if scope else matching,
        ranked=" | ".join(_tsquery(term, weights) for term in [*map(_whole, alone), *last]),
        weights=f"{{{','.join(given_weights)}}}",
    )


@dataclass(frozen=True, kw_only=True)
class Matching:
    """The index in a SELECT: the documents that the parameter `matching` asks for, and how well each fits it.

    `rank` is larger for what fits better. Its scale is each engine's own; the other parameters are for it alone.
    """

    source: FromClause
    asset_id: ColumnElement[int]
    #: The same for a join, in which the index has to come first.
    joined_id: ColumnElement[int]
    condition: ColumnElement[bool]
    #: What a document is ranked by, and its rank by that.
    ranked_by: ColumnElement[Any]
    rank_of: Callable[[ColumnElement[Any]], ColumnElement[float]]

    @property
    def rank(self) -> ColumnElement[float]:
        return self.rank_of(self.ranked_by)


def matching(dialect_name: str) -> Matching:
    if dialect_name == "sqlite":
        index = table("search_fts", column("rowid", SearchDocument.asset_id.type))
        whole: ColumnElement[str] = literal_column("search_fts")
        weights = (*_WEIGHTS_SQLITE.values(), 0.0)  # nothing for the scope
        rank = -func.bm25(whole, *(literal_column(str(weight)) for weight in weights))
        condition = whole.op("MATCH", is_comparison=True)(bindparam("matching", type_=Text()))
        alone = literal_column("+search_fts.rowid", SearchDocument.asset_id.type)  # not a way into the index
        return Matching(
            source=index,
            asset_id=index.c.rowid,
            joined_id=alone,
            condition=condition,
            ranked_by=whole,
            rank_of=lambda _: rank,
        )

    def query(name: str) -> ColumnElement[str]:
        return cast(bindparam(name, type_=Text()), TSQUERY)

    weights_given = cast(bindparam("weights", type_=Text()), ARRAY(REAL))
    divided_by_length: ColumnElement[int] = literal_column("1")
    documents = table_of(SearchDocument)
    vector = documents.c.vector
    return Matching(
        source=documents,
        asset_id=documents.c.asset_id,
        joined_id=documents.c.asset_id,
        condition=vector.op("@@", is_comparison=True)(query("matching")),
        ranked_by=vector,
        rank_of=lambda given: func.ts_rank(weights_given, given, query("ranked"), divided_by_length),
    )


def _whole(term: Term) -> Term:
    return replace(term, is_prefix=False, near=())


def _fts5(term: Term) -> str:
    """A string of FTS5 may hold anything but a quote, and words hold none (https://sqlite.org/fts5.html#fts5_strings)."""
    own = f'"{" ".join(term.words)}"{" *" if term.is_prefix else ""}'
    near = [f'"{word}"' for word in term.near]
    return f"({' OR '.join([own, *near])})" if near else own


def _tsquery(term: Term, weights: str) -> str:
    """Words are letters, digits and symbols: between single quotes none of them means anything to PostgreSQL."""
    *before, last = (f"'{word}'" for word in term.words)
    marks = [f":{weights}" if weights else ""] * len(before) + [
        f":{'*' * term.is_prefix}{weights}".rstrip(":")
    ]
    own = " <-> ".join(f"{word}{mark}" for word, mark in zip([*before, last], marks, strict=True))
    near = [f"'{word}'" + (f":{weights}" if weights else "") for word in term.near]
    return f"({' | '.join([own, *near])})"
