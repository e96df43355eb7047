"""The commands over the store: care of the teacher cache, and export of a trained student.

    zppo cache stats --store runs/teacher_cache     # size, hit rate, tokens saved
    zppo cache verify --store s3://bucket/cache     # read everything, name what is damaged
    zppo cache prune --store runs/teacher_cache     # delete what is damaged, or old, or all
    zppo export --checkpoint runs/<key> --to models/student

A fault is one line on the standard error and exit code 2; `verify` ends with 1 if it found damage.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TextIO

from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.protocols import Progress
from zppo_core.run.export import export
from zppo_core.store import cache_tools as cache_care
from zppo_core.store.objects import DamagedObjectError, LocalStore, ObjectStore, open_store

DEFAULT_CACHE = "runs/teacher_cache"
DAY = 86_400.0  # seconds


@reported
def cache_main(arguments: Sequence[str] | None = None) -> int:
    """`zppo cache`; 0, 1 if it found damage, or 2 with a line for each fault."""
    parser = command(
        "cache", "Look after a teacher cache.", f"zppo cache stats --store {DEFAULT_CACHE}"
    )
    actions = parser.add_subparsers(required=True, metavar="action")
    for name, does, text in (
        ("stats", stats, "size, hit rate, tokens saved"),
        ("verify", verify, "read every object and name the damaged ones"),
        ("prune", prune, "delete damaged objects, or old ones, or all"),
    ):
        example = f"example: zppo cache {name} --store {DEFAULT_CACHE}"
        action = actions.add_parser(name, help=text, description=text, epilog=example)
        action.add_argument(
            "--store",
            default=DEFAULT_CACHE,
            metavar="URL",
            help="folder or s3://bucket/prefix (default: %(default)s)",
        )
        action.add_argument("--json", action="store_true", help="print one JSON object")
        action.set_defaults(act=does)
        if name == "prune":
            what = action.add_mutually_exclusive_group()
            what.add_argument(
                "--older-than",
                type=float,
                metavar="DAYS",
                help="also what was made so many days ago",
            )
            what.add_argument("--everything", action="store_true", help="the whole cache")
    options = parser.parse_args(arguments)
    act: Callable[[argparse.Namespace], int] = options.act
    return warned(lambda: act(options))


@reported
def export_main(arguments: Sequence[str] | None = None) -> int:
    """`zppo export`; 0, or 2 with a line for each fault."""
    parser = command(
        "export",
        "Copy a run's student to a path or to S3.",
        "zppo export --checkpoint runs/KEY --to models/student",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="URL",
        help="runs/<key>, s3://bucket/prefix/<key>, or one checkpoint's folder",
    )
    parser.add_argument(
        "--to", required=True, metavar="URL", help="a new folder or s3://bucket/prefix"
    )
    parser.add_argument(
        "--step", type=int, help="the checkpoint after this step (default: the last)"
    )
    parser.add_argument(
        "--whole", action="store_true", help="optimizer, buffer and counters as well"
    )
    options = parser.parse_args(arguments)
    return warned(lambda: push(options))


def warned(act: Callable[[], int]) -> int:
    """What `act` gives, its warnings a line each, and damage in a store as a fault."""
    with warnings.catch_warnings():
        warnings.showwarning = _one_line
        try:
            return act()
        except DamagedObjectError as error:
            raise UserError(str(error)) from None


def stats(options: argparse.Namespace) -> int:
    """Print what the cache holds and what it saved."""
    store = opened(options.store)
    report, used = cache_care.verify(store, progress=bar("reading")), cache_care.usage(store)
    if options.json:
        out = {
            **dataclasses.asdict(report),
            **{f"used_{k}": v for k, v in dataclasses.asdict(used).items()},
            "hit_rate": used.hit_rate,
        }
        print(json.dumps(out))
        return 0
    print(f"{options.store}: {report.objects:,} objects, {report.bytes / 1e6:,.1f} MB")
    print(f"  {report.draws:,} teacher draws, {report.tokens:,} tokens")
    print(f"  {report.memos:,} memos, {report.evaluations:,} evaluations")
    print(
        f"  {used.sessions:,} tasks asked for {used.hits + used.misses:,} draws: "
        f"{used.hit_rate:.1%} were there"
    )
    print(f"  {used.tokens:,} tokens generated, {used.saved:,} saved")
    if report.damaged:
        print(f"  {len(report.damaged):,} objects are damaged: zppo cache prune")
    return 0


def verify(options: argparse.Namespace) -> int:
    """Read everything; 1 if something is damaged."""
    report = cache_care.verify(opened(options.store), progress=bar("reading"))
    if options.json:
        print(json.dumps({"objects": report.objects, "damaged": report.damaged}))
    else:
        for key in report.damaged:
            print(f"damaged: {key}")
        print(f"{report.objects:,} objects read, {len(report.damaged):,} damaged")
    return 1 if report.damaged else 0


def prune(options: argparse.Namespace) -> int:
    """Delete, and print how much went."""
    age = None if options.older_than is None else options.older_than * DAY
    gone = cache_care.prune(opened(options.store), everything=options.everything, older_than=age)
    print(json.dumps({"deleted": gone}) if options.json else f"{gone:,} objects deleted")
    return 0


def push(options: argparse.Namespace) -> int:
    """Copy a student out, and print where it lies."""
    done = export(options.checkpoint, options.to, options.step, options.whole, bar("copying"))
    print(f"step {done.step}: {done.files} files in {done.to}")
    return 0


def opened(url: str) -> ObjectStore:
    """The cache at `url`; UserError if it is a folder that does not exist."""
    store = open_store(url)
    if isinstance(store, LocalStore) and not Path(store.root).is_dir():
        raise UserError(f"no folder {url}; give the cache with --store")
    return store


def bar(what: str) -> Progress:
    """A progress bar on the standard error, if that is a terminal."""
    from tqdm import tqdm

    line = tqdm(desc=what, disable=None, leave=False, delay=1.0)

    def report(done: int, total: int) -> None:
        line.total = total
        line.update(done - line.n)
        if done == total:
            line.close()

    return report


def _one_line(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"zppo: {message}", file=sys.stderr)
