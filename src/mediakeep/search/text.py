"""Full-text search: assets by the words of their names, tags, descriptions and prompts, best first."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, Select, bindparam, cast, func, literal_column, or_, select

from mediakeep.accounts.actor import Actor
from mediakeep.assets.models import Asset, OwnerCounter
from mediakeep.assets.queries import Filters, conditions, is_tagged, none_is_gone, parameters, tag_of
from mediakeep.assets.text import fold
from mediakeep.collections.models import Project
from mediakeep.db import Database, HotQuery
from mediakeep.db.hot import Value
from mediakeep.index import query as index
from mediakeep.index.query import FIELDS, Field, Term
from mediakeep.index.service import owner_scope, project_scope
from mediakeep.index.vocabulary import held_words, near_words
from mediakeep.index.words import tokens

#: So many matches are ranked, the newest ones: what is common in a large library would otherwise take too long.
RANKED: Final = 5000

#: Totals are counted up to here, which then means "more than 10,000".
MOST_COUNTED: Final = 10_001

#: Places of a field that are told.
_MOST_RANGES: Final = 100

#: So much may looking for a page's places cost, in characters of English; another one costs as much as eight. Beyond it
#: those in descriptions are not told.
_MOST_LOOKED_AT: Final = 1_000_000
_COST_OF_OTHERS: Final = 8

#: From this share of a library on, what is an owner's is quicker found among everybody's than by its mark.
_LARGE_SHARE: Final = 0.25


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What to look for, where, and which part of what is found.

    `text` is what somebody typed, in the language of `index.query`. `filters` narrow as in lists (its `q` does not
    count). `project_id` is the row id of a project that the caller has found to be readable by the actor, whosever it
    is; `in_projects` leaves out what belongs to no project. `tags`: all of them, or with `any_tag` one.
    """

    text: str
    fields: tuple[Field, ...] = FIELDS
    #: Whether words of the library's that are a slip or two away do as well.
    fuzzy: bool = False
    filters: Filters = field(default_factory=Filters)
    project_id: int | None = None
    in_projects: bool = False
    tags: tuple[str, ...] = ()
    any_tag: bool = False
    #: Whether it has generations, where only those with, or without, are wanted.
    has_generations: bool | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Match:
    """A place where something was found: characters (code points) `start` to `end` of the field as its owner wrote it.

    `index` says which of the tags, counted from 0; None in other fields.
    """

    field: Field
    start: int
    end: int
    index: int | None = None


