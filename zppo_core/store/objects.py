"""One interface over a local folder and S3: where journals, checkpoints and caches live.

A put is atomic: a reader sees the whole object or none. Keys are safe by construction: no absolute
paths, no way out of the store.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol, TypeVar

from zppo_core.engines.base import Progress
from zppo_core.errors import UserError

ATTEMPTS = 6  # of one S3 request, with exponential backoff from 0.2 s
PARALLEL = 16  # transfers at once
PART = 16 << 20  # bytes; larger objects go to S3 in parts
_SAFE = re.compile(r"[^\x00-\x1f\\]+")
T = TypeVar("T")


class MissingObjectError(KeyError):
    """No object under this key."""


class DamagedObjectError(RuntimeError):
    """An object whose content is not what was put; the text names the key."""


class ObjectStore(Protocol):
    """Bytes under slash-separated keys."""

    url: str

    def put(self, key: str, data: bytes) -> None: ...
    def put_new(self, key: str, data: bytes) -> bool:
        """Put only if there is nothing under `key`; whether it was put."""
        ...

    def get(self, key: str) -> bytes: ...
    def exists(self, key: str) -> bool: ...
    def list(self, prefix: str = "") -> list[str]: ...
    def delete(self, key: str) -> None: ...


def check_key(key: str) -> str:
    """`key` if it is safe; ValueError if it is empty, absolute, or could leave the store."""
    parts = key.split("/")
    if not _SAFE.fullmatch(key) or any(p in ("", ".", "..") for p in parts):
        raise ValueError(f"unsafe key {key!r}")
    return key


def join(*parts: str) -> str:
    """Parts of a key with single slashes, empty ones left out."""
    return "/".join(p.strip("/") for p in parts if p.strip("/"))


class LocalStore:
    """Objects as files below `root`; written aside, flushed to disk, renamed."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.url = str(root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextlib.contextmanager
    def _written(self, key: str, data: bytes) -> Iterator[tuple[str, Path]]:
        path = self._path(key)
        name = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            yield name, path
        except OSError as error:
            raise UserError(
                f"cannot write {key} to the store {self.url} ({error.strerror}); free space or "
                "make it writable, then `resume`: what was committed is kept"
            ) from error
        finally:
            if name is not None:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name)

    def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, replacing what was there; UserError if it cannot be."""
        with self._written(key, data) as (name, path):
            os.replace(name, path)

    def put_new(self, key: str, data: bytes) -> bool:
        """Put only if there is nothing under `key`; whether it was put."""
        with self._written(key, data) as (name, path):
            try:
                os.link(name, path)  # fails if the path exists, even in a race
            except FileExistsError:
                return False
            return True

    def get(self, key: str) -> bytes:
        """The object's bytes; MissingObjectError if there is none."""
        try:
            return self._path(key).read_bytes()
        except (FileNotFoundError, IsADirectoryError, NotADirectoryError):
            raise MissingObjectError(key) from None

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def list(self, prefix: str = "") -> list[str]:
        """Keys that begin with `prefix`, sorted."""
        # only the folder that the prefix names has to be walked
        folder = self.root / prefix.rpartition("/")[0]
        found = []
        for directory, _, files in os.walk(folder):
            base = Path(directory).relative_to(self.root).as_posix()
            found += [
                name if base == "." else f"{base}/{name}"
                for name in files
                if not name.startswith(".writing-")
            ]
        return sorted(k for k in found if k.startswith(prefix))

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        with contextlib.suppress(FileNotFoundError):
            self._path(key).unlink()


