"""A library's rows, as many as wanted, put into a migrated database by the quickest way that each engine has.

The rows tell of files that are nowhere: this is for what is asked of the database alone. Words, tags and the sizes of
projects follow Zipf's law, as they do in libraries that people fill; the same seed always gives the same rows.
"""

import io
import json
import random
import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import Any, Generic, TypeVar

import asyncpg

from mediakeep.assets.text import fold
from mediakeep.index.service import Document, as_row
from mediakeep.index.vocabulary import grams_of, is_term

PROJECTS = 200
CLIENTS = 50
PERSONAS = 40
TAGS = 2000

_BATCH = 10_000

_ESCAPED = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
_SEED = 8

#: The newest asset is of now, and each is a minute older than the one after it.
_BETWEEN = timedelta(minutes=1)

T = TypeVar("T")

_MODELS = (
    "flux-dev",
    "flux-schnell",
    "sdxl",
    "stable-diffusion-3.5",
    "imagen-4",
    "minimax/video-01",
    "ideogram-v3",
)

_ADJECTIVES = """
    ancient angry autumn azure bitter bright broken burning calm carved cold copper crimson crystal curious damp dark
    distant dusty electric elegant emerald empty endless enchanted fading fierce floating foggy forgotten fragile frozen
    gentle ghostly giant gilded glowing golden gothic graceful hidden hollow holy icy iron ivory jagged jade lonely lost
    lunar marble mechanical misty molten mossy mystic narrow neon noble obsidian old painted pale proud quiet ragged rainy
    restless royal ruined rusty sacred sapphire scarlet secret serene shadowy shattered silent silver sleeping small solar
    stormy sunken sunny tall tiny twisted velvet verdant vivid wandering weathered wicked wild winter wooden young
"""

_NOUNS = """
    dragon castle warrior knight portrait forest mountain river village temple wizard witch sword shield tower bridge harbor
    ship island desert ruins cavern goblin elf dwarf orc troll giant phoenix griffin unicorn wolf raven bear tiger lion
    serpent spider golem robot android cyborg pilot spaceship station planet moon nebula city street market alley rooftop
    garden fountain statue throne crown ring amulet potion scroll book map compass lantern candle mirror mask cloak armor
    helmet boots dagger bow staff axe hammer anvil forge mine wagon horse carriage merchant thief assassin archer priest
    monk queen king prince princess captain sailor pirate soldier hunter farmer baker smith child dancer singer painter
    landscape seascape skyline sunrise sunset storm snowfall waterfall meadow field orchard valley canyon volcano glacier
    character concept poster banner logo icon texture background sprite tile avatar thumbnail cover wallpaper
"""

_SYLLABLES = """
    ka ra do mi el an tor ven shi lo ur ga bel dris fen gor hal ith jor kel lan mor nar oth per quin ros syl tha
    ul vor wyn xan yr zel bra cro dra fro gri kra pra stra thra var zhen lia mira nora sora tula vera
"""


@dataclass(frozen=True)
class Row:
    """A row of a table, by the order of its columns in `_COLUMNS`."""

    table: str
    values: tuple[Any, ...]


_COLUMNS = {
    "clients": ("id", "public_id", "owner_id", "name", "created_at", "updated_at"),
    "personas": ("id", "owner_id", "name", "description", "created_at", "updated_at"),
    "projects": ("id", "public_id", "owner_id", "name", "description", "created_at", "updated_at"),
    "tags": ("id", "owner_id", "name", "folded"),
    "files": (
        *("id", "public_id", "sha256", "key", "format", "media_type", "size", "width", "height"),
        *("duration_seconds", "facts", "phash", "created_at"),
    ),
    "assets": (
        *(
            "id",
            "public_id",
            "owner_id",
            "file_id",
            "own_file_id",
            "generation_count",
            "type",
            "name",
            "file_name",
        ),
        *(
            "description",
            "folded",
            "tags",
            "metadata",
            "visibility",
            "size",
            "client_id",
            "persona_id",
            "project_id",
        ),
        *("created_at", "updated_at"),
    ),
    "asset_tags": ("tag_id", "asset_id"),
    "generations": (
        *(
            "id",
            "public_id",
            "asset_id",
            "file_id",
            "status",
            "is_favorite",
            "parameters",
            "metadata",
            "model",
        ),
        *("created_at", "updated_at"),
    ),
    "search_documents": ("asset_id", "name", "description", "tags", "prompts", "scope", "vector"),
    "terms": ("id", "word", "gram_count"),
    "term_grams": ("gram", "term_id"),
}


@dataclass(frozen=True, kw_only=True)
class Said:
    """What there is to ask for: the ids that clients know, most assets first, and words, most common first."""

    size: int
    #: When half of the assets had been made, ISO 8601.
    middle: str
    projects: list[str]
    clients: list[str]
    personas: list[int]
    tags: list[str]
    words: list[str]
    names: list[str]


