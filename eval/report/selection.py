"""Which runs a table or figure is of: one configuration at each scale, and what is left out.

Runs are averaged over seeds within a configuration (a `variant`) alone. Which one is shown does not
hide the others: the note of a table or figure names them, and `--run` shows any of them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import duckdb

from eval.report.published import AVERAGE, PAPER_SCALES, reference
from eval.report.rows import Score, Setting, records, typed
from eval.report.summary import find_run
from zppo_core.errors import UserError

LISTED = 8  # run keys that a note names; the rest is counted


class Results:
    """What the database holds of one variant of the configuration at each scale.

    By default the one with most runs of `methods` (those that a table shows; none: of any), the
    paper's recipe before others; of several the one that was there first, so that a new run changes
    no table that it does not belong to. `variant` takes another; `runs` (keys or their beginnings)
    takes these runs and no others.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        variant: str = "",
        runs: Sequence[str] = (),
        methods: Sequence[str] = (),
    ) -> None:
        self.connection, self.variant, self.runs = connection, variant, tuple(runs)
        self.methods = tuple(methods)
        rows = typed(
            Setting,
            records(
                connection,
                "SELECT run_key, scale, method, variant, recipe FROM run_settings "
                "ORDER BY created_at, run_key",
            ),
        )
        if runs:
            named = {find_run(connection, run)["run_key"] for run in runs}
            rows = [r for r in rows if r["run_key"] in named]
        if variant:
            there = _by_variant(rows) or "none"
            rows = [r for r in rows if r["variant"] == variant]
            if not rows:
                raise UserError(f"no run of variant {variant!r}; there are: {there}")
        self.rows = rows
        self.variants: dict[str, str] = {}  # scale -> the one that is shown
        for scale in dict.fromkeys(r["scale"] for r in rows):
            self.variants[scale] = self._ranked(scale)[0]

    def _ranked(self, scale: str) -> list[str]:
        """The variants at `scale`, what is shown by default first; UserError for mixed `runs`."""
        rows = [r for r in self.rows if r["scale"] == scale]
        names = list(dict.fromkeys(r["variant"] for r in rows))
        if self.runs and len(names) > 1:
            raise UserError(
                f"the named runs at scale {scale} differ in their settings ({_by_variant(rows)}); "
                "name runs of one variant, or zppo compare RUN_A RUN_B"
            )

        def weight(name: str) -> tuple[bool, bool, int]:
            of_variant = [r for r in rows if r["variant"] == name]
            shown = sum(r["method"] in self.methods for r in of_variant)
            return shown > 0, of_variant[0]["recipe"], shown or len(of_variant)

        return sorted(names, key=weight, reverse=True)  # of equals the first stays first

    @property
    def keys(self) -> list[str]:
        """The runs that are shown."""
        return [r["run_key"] for r in self.rows if self.variants.get(r["scale"]) == r["variant"]]

    def of_methods(self, methods: Sequence[str]) -> Results:
        """The same database, the choice made for a table or figure that shows `methods`."""
        return Results(self.connection, self.variant, self.runs, methods)

    def alternatives(self, scale: str) -> Iterator[Results]:
        """The same with each variant at `scale` in turn, what is shown by default first."""
        for name in self._ranked(scale):
            other = Results(self.connection, self.variant, self.runs, self.methods)
            other.variants[scale] = name
            yield other

    def notes(self, scales: Sequence[str]) -> list[str]:
        """What was left out of `scales`, by variant and run key."""
        texts = []
        for scale in scales:
            out = [
                r for r in self.rows if r["scale"] == scale and r["variant"] != self.variants[scale]
            ]
            if out:
                texts.append(
                    f"{scale}: {len(out)} runs of other variants left out (--run KEY, or "
                    f"--variant ID): {_by_variant(out)}"
                )
        return texts

    def select(self, columns: str, view: str, rest: str = "") -> list[dict[str, object]]:
        """Rows of a view that has a run key, of the chosen runs alone."""
        return records(
            self.connection,
            f"SELECT {columns} FROM {view} WHERE list_contains(?, run_key) {rest}",
            [self.keys],
        )

    def at(self, scale: str, columns: str, view: str, rest: str = "") -> list[dict[str, object]]:
        """`select` at one scale, with the columns of run_settings."""
        name = scale.replace("'", "''")
        joined = f"{view} JOIN run_settings USING (run_key)"
        return self.select(columns, joined, f"AND run_settings.scale = '{name}' {rest}")

    @functools.cached_property
    def scores(self) -> dict[tuple[str, str, str, str], Score]:
        """(scale, family, method, benchmark) -> score, sd, runs, complete."""
        rows = self.select(
            "scale, family, method, benchmark, avg(score) AS score, stddev_samp(score) AS sd, "
            "count(score) AS runs, bool_and(complete) AS complete",
            "method_scores",
            "GROUP BY ALL",
        )
        scores = typed(Score, rows)
        return {(r["scale"], r["family"], r["method"], r["benchmark"]): r for r in scores}

    def value(self, place: tuple[str, str, str, str]) -> float | None:
        """The score [percent] at (scale, family, method, benchmark), None if there is none."""
        row = self.scores.get(place)
        return None if row is None else row["score"]

    def benchmarks(self, scale: str, family: str) -> list[str]:
        """Those of the paper for its scales, else what was evaluated; the average last."""
        if scale in PAPER_SCALES:
            rows = [r for r in reference("results") if r["family"] == family]
            return list(dict.fromkeys(r["benchmark"] for r in rows if r["benchmark"] != AVERAGE))
        names = {b for s, f, _, b in self.scores if (s, f) == (scale, family)}
        return sorted(names - {AVERAGE})

    def score(self, scale: str, family: str, method: str, benchmark: str) -> str | None:
        """A score [percent] as text: with its deviation over runs, with * if it is incomplete."""
        row = self.scores.get((scale, family, method, benchmark))
        if row is None or row["score"] is None:
            return None
        # base and teacher are one model in all runs
        several = row["runs"] > 1 and method not in ("base", "teacher")
        spread = f" ± {row['sd']:.1f}" if several else ""
        return f"{row['score']:.1f}{spread}{'' if row['complete'] else '*'}"


def _by_variant(rows: Sequence[Setting]) -> str:
    """Run keys, each variant's together: "1a2b3c4d: key, key; ..."."""
    shown = rows[:LISTED]
    parts = [
        f"{name}: " + ", ".join(r["run_key"] for r in shown if r["variant"] == name)
        for name in dict.fromkeys(r["variant"] for r in shown)
    ]
    rest = len(rows) - len(shown)
    return "; ".join(parts) + (f"; and {rest} more" if rest else "")