@dataclass(frozen=True, kw_only=True)
class Hit:
    """An asset that was found. `score` is 1.0 for the best of all, more than 0 for what was ranked, else 0.

    `matches` are in the order of the fields name, tags, description; for prompts they are not told.
    """

    asset_id: int
    score: float
    matches: tuple[Match, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """A page of what was found; `total` is at most `MOST_COUNTED`."""

    hits: list[Hit]
    total: int


async def find(database: Database, actor: Actor, wanted: Wanted, *, everyones: bool = False) -> Found:
    """Assets of the actor's that hold all the words, best first, of equal ones the newest.

    The newest `RANKED` matches are ranked; older ones follow them, newest first. A query without any word finds
    nothing, and so does somebody else's collection. No text raises anything. Raises `PermissionDenied` for `everyones`
    (an admin's: whosever they are) unless an admin asks.
    """
    if everyones:
        actor.require("admin")
    terms = index.parse(wanted.text)
    given = [*(value for _, value in wanted.filters.given()), *wanted.tags]
    if not terms or not wanted.fields or any("\0" in value for value in given if isinstance(value, str)):
        return Found(hits=[], total=0)
    scope = _scope(actor, wanted, everyones=everyones)
    if wanted.fuzzy:
        terms = [await _with_near_words(database, term, scope) for term in terms]
    if scope and wanted.project_id is None and await _has_large_share(database, actor):
        scope = ""  # the queries leave out what is somebody else's
    queries = _queries(
        database.dialect_name,
        tuple(name for name, _ in wanted.filters.given()),
        is_bare=await _is_bare(database, wanted),
        tags=len(wanted.tags),
        any_tag=wanted.any_tag,
        is_in_project=wanted.project_id is not None,
        in_projects=wanted.in_projects,
        everyones=everyones,
        has_generations=wanted.has_generations,
    )
    spelt = index.spell(database.dialect_name, terms, fields=wanted.fields, scope=scope)
    values = _values(actor, wanted, spelt, everyones=everyones)
    total, scored = await _page(database, queries, values, limit=wanted.limit, offset=wanted.offset)
    texts = await _texts(database, [asset_id for asset_id, _ in scored])
    there = [(id_, score) for id_, score in scored if id_ in texts]  # it may have been deleted meanwhile
    matches = await asyncio.to_thread(_all_matches, [texts[id_] for id_, _ in there], terms, wanted.fields)
    hits = [
        Hit(asset_id=id_, score=score, matches=found)
        for (id_, score), found in zip(there, matches, strict=True)
    ]
    return Found(hits=hits, total=total)


async def _with_near_words(database: Database, term: Term, scope: str) -> Term:
    """The term with the nearest words that anything within the scope holds; phrases and beginnings stay as they are."""
    if term.is_prefix or len(term.words) > 1:
        return term
    near = await near_words(database, term.words[0])
    if not near:
        return term
    held = await held_words(database, [word for _, word in near], scope)
    nearest = min((distance for distance, word in near if word in held), default=0)
    return replace(term, near=tuple(word for distance, word in near if word in held and distance == nearest))


async def _is_bare(database: Database, wanted: Wanted) -> bool:
    """Whether all that the index has of a project (its image assets) may be shown: then no asset need be looked at."""
    narrowing = (
        *wanted.tags,
        wanted.filters.created_after,
        wanted.filters.created_before,
        wanted.has_generations,
    )
    if wanted.project_id is None or any(one is not None for one in narrowing):
        return False
    [(is_whole,)] = await database.fetch(_NONE_IS_GONE, {})
    return bool(is_whole)


_NONE_IS_GONE: Final = HotQuery(select(none_is_gone()))


async def _has_large_share(database: Database, actor: Actor) -> bool:
    [(mine, everyones)] = await database.fetch(_SHARE, {"owner_id": actor.user_id})
    return bool(mine >= _LARGE_SHARE * everyones)


_IS_LISTED = OwnerCounter.dim == literal_column("'listed'")  # as its index says
_LISTED = select(cast(func.coalesce(func.sum(OwnerCounter.n), 0), BigInteger)).where(_IS_LISTED)
_MINE = OwnerCounter.owner_id == bindparam("owner_id", type_=Asset.owner_id.type)
_SHARE = HotQuery(select(_LISTED.where(_MINE).scalar_subquery(), _LISTED.scalar_subquery()))


@dataclass(frozen=True, kw_only=True)
class _Queries:
    #: A page of the ranked ones, each with the total and the best rank.
    ranked: HotQuery
    #: A page of all of them, newest first.
    newest: HotQuery
    count: HotQuery


async def _page(
    database: Database, queries: _Queries, values: dict[str, Value], *, limit: int, offset: int
) -> tuple[int, list[tuple[int, float]]]:
    """The total, and the ids and scores of a page."""
    rows: Sequence[Sequence[Any]] = []
    if offset < RANKED:
        rows = await database.fetch(queries.ranked, {**values, "limit": limit, "offset": offset})
    total = rows[0][0] if rows else (await database.fetch(queries.count, values))[0][0] if offset else 0
    scored = [(id_, _score(rank, best)) for _, id_, rank, best in rows]
    after = max(offset, RANKED)
    if offset + limit > after and total > after:
        older = {**values, "limit": offset + limit - after, "offset": after}
        scored += [(id_, 0.0) for (id_,) in await database.fetch(queries.newest, older)]
    return total, scored


def _score(rank: float, best: float) -> float:
    return max(round(rank / best, 6), 1e-6) if best > 0 else 1.0


def _scope(actor: Actor, wanted: Wanted, *, everyones: bool) -> str:
    """The word that everything within the search's bounds is marked by; "" where there are none."""
    if wanted.project_id is not None:
        return project_scope(wanted.project_id)
    return "" if everyones else owner_scope(actor.user_id)


def _values(actor: Actor, wanted: Wanted, spelt: index.Spelt, *, everyones: bool) -> dict[str, Value]:
    values: dict[str, Value] = dict(parameters(wanted.filters))
    values |= {f"tagged_{at}": fold(tag) for at, tag in enumerate(wanted.tags)}
    values["matching"] = spelt.matching
    if spelt.ranked:
        values |= {"ranked": spelt.ranked, "weights": spelt.weights}
    if wanted.project_id is not None:
        values["project_row"] = wanted.project_id
    elif not everyones:
        values["owner_id"] = actor.user_id
    return values


@lru_cache(maxsize=256)
def _queries(
    dialect_name: str,
    names: tuple[str, ...],
    *,
    is_bare: bool,
    tags: int,
    any_tag: bool,
    is_in_project: bool,
    in_projects: bool,
    everyones: bool,
    has_generations: bool | None,
) -> _Queries:
    matching = index.matching(dialect_name)
    whosever = everyones or is_in_project
    narrowed = [matching.condition, *conditions(names, everyones=whosever)]
    owner_id: Any = Asset.owner_id if everyones else bindparam("owner_id", type_=Asset.owner_id.type)
    if is_in_project:
        project_id = bindparam("project_row", type_=Asset.id.type)
        owner_id = select(Project.owner_id).where(Project.id == project_id).scalar_subquery()
    tagged = [is_tagged(tag_of(owner_id, f"tagged_{at}")) for at in range(tags)]
    narrowed += [or_(*tagged)] if any_tag and tagged else tagged
    if in_projects:
        narrowed.append(Asset.project_id.is_not(None))
    if has_generations is not None:
        narrowed.append(Asset.generation_count > 0 if has_generations else Asset.generation_count == 0)

    def found(*columns: Any) -> Select[Any]:
        if is_bare:
            return select(*columns).select_from(matching.source).where(matching.condition)
        joined = select(*columns).select_from(matching.source).join(Asset, Asset.id == matching.joined_id)
        return joined.where(*narrowed)

    limit, offset = (bindparam(name, type_=Asset.id.type) for name in ("limit", "offset"))
    asset_id = matching.asset_id.label("id")
    counted = found(literal_column("1").label("one")).limit(MOST_COUNTED).subquery()
    count = select(func.count()).select_from(counted)
    newest = found(asset_id).order_by(matching.asset_id.desc())
    if (
        dialect_name == "sqlite"
    ):  # which has a rank only while it goes through the matches, and counts them quickly
        candidates = found(asset_id, matching.rank.label("rank")).order_by(matching.asset_id.desc())
        ranked = candidates.limit(RANKED).subquery()
        total = count.scalar_subquery()
    else:
        some = found(asset_id, matching.ranked_by.label("vector")).order_by(matching.asset_id.desc())
        some_found = some.limit(MOST_COUNTED).cte("some")
        candidates = select(some_found.c.id, matching.rank_of(some_found.c.vector).label("rank"))
        ranked = candidates.order_by(some_found.c.id.desc()).limit(RANKED).subquery()
        total = select(func.count()).select_from(some_found).scalar_subquery()
    best = func.max(ranked.c.rank).over()
    page = select(total, ranked.c.id, ranked.c.rank, best)
    page = page.order_by(ranked.c.rank.desc(), ranked.c.id.desc()).limit(limit).offset(offset)
    return _Queries(
        ranked=HotQuery(page, is_scan=True),
        newest=HotQuery(newest.limit(limit).offset(offset), is_scan=True),
        count=HotQuery(count, is_scan=True),
    )


async def _texts(database: Database, asset_ids: Sequence[int]) -> dict[int, dict[str, Any]]:
    statement = select(Asset.id, Asset.name, Asset.description, Asset.tags).where(Asset.id.in_(asset_ids))
    async with database.read() as session:
        rows = await session.execute(statement)
        return {row.id: {"name": row.name, "description": row.description, "tags": row.tags} for row in rows}


def _all_matches(
    all_texts: Sequence[dict[str, Any]], terms: Sequence[Term], fields: Sequence[Field]
) -> list[tuple[Match, ...]]:
    """The matches in each asset's texts; may take a while."""
    found: list[tuple[Match, ...]] = []
    left = _MOST_LOOKED_AT
    for texts in all_texts:
        description = texts["description"]
        if left > 0 and "description" in fields:
            left -= len(description) * (1 if description.isascii() else _COST_OF_OTHERS)
        looked_at = fields if left > 0 else [name for name in fields if name != "description"]
        found.append(tuple(_matches(texts, terms, looked_at)))
    return found


def _matches(texts: dict[str, Any], terms: Sequence[Term], fields: Sequence[Field]) -> Iterator[Match]:
    if "name" in fields:
        yield from (Match("name", *place) for place in _places(texts["name"], terms))
    if "tags" in fields:
        for at, tag in enumerate(texts["tags"]):
            yield from (Match("tags", *place, index=at) for place in _places(tag, terms))
    if "description" in fields:
        yield from (Match("description", *place) for place in _places(texts["description"], terms))


def _places(text: str, terms: Sequence[Term]) -> list[tuple[int, int]]:
    """Where terms stand in a text; places that overlap are one."""
    found = list(tokens(text))
    words = [token.word for token in found]
    first_words = {word for term in terms for word in (term.words[0], *term.near)}
    beginnings = tuple(term.words[0] for term in terms if term.is_prefix and len(term.words) == 1)
    places: list[tuple[int, int]] = []
    for at, word in enumerate(words):
        if word not in first_words and not word.startswith(beginnings):
            continue
        lengths = [len(term.words) for term in terms if term.matches(words, at)]
        if not lengths:
            continue
        start, end = found[at].start, found[at + max(lengths) - 1].end
        if places and start < places[-1][1]:
            places[-1] = (places[-1][0], max(end, places[-1][1]))
        elif len(places) == _MOST_RANGES:
            break
        else:
            places.append((start, end))
    return places