class Catalogue:
    """Rows for one owner, `size` assets. Iterate over `rows` once; `said` is complete then."""

    def __init__(self, size: int, *, owner_id: int, dialect_name: str) -> None:
        self._size = size
        self._owner_id = owner_id
        self._dialect_name = dialect_name
        self._random = random.Random(_SEED)
        self._now = datetime.now(UTC)
        self._terms: set[str] = set()
        heroes = self._invented(20_000)
        words = [*_NOUNS.split(), *_ADJECTIVES.split(), *heroes[-5_000:]]
        self._words = _Zipf(words, self._random, exponent=0.6)
        self._heroes = _Zipf(heroes, self._random)
        self._tags = _Zipf(self._tag_names(), self._random)
        self._projects = _Zipf(range(1, PROJECTS + 1), self._random, exponent=0.8)
        self._project_ids = [self._uuid() for _ in range(PROJECTS)]
        self._client_ids = [self._uuid() for _ in range(CLIENTS)]
        self.said = Said(
            size=size,
            middle=f"{self._now - size // 2 * _BETWEEN:%Y-%m-%dT%H:%M:%SZ}",
            projects=self._project_ids,
            clients=self._client_ids,
            personas=list(range(1, PERSONAS + 1)),
            tags=self._tags.items,
            words=self._words.items,
            names=self._heroes.items,
        )

    def rows(self) -> Iterator[Row]:
        at = self._time(self._size)
        for number, public_id in enumerate(self._client_ids, 1):
            yield Row("clients", (number, public_id, self._owner_id, f"Client {number}", at, at))
        for number in range(1, PERSONAS + 1):
            name = self._heroes.items[number].title()
            yield Row("personas", (number, self._owner_id, name, "", at, at))
        for number, public_id in enumerate(self._project_ids, 1):
            name = f"{self._words.pick()} {self._words.pick()}".title()
            yield Row("projects", (number, public_id, self._owner_id, name, "", at, at))
        for number, name in enumerate(self._tags.items, 1):
            yield Row("tags", (number, self._owner_id, name, fold(name)))
        tag_ids = {name: number for number, name in enumerate(self._tags.items, 1)}
        for number in range(1, self._size + 1):
            yield from self._asset(number, tag_ids)
        for number, word in enumerate(sorted(self._terms), 1):
            grams = grams_of(word)
            yield Row("terms", (number, word, len(grams)))
            yield from (Row("term_grams", (gram, number)) for gram in grams)

    def _asset(self, number: int, tag_ids: dict[str, int]) -> Iterator[Row]:
        chance = self._random.random
        at = self._time(self._size - number)
        kind, media_type, extension = (
            ("image", "image/png", "png") if chance() < 0.9 else ("video", "video/mp4", "mp4")
        )
        size = int(self._random.lognormvariate(12, 1))
        described = f"{self._words.pick()} {self._words.pick()}"
        hero = self._heroes.pick()
        name = f"{hero.title()} the {described} v{self._random.randrange(1, 9)}.{extension}"
        description = " ".join(self._words.pick() for _ in range(self._random.randrange(4, 14)))
        tags = list(dict.fromkeys(self._tags.pick() for _ in range(self._random.randrange(8))))
        is_media = chance() < 0.1  # of a persona; otherwise a project's
        project_id = None if is_media else self._projects.pick()
        persona_id = self._random.randrange(1, PERSONAS + 1) if is_media else None
        client_id = self._random.randrange(1, CLIENTS + 1) if chance() < 0.3 else None
        is_generated = kind == "image" and not is_media and chance() < 0.5
        facts = {
            "color_space": "srgb",
            "dominant_color": "#3f5a6b",
            "thumbhash": "3hcOfZyBiobAaIeHh6iGd4Sv94eM",
        }
        yield Row(
            "files",
            (
                *(
                    number,
                    self._uuid(),
                    f"{self._random.getrandbits(256):064x}",
                    f"files/{number:012x}",
                    extension,
                ),
                *(media_type, size, 1216, 832, None if kind == "image" else 6.0, json.dumps(facts)),
                *(self._random.getrandbits(64) - 2**63, at),
            ),
        )
        yield Row(
            "assets",
            (
                *(
                    number,
                    self._uuid(),
                    self._owner_id,
                    number,
                    None if is_generated else number,
                    int(is_generated),
                ),
                *(
                    kind,
                    name,
                    name,
                    description,
                    fold(f"{name}\n{description}"),
                    json.dumps(tags),
                    "{}",
                    "public",
                ),
                *(size, client_id, persona_id, project_id, at, at),
            ),
        )
        prompt = f"{described}, {self._words.pick()}, highly detailed" if is_generated else ""
        if is_generated:
            parameters = json.dumps({"prompt": prompt, "seed": number, "steps": 28})
            status = "completed"
            yield Row(
                "generations",
                (
                    *(number, self._uuid(), number, number, status, 0, parameters, "{}"),
                    *(_MODELS[number % len(_MODELS)], at, at),
                ),
            )
        yield from (Row("asset_tags", (tag_ids[tag], number)) for tag in tags)
        document = as_row(
            Document(
                asset_id=number,
                owner_id=self._owner_id,
                project_id=project_id if kind == "image" else None,
                name=name,
                description=description,
                tags=tags,
                prompts=prompt,
            ),
            dialect_name=self._dialect_name,
        )
        for field in ("name", "description", "tags", "prompts"):
            self._terms.update(word for word in str(document[field]).split(" ") if is_term(word))
        yield Row("search_documents", tuple(document[column] for column in _COLUMNS["search_documents"]))

    def _uuid(self) -> str:
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def _time(self, minutes: int) -> str:
        return f"{self._now - minutes * _BETWEEN:%Y-%m-%d %H:%M:%S.%f}"

    def _invented(self, number: int) -> list[str]:
        """Names that nobody has, all different."""
        syllables = _SYLLABLES.split()
        found: dict[str, None] = {}
        while len(found) < number:
            found["".join(self._random.choices(syllables, k=self._random.randrange(2, 5)))] = None
        return list(found)

    def _tag_names(self) -> list[str]:
        nouns, adjectives = _NOUNS.split(), _ADJECTIVES.split()
        pairs = {
            f"{self._random.choice(adjectives)} {self._random.choice(nouns)}": None for _ in range(4 * TAGS)
        }
        return [*nouns, *pairs][:TAGS]


