"""One interface over a local folder and S3: where journals, checkpoints and caches live.

What a store promises is in `base.ObjectStore`; here are the door to it and what works on any.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from zppo_core.errors import UserError
from zppo_core.protocols import Progress
from zppo_core.store.base import (
    PARALLEL,
    DamagedObjectError,
    Entry,
    MissingObjectError,
    ObjectStore,
    check_key,
    hash_file,
    join,
)
from zppo_core.store.local import LocalStore
from zppo_core.store.s3 import S3Store

__all__ = [
    "DamagedObjectError",
    "Entry",
    "LocalStore",
    "MissingObjectError",
    "ObjectStore",
    "S3Store",
    "check_key",
    "get_tree",
    "hash_file",
    "in_parallel",
    "join",
    "open_store",
    "put_tree",
]

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "METAFLOW_S3_ENDPOINT_URL")
A = TypeVar("A")
B = TypeVar("B")


def open_store(url: str) -> ObjectStore:
    """The store at a folder or s3://bucket/prefix; UserError for anything else.

    S3's endpoint is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or METAFLOW_S3_ENDPOINT_URL, else
    Amazon's.
    """
    if not url.startswith("s3://"):
        if "://" in url or not url:
            raise UserError(f"store {url!r}: give a folder or s3://bucket/prefix")
        return LocalStore(url)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    endpoint = next((os.environ[n] for n in ENDPOINTS if os.environ.get(n)), None)
    return S3Store(bucket, prefix, endpoint)


def put_tree(
    folder: str | Path,
    store: ObjectStore,
    prefix: str,
    progress: Progress | None = None,
    move: bool = False,
) -> list[str]:
    """Put every file below `folder` below `prefix`, several at once; the keys, sorted.

    `move` may use the files up: they are then renamed, not copied, where the store can.
    """
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    keys = [join(prefix, p.relative_to(folder).as_posix()) for p in files]
    in_parallel(
        lambda pair: store.put_file(*pair, move=move), list(zip(keys, files, strict=True)), progress
    )
    return keys


def get_tree(
    store: ObjectStore, prefix: str, folder: str | Path, progress: Progress | None = None
) -> list[Path]:
    """Copy every object below `prefix` to files below `folder`; their paths, sorted."""
    base = prefix.strip("/") + "/" if prefix.strip("/") else ""
    keys = store.list(base)
    if not keys:
        raise MissingObjectError(prefix)
    paths = [Path(folder) / check_key(k.removeprefix(base)) for k in keys]
    in_parallel(lambda pair: store.get_file(*pair), list(zip(keys, paths, strict=True)), progress)
    return paths


def in_parallel(
    work: Callable[[A], B], items: Iterable[A], progress: Progress | None = None
) -> list[B]:
    """`work` on every item, several at once; results in order. The first error stops the rest."""
    items, results = list(items), []
    with ThreadPoolExecutor(PARALLEL) as threads:
        try:
            for done, result in enumerate(threads.map(work, items), 1):
                results.append(result)
                if progress is not None:
                    progress(done, len(items))
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
    return results