class S3Store:
    """Objects in an S3 bucket below a prefix; content checksums travel as metadata."""

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        import boto3
        from botocore.config import Config

        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.url = f"s3://{join(bucket, self.prefix)}"
        self._client: Any = boto3.client(
            "s3", endpoint_url=endpoint_url,
            config=Config(
                retries={"total_max_attempts": 1},  # ours, which also cover cut bodies
                max_pool_connections=PARALLEL, connect_timeout=10, read_timeout=60,
            ),
        )  # fmt: skip

    def _key(self, key: str) -> str:
        return join(self.prefix, check_key(key))

    def _retry(self, what: str, call: Callable[[], T]) -> T:
        """`call` with exponential backoff and jitter; UserError when it still fails."""
        from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

        for attempt in range(ATTEMPTS):
            try:
                return call()
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                if status in (404, 412):
                    raise
                last: Exception = error
                if status < 500 and status != 429:
                    break
            except (BotoCoreError, HTTPClientError, OSError, DamagedObjectError) as error:
                last = error
            time.sleep(0.2 * 2**attempt * random.uniform(0.5, 1.0))
        if isinstance(last, DamagedObjectError):
            raise last
        raise UserError(
            f"cannot {what} in the store {self.url} ({str(last).splitlines()[0]}); check the "
            "credentials, the bucket and the endpoint, then `resume`: what was committed is kept"
        ) from last

    def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, in parts if it is large; UserError if it cannot be."""
        self._put(key, data)

    def _put(self, key: str, data: bytes, **conditions: str) -> None:
        digest = {"sha256": hashlib.sha256(data).hexdigest()}
        place = {"Bucket": self.bucket, "Key": self._key(key)}
        if len(data) <= PART or conditions:
            self._retry(
                f"write {key}",
                lambda: self._client.put_object(Body=data, Metadata=digest, **place, **conditions),
            )
            return
        begun = self._retry(
            f"write {key}", lambda: self._client.create_multipart_upload(Metadata=digest, **place)
        )
        upload = {**place, "UploadId": begun["UploadId"]}

        def part(number: int) -> dict[str, Any]:
            body = data[(number - 1) * PART : number * PART]
            done = self._retry(
                f"write {key}",
                lambda: self._client.upload_part(Body=body, PartNumber=number, **upload),
            )
            return {"PartNumber": number, "ETag": done["ETag"]}

        try:
            with ThreadPoolExecutor(PARALLEL) as threads:
                parts = list(threads.map(part, range(1, -(-len(data) // PART) + 1)))
            self._retry(
                f"write {key}",
                lambda: self._client.complete_multipart_upload(
                    MultipartUpload={"Parts": parts}, **upload
                ),
            )
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.abort_multipart_upload(**upload)
            raise

    def put_new(self, key: str, data: bytes) -> bool:
        """Put only if there is nothing under `key`; whether it was put."""
        from botocore.exceptions import ClientError

        try:
            self._put(key, data, IfNoneMatch="*")
        except ClientError:  # 412: another writer was first
            return False
        return True

    def get(self, key: str) -> bytes:
        """The object's bytes, checked by their checksum; MissingObjectError if there is none."""
        from botocore.exceptions import ClientError

        def read() -> bytes:
            answer = self._client.get_object(Bucket=self.bucket, Key=self._key(key))
            data: bytes = answer["Body"].read()
            expected = answer["Metadata"].get("sha256")
            if expected and hashlib.sha256(data).hexdigest() != expected:
                raise DamagedObjectError(f"{self.url}/{key} is not what was put there")
            return data

        try:
            return self._retry(f"read {key}", read)
        except ClientError:
            raise MissingObjectError(key) from None

    def exists(self, key: str) -> bool:
        from botocore.exceptions import ClientError

        place = {"Bucket": self.bucket, "Key": self._key(key)}
        try:
            self._retry(f"look for {key}", lambda: self._client.head_object(**place))
        except ClientError:
            return False
        return True

    def list(self, prefix: str = "") -> list[str]:
        """Keys that begin with `prefix`, sorted."""
        own = f"{self.prefix}/" if self.prefix else ""

        def pages() -> list[str]:
            paginator = self._client.get_paginator("list_objects_v2")
            return [
                entry["Key"].removeprefix(own)
                for page in paginator.paginate(Bucket=self.bucket, Prefix=own + prefix)
                for entry in page.get("Contents", ())
            ]

        return sorted(self._retry(f"list {prefix or 'all'}", pages))

    def delete(self, key: str) -> None:
        """Remove the object; nothing happens if there is none."""
        place = {"Bucket": self.bucket, "Key": self._key(key)}
        self._retry(f"delete {key}", lambda: self._client.delete_object(**place))


def open_store(url: str) -> ObjectStore:
    """The store at a folder or s3://bucket/prefix.

    S3's endpoint is AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL or METAFLOW_S3_ENDPOINT_URL, else
    Amazon's.
    """
    if not url.startswith("s3://"):
        if "://" in url:
            raise UserError(f"store {url}: give a folder or s3://bucket/prefix")
        return LocalStore(url)
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    names = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "METAFLOW_S3_ENDPOINT_URL")
    endpoint = next((os.environ[n] for n in names if os.environ.get(n)), None)
    return S3Store(bucket, prefix, endpoint)


def put_content(store: ObjectStore, data: bytes, prefix: str = "content") -> str:
    """Put `data` under its own SHA-256 and return the key; twice is once."""
    digest = hashlib.sha256(data).hexdigest()
    key = join(prefix, digest[:2], digest)
    store.put_new(key, data)
    return key


def put_tree(folder: str | Path, store: ObjectStore, prefix: str,
             progress: Progress | None = None) -> list[str]:  # fmt: skip
    """Copy every file below `folder` to `prefix`, several at once; the keys, sorted."""
    folder = Path(folder)
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    keys = [join(prefix, p.relative_to(folder).as_posix()) for p in files]
    _transfer(lambda pair: store.put(pair[1], pair[0].read_bytes()),
              list(zip(files, keys, strict=True)), progress)  # fmt: skip
    return keys


def get_tree(store: ObjectStore, prefix: str, folder: str | Path,
             progress: Progress | None = None) -> list[Path]:  # fmt: skip
    """Copy every object below `prefix` to files below `folder`; their paths, sorted."""
    base = prefix.strip("/") + "/"
    keys = store.list(base)
    if not keys:
        raise MissingObjectError(prefix)
    paths = [Path(folder) / check_key(k.removeprefix(base)) for k in keys]

    def copy(pair: tuple[str, Path]) -> None:
        pair[1].parent.mkdir(parents=True, exist_ok=True)
        pair[1].write_bytes(store.get(pair[0]))

    _transfer(copy, list(zip(keys, paths, strict=True)), progress)
    return paths


def _transfer(copy: Callable[[Any], None], items: list[Any], progress: Progress | None) -> None:
    with ThreadPoolExecutor(PARALLEL) as threads:
        for done, _ in enumerate(threads.map(copy, items), 1):
            if progress is not None:
                progress(done, len(items))