class _Zipf(Generic[T]):
    """Picks items, the n-th with a chance of 1 : n^exponent."""

    def __init__(self, items: Iterable[T], source: random.Random, *, exponent: float = 1.0) -> None:
        self.items = list(items)
        self._source = source
        self._weights = list(accumulate(1 / rank**exponent for rank in range(1, len(self.items) + 1)))
        self._picked: list[T] = []

    def pick(self) -> T:
        if not self._picked:
            self._picked = self._source.choices(self.items, cum_weights=self._weights, k=4096)
        return self._picked.pop()


def fill_sqlite(path: Path, rows: Iterable[Row]) -> None:
    """Put the rows into a migrated database that nothing has open."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("synchronous = OFF", "cache_size = -2000000", "temp_store = MEMORY"):
            connection.execute(f"PRAGMA {pragma}")
        made_again = connection.execute(
            "SELECT type, name, sql FROM sqlite_master WHERE sql IS NOT NULL"
            " AND (type = 'index' AND sql NOT LIKE '%UNIQUE%' OR type = 'trigger')"
        ).fetchall()
        connection.execute("BEGIN")
        for kind, name, _ in made_again:
            connection.execute(f"DROP {kind} {name}")
        for table, values in _batches(rows):
            columns = _COLUMNS[table]
            marks = ", ".join("?" * len(columns))
            connection.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
        connection.execute("INSERT INTO search_fts (search_fts) VALUES ('rebuild')")
        for _, _, sql in made_again:
            connection.execute(sql)
        connection.execute("COMMIT")


async def fill_postgresql(url: str, rows: Iterable[Row]) -> None:
    """As `fill_sqlite`, by a superuser."""
    connection = await asyncpg.connect(url)
    try:
        made_again = await connection.fetch(
            "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND indexdef NOT LIKE '% UNIQUE %'"
        )
        await connection.execute("SET session_replication_role = replica; SET maintenance_work_mem = '1GB'")
        for index in made_again:
            await connection.execute(f"DROP INDEX {index['indexname']}")
        for table, values in _batches(rows):
            lines = "".join("\t".join(map(_as_copied, one)) + "\n" for one in values)
            source = io.BytesIO(lines.encode())
            await connection.copy_to_table(table, source=source, columns=_COLUMNS[table], format="text")
        for index in made_again:
            await connection.execute(index["indexdef"])
        for table, columns in _COLUMNS.items():
            if "id" in columns:
                last = f"SELECT setval(pg_get_serial_sequence('{table}', 'id'), max(id)) FROM {table}"
                await connection.execute(last)
        await connection.execute(
            "VACUUM (ANALYZE)"
        )  # as autovacuum will have done by the time that there are so many
    finally:
        await connection.close()


def _as_copied(value: Any) -> str:
    """As COPY reads it (https://www.postgresql.org/docs/current/sql-copy.html, "Text Format")."""
    return "\\N" if value is None else str(value).translate(_ESCAPED)


def _batches(rows: Iterable[Row]) -> Iterator[tuple[str, Sequence[tuple[Any, ...]]]]:
    """Rows of one table each, some thousands at a time, those of the other tables a little later."""
    waiting: dict[str, list[tuple[Any, ...]]] = {table: [] for table in _COLUMNS}
    for row in rows:
        batch = waiting[row.table]
        batch.append(row.values)
        if len(batch) == _BATCH:
            yield row.table, batch
            waiting[row.table] = []
    yield from ((table, batch) for table, batch in waiting.items() if batch)
