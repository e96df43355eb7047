"""Builds ZPPO-77K from its two public sources: one pass, little memory, resumable (appendix B.1).

Candidates wait in an SQLite file beside the result: a row enters it if it passes every filter and
stands early enough in its sub-dataset's seeded order; the latest leaves when there are more than
the cap and a reserve. Near-duplicates are then dropped, and the reserve fills their places. What
Vero has comes first, whatever its tier, so that Vero wins between the sources.
"""

from __future__ import annotations

import heapq
import json
import os
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from zppo_core.data.lengths import count_within
from zppo_core.data.pixels import too_long
from zppo_core.data.zppo77k.parts import Part, parts_of
from zppo_core.data.zppo77k.rows import Row, answer_kind, name_of, open_image, read_row
from zppo_core.data.zppo77k.schema import CORPUS, REJECTS, Card
from zppo_core.data.zppo77k.similar import (
    ImageHash,
    Seen,
    Signature,
    image_hash,
    plain_gold,
    trigrams,
)
from zppo_core.data.zppo77k.sources import (
    LICENCES,
    SOURCES,
    Names,
    Recipe,
    Source,
    UnknownNameError,
    check_configs,
    differences,
    unknown_names,
)
from zppo_core.errors import UserError
from zppo_core.protocols import Progress

VERSION = 2  # of the builder: what an older one made is not what this one makes
TOLD = ("kind", "options", "accepted", "tolerance", "reward_type", "form")  # of an answer
COMMIT = 2000  # rows between commits: what a kill can lose
SHARD = 1000  # questions of a result file
GROUP = 32  # questions read and written at once
# (question text, (width, height)) -> tokens of the whole prompt, images and closer included
CountTokens = Callable[[str, tuple[int, int]], int]


class Builder:
    """A build in `folder`; opened again, it goes on after the last commit.

    UserError if another recipe, or other sources, began it.
    """

    def __init__(
        self,
        folder: str | Path,
        recipe: Recipe,
        count_tokens: CountTokens,
        places: Mapping[Source, str] | None = None,
    ) -> None:
        self.folder, self.recipe, self.count_tokens = Path(folder), recipe, count_tokens
        self.names = Names(recipe.more)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.db = sqlite3.connect(self.folder / "build.sqlite")
        self.db.executescript(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536;"
            "CREATE TABLE IF NOT EXISTS recipe (text TEXT);"
            "CREATE TABLE IF NOT EXISTS progress (part TEXT PRIMARY KEY, rows INT, done INT);"
            "CREATE TABLE IF NOT EXISTS rejects (source TEXT, sub_dataset TEXT, id TEXT, "
            "reason TEXT);"
            "CREATE TABLE IF NOT EXISTS counted (what TEXT PRIMARY KEY, rows INT);"
            "CREATE TABLE IF NOT EXISTS candidates (canonical TEXT, priority TEXT, key TEXT, "
            "source TEXT, sub_dataset TEXT, question TEXT, answer TEXT, image BLOB, "
            "pass_rate REAL, width INT, height INT, tokens INT, hash TEXT, grey BLOB, judged INT, "
            "told TEXT, "
            "PRIMARY KEY (canonical, priority, key)) WITHOUT ROWID;"
        )
        self._begin(
            {
                "version": VERSION,
                **recipe.settings(),
                **{f"data.{s}": p for s, p in (places or {}).items()},
            }
        )
        # the latest first: a heap of negated priorities for each sub-dataset
        self.heaps: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for name, priority, key in self.db.execute(
            "SELECT canonical, priority, key FROM candidates"
        ):
            heapq.heappush(self.heaps[name], (-int(priority), key))

    def _begin(self, now: Mapping[str, object]) -> None:
        before = self.db.execute("SELECT text FROM recipe").fetchone()
        if before is None:
            self.db.execute("INSERT INTO recipe VALUES (?)", [json.dumps(now)])
            self.db.commit()
            return
        try:
            recorded = json.loads(before[0])
        except ValueError:  # before recipes were JSON
            recorded = before[0]
        built, requested = differences(recorded, now)
        if built or requested:
            raise UserError(
                f"{self.folder} holds a build by another recipe, {built}, but the run has "
                f"{requested}; "
                "set those, delete it, or choose another data.corpus"
            )

    def take(self, part: Part, progress: Progress | None = None) -> None:
        """Read a part's rows from where it was left; does nothing if it is done."""
        name = f"{part.source}:{part.name}"
        row = self.db.execute("SELECT rows, done FROM progress WHERE part = ?", [name]).fetchone()
        start, done = row or (0, 0)
        if done:
            return
        number, rows = start, iter(part.rows(start))
        for raw in rows:
            place = f"{part.name}#{number}"
            try:
                self._offer(read_row(part.source, raw, place, part.config, self.names))
            except UnknownNameError as error:
                self.db.rollback()  # to the last commit: no row before this one is lost or twice
                names = [error.args[0], *(name_of(part.source, r, part.config) for r in rows)]
                raise unknown_names(part.source, self.names.unknown(part.source, names)) from None
            number += 1
            if number % COMMIT == 0:
                self._commit(name, number, False)
                if progress is not None:
                    progress(number, 0)
        self._commit(name, number, True)

    def _commit(self, part: str, rows: int, done: bool) -> None:
        self.db.execute("INSERT OR REPLACE INTO progress VALUES (?, ?, ?)", [part, rows, done])
        self.db.commit()

    def _reject(self, source: str, sub_dataset: str, key: str, reason: str) -> None:
        self.db.execute(
            "INSERT INTO rejects VALUES (?, ?, ?, ?)", [source, sub_dataset, key, reason]
        )

    def _most(self, name: str) -> int:
        return int(self.names.by_name[name].cap * self.recipe.reserve)

    def _offer(self, row: Row) -> None:
        reject = (row.source, row.sub_dataset, row.key)
        for what in row.counted:
            self.db.execute(
                "INSERT INTO counted VALUES (?, 1) ON CONFLICT DO UPDATE SET rows = rows + 1",
                [what],
            )
        if row.fault:
            self._reject(*reject, row.fault)
            return
        heap, most = self.heaps[row.canonical], self._most(row.canonical)
        priority = row.priority(self.recipe.seed)
        # what stands too late needs no look at its image
        if len(heap) >= most and (-priority, row.key) <= heap[0]:
            self._reject(*reject, "over the cap")
            return
        size, fault = open_image(row.image)
        tokens = 0
        if not fault:
            size = self.recipe.bounds.size(size)
            if too_long(size):
                fault = "image 200 times as long as wide"
        if not fault:
            tokens = self._tokens(row.text, size)
            if tokens > self.recipe.max_tokens:
                fault = f"prompt longer than {self.recipe.max_tokens} tokens"
        if fault:
            self._reject(*reject, fault)
            return
        hashed = image_hash(row.image)
        inserted = self.db.execute(
            "INSERT OR IGNORE INTO candidates VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
            [
                row.canonical,
                f"{priority:020d}",
                row.key,
                row.source,
                row.sub_dataset,
                row.question,
                row.answer,
                row.image,
                row.pass_rate,
                *size,
                tokens,
                str(hashed.bits),
                hashed.grey,
                row.judged,
                json.dumps({name: getattr(row, name) for name in TOLD}),
            ],
        )
        if not inserted.rowcount:
            self._reject(*reject, "id seen before")
            return
        heapq.heappush(heap, (-priority, row.key))
        if len(heap) > most:
            negated, key = heapq.heappop(heap)
            self._drop(row.canonical, -negated, key, "over the cap")

    def _tokens(self, text: str, size: tuple[int, int]) -> int:
        """Tokens of a prompt; of a very long text, those of a part that is too long already."""

        def count(part: str) -> int:
            return self.count_tokens(part, size)

        return count_within(text, self.recipe.max_tokens, count)

    def _drop(self, name: str, priority: int, key: str, reason: str) -> None:
        source, sub_dataset, _ = key.split("/", 2)
        self.db.execute(
            "DELETE FROM candidates WHERE canonical = ? AND priority = ? AND key = ?",
            [name, f"{priority:020d}", key],
        )
        self._reject(source, sub_dataset, key, reason)

    def finish(self, evaluation: Iterable[Signature] = ()) -> Card:
        """Drop near-duplicates and what overlaps `evaluation`, cut to the caps, write the corpus.

        Both are counted whether or not the recipe drops them. Signatures in `evaluation` have no
        gold answer: a question is an overlap whatever its answer.
        `corpus/*.parquet`, `rejects.parquet`, and `manifest.json` last.
        """
        seen, tested = Seen(), Seen(evaluation)
        self.db.execute("DELETE FROM rejects WHERE reason LIKE 'final: %'")  # of a finish that died
        card = Card(compared=len(tested))
        chosen: list[tuple[str, str, str]] = []
        for sub in self.names.subs:
            taken = 0
            rows = self.db.execute(
                "SELECT priority, key, source, sub_dataset, question, answer, hash, grey "
                "FROM candidates "
                "WHERE canonical = ? ORDER BY priority, key",
                [sub.name],
            ).fetchall()
            for priority, key, source, sub_dataset, question, answer, bits, grey in rows:
                hashed = ImageHash(int(bits), grey)
                signature = Signature(hashed, trigrams(question), plain_gold(answer))
                reason = (
                    self._late(signature, seen, tested, card) if taken < sub.cap else "over the cap"
                )
                if reason:
                    self._reject(source, sub_dataset, key, f"final: {reason}")
                    continue
                seen.add(signature)
                chosen.append((sub.name, priority, key))
                taken += 1
            card.by_name[sub.name] = taken
        self._find_short(card)
        if not chosen:
            raise UserError(f"no row passed the filters; see the reasons in {self.folder}")
        self.db.commit()
        self._write(sorted(chosen, key=lambda c: c[2]))
        self._write_rejects()
        card.kept = len(chosen)
        counted = "SELECT replace(reason, 'final: ', ''), count(*) FROM rejects GROUP BY 1"
        card.rejects.update(dict(self.db.execute(counted).fetchall()))
        card.rows = self.db.execute("SELECT coalesce(sum(rows), 0) FROM progress").fetchone()[0]
        card.counted = dict(self.db.execute("SELECT what, rows FROM counted ORDER BY what"))
        content = {
            "recipe": self.recipe.settings(),
            "questions": card.kept,
            "rows": card.rows,
            "by_name": dict(card.by_name),
            "rejects": dict(sorted(card.rejects.items())),
            "duplicates": card.duplicates,
            "overlaps": card.overlaps,
            "compared": card.compared,
            "short": card.short_text(),
            "version": VERSION,
            "counted": card.counted,
        }
        manifest = self.folder / "manifest.json.writing"
        manifest.write_text(json.dumps(content, indent=1) + "\n")
        manifest.replace(self.folder / "manifest.json")
        return card

    def _late(self, signature: Signature, seen: Seen, tested: Seen, card: Card) -> str:
        """Why a candidate is left out at last, or nothing; counts what it is like."""
        if signature in seen:
            card.duplicates += 1
            if self.recipe.drop_duplicates:
                return "nearly the same as another question"
        if replace(signature, gold="") in tested:
            card.overlaps += 1
            if self.recipe.drop_overlap:
                return "overlaps the evaluation"
        return ""

    def _find_short(self, card: Card) -> None:
        """Names that a larger reserve would have filled."""
        query = "SELECT DISTINCT source, sub_dataset FROM rejects WHERE reason = 'over the cap'"
        over = {self.names.canonical(s, name) for s, name in self.db.execute(query)}
        for sub in self.names.subs:
            if sub.name in over and card.by_name[sub.name] < sub.cap:
                card.short[sub.name] = (card.by_name[sub.name], sub.cap)

    def _write(self, chosen: list[tuple[str, str, str]]) -> None:
        out = self.folder / "corpus"
        out.mkdir(exist_ok=True)
        for old in out.glob("*.parquet"):
            old.unlink()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            for number, first in enumerate(range(0, len(chosen), SHARD)):
                file = out / f"part-{number:05d}.parquet"
                with pq.ParquetWriter(file, CORPUS, compression="zstd") as writer:
                    for start in range(first, min(first + SHARD, len(chosen)), GROUP):
                        places = chosen[start : min(start + GROUP, first + SHARD)]
                        rows = list(pool.map(self._scaled, map(self._row, places)))
                        writer.write_table(pa.Table.from_pylist(rows, schema=CORPUS))

    def _row(self, place: tuple[str, str, str]) -> tuple[dict[str, object], bytes]:
        """A chosen question as a row of the corpus, and its picture as the source has it."""
        names = (
            "id",
            "question",
            "answer",
            "image",
            "source",
            "sub_dataset",
            "pass_rate",
            "width",
            "height",
            "tokens",
            "judged",
            "told",
        )
        cells = self.db.execute(
            f"SELECT key, {', '.join(names[1:])} FROM candidates WHERE canonical = ? "
            "AND priority = ? AND key = ?",
            place,
        ).fetchone()
        row = dict(zip(names, cells, strict=True))
        image: bytes = row["image"]
        facts: dict[str, object] = json.loads(row.pop("told"))
        origin = {
            "canonical": place[0],
            "tier": self.names.by_name[place[0]].tier,
            "licence": LICENCES[row["source"]],
            "answer_kind": answer_kind(row["answer"]),
            "judged": bool(row["judged"]),
        }
        return row | facts | origin, image

    def _scaled(self, chosen: tuple[dict[str, object], bytes]) -> dict[str, object]:
        row, image = chosen
        return row | {"image": self.recipe.bounds.scaled(image, small=True)}

    def _write_rejects(self) -> None:
        cursor = self.db.execute(
            "SELECT source, sub_dataset, id, replace(reason, 'final: ', '') FROM rejects"
        )
        with pq.ParquetWriter(self.folder / "rejects.parquet", REJECTS, compression="zstd") as out:
            while rows := cursor.fetchmany(50_000):
                columns = [pa.array(c) for c in zip(*rows, strict=True)]
                out.write_table(pa.table(columns, schema=REJECTS))


def build(
    places: Mapping[Source, str],
    folder: str | Path,
    recipe: Recipe,
    count_tokens: CountTokens,
    evaluation: Iterable[Signature] = (),
    progress: Progress | None = None,
) -> Card:
    """The corpus from both sources into `folder`; Vero first. Goes on with what lies there.

    UserError names all Vero configs that nobody knows before a row is read.
    """
    builder = Builder(folder, recipe, count_tokens, places)
    try:
        parts = {source: list(parts_of(source, places[source])) for source in SOURCES}
        check_configs(builder.names, [part.config for part in parts["vero"]], places["vero"])
        for source in SOURCES:
            for part in parts[source]:
                builder.take(part, progress)
        return builder.finish(evaluation)
    finally:
        builder.db.close()  # what was not committed is read again
