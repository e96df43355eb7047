"""A store in an S3 bucket, at Amazon or at any other endpoint.

The SHA-256 of each object travels as its metadata. Every request is repeated with exponential
backoff and jitter when the server or the line fails, a bounded number of times.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from zppo_core.errors import UserError
from zppo_core.store.base import (
    BLOCK,
    PARALLEL,
    DamagedObjectError,
    Entry,
    Keys,
    MissingObjectError,
    check_key,
    check_prefix,
    hash_file,
    join,
)
from zppo_core.store.local import damaged
from zppo_core.store.s3_answers import AGAIN, refuses_checksums

ATTEMPTS = 8  # of one request; with the pauses below, about 20 s
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 8.0  # seconds
PART = 16 << 20  # bytes; larger files travel in parts, several at once
MAX_PARTS = 9_000  # S3 takes 10,000
T = TypeVar("T")


class RefusedError(Exception):
    """A condition of a write did not hold; `again`: after an attempt whose answer was lost."""

    def __init__(self, again: bool) -> None:
        super().__init__("precondition failed")
        self.again = again


class S3Store:
    """Objects in `bucket` below `prefix`. See `base.ObjectStore` for what each method promises."""

    def __init__(self, bucket: str, prefix: str = "", endpoint_url: str | None = None) -> None:
        if not bucket:
            raise UserError("store s3:// names no bucket; give s3://bucket/prefix")
        self.bucket, self.prefix = bucket, prefix.strip("/")
        self.url = f"s3://{join(bucket, self.prefix)}"
        self._endpoint, self._plain, self._dialect = endpoint_url, False, Lock()
        self._client = self._connected()

    def _connected(self) -> Any:
        """A client; a `_plain` one sends checksums only where S3 demands them.

        Some stores refuse the headers that carry them. SHA-256 is in the metadata all the same, and
        checked on reading.
        """
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError

        sums: dict[str, Any] = {}
        if self._plain:
            names = ("request_checksum_calculation", "response_checksum_validation")
            sums = dict.fromkeys(names, "when_required")
        try:
            return boto3.client(
                "s3",
                endpoint_url=self._endpoint,
                config=Config(
                    retries={"total_max_attempts": 1},  # ours, which also cover cut bodies
                    max_pool_connections=4 * PARALLEL,
                    connect_timeout=10,
                    read_timeout=60,
                    **sums,
                ),
            )
        except (BotoCoreError, ValueError) as error:
            raise UserError(f"store {self.url}: {error}; check endpoint and region") from error

    def probe(self) -> None:
        """Write, meet a second writer, delete: whether this store keeps what it is trusted with.

        UserError if it cannot be written to, or lets a second writer replace what exists: the lock
        of a run would then hold nobody off.
        """
        key = f"probe/{uuid.uuid4().hex}"
        first, second = (self.put_new(key, word) for word in (b"first", b"second"))
        kept = self.get(key)
        self.delete(key)
        if not first or second or kept != b"first":
            raise UserError(
                f"the store {self.url} ignores If-None-Match, so two writers would not see each "
                "other; use one with conditional writes (AWS S3, MinIO, Ceph 18 or newer, R2)"
            )

    def _without_checksums(self, asked: Any) -> bool:
        """From now on ask without checksum headers; False if the client `asked` sent none already.

        Of threads that meet the refusal at once, one says it and all ask again.
        """
        with self._dialect:
            if self._client is not asked:
                return True  # another thread has met the refusal first
            if self._plain:
                return False
            self._plain = True
            self._client = self._connected()
        print(
            f"store {self.url} refuses checksum headers and is asked without; for Metaflow's own "
            "datastore set AWS_REQUEST_CHECKSUM_CALCULATION=when_required",
            flush=True,
        )
        return True

    def _at(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": join(self.prefix, check_key(key))}

    def _retry(self, what: str, key: str, call: Callable[[], T]) -> T:
        """`call`, repeated while it may help; UserError when it still fails."""
        from botocore import exceptions as s3

        hopeless = (s3.NoCredentialsError, s3.PartialCredentialsError, s3.ParamValidationError)
        last: Exception = RuntimeError("not asked")
        for attempt in range(ATTEMPTS):
            if attempt:
                pause = min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE)
                time.sleep(pause * random.uniform(0.5, 1.0))
            client = self._client
            try:
                return call()
            except s3.ClientError as error:
                last = error
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
                code = error.response.get("Error", {}).get("Code", "")
                if status == 412:
                    raise RefusedError(attempt > 0) from error
                if status == 404 and code != "NoSuchBucket":
                    raise MissingObjectError(key) from None
                if refuses_checksums(status, code, str(error)) and self._without_checksums(client):
                    continue
                if status < 500 and status != 429 and code not in AGAIN:
                    break
            except hopeless as error:
                last = error
                break
            except (s3.FlexibleChecksumError, DamagedObjectError):
                last = damaged(self.url, key)
            except (s3.BotoCoreError, OSError) as error:
                last = error
        if isinstance(last, DamagedObjectError):
            raise last
        raise UserError(
            f"cannot {what} {key} in the store {self.url} ({str(last).splitlines()[0]}); check the "
            "credentials, the bucket and the endpoint, then `resume`: what was committed is kept"
        ) from last

    def put(self, key: str, data: bytes) -> None:
        if len(data) <= PART:
            return self._put(key, data)
        digest = hashlib.sha256(data).hexdigest()
        self._put_parts(key, len(data), digest, lambda start, length: data[start : start + length])

    def _put(self, key: str, data: bytes, **conditions: str) -> None:
        digest = {"sha256": hashlib.sha256(data).hexdigest()}
        self._retry(
            "write",
            key,
            lambda: self._client.put_object(
                Body=data, Metadata=digest, **self._at(key), **conditions
            ),
        )

    def put_new(self, key: str, data: bytes) -> bool:
        try:
            self._put(key, data, IfNoneMatch="*")
        except RefusedError as refused:
            # an attempt of ours may have arrived though its answer was lost
            return refused.again and self._is(key, data)
        return True

    def _is(self, key: str, data: bytes) -> bool:
        try:
            return self.get(key) == data
        except MissingObjectError:
            return False

    def put_many(self, items: Mapping[str, bytes], new: bool = False, lasting: bool = True) -> Keys:
        def one(item: tuple[str, bytes]) -> bool:
            if new:
                return self.put_new(*item)
            self.put(*item)
            return True

        with ThreadPoolExecutor(PARALLEL) as threads:
            done = list(threads.map(one, items.items()))
        return [key for key, was_put in zip(items, done, strict=True) if not was_put]

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        try:
            answer, data = self._read(key)
            if data != old:
                return False
            self._put(key, new, IfMatch=answer["ETag"])
        except RefusedError as refused:
            return refused.again and self._is(key, new)
        except MissingObjectError:
            return False
        return True

    def put_file(self, key: str, path: Path, move: bool = False) -> None:
        size = path.stat().st_size
        if size <= PART:
            return self.put(key, path.read_bytes())

        def read(start: int, length: int) -> bytes:
            with path.open("rb") as file:
                file.seek(start)
                return file.read(length)

        self._put_parts(key, size, hash_file(path), read)

    def _put_parts(
        self, key: str, size: int, digest: str, read: Callable[[int, int], bytes]
    ) -> None:
        length = max(PART, -(-size // MAX_PARTS))
        begun = self._retry(
            "write",
            key,
            lambda: self._client.create_multipart_upload(
                Metadata={"sha256": digest}, **self._at(key)
            ),
        )
        upload = {**self._at(key), "UploadId": begun["UploadId"]}

        def part(number: int) -> dict[str, Any]:
            body = read((number - 1) * length, length)
            done = self._retry(
                "write",
                key,
                lambda: self._client.upload_part(Body=body, PartNumber=number, **upload),
            )
            return {"PartNumber": number, "ETag": done["ETag"]}

        try:
            with ThreadPoolExecutor(PARALLEL // 2) as threads:
                parts = list(threads.map(part, range(1, -(-size // length) + 1)))
            try:
                self._retry(
                    "write",
                    key,
                    lambda: self._client.complete_multipart_upload(
                        MultipartUpload={"Parts": parts}, **upload
                    ),
                )
            except MissingObjectError:
                # completed by an attempt whose answer was lost: then it is there
                if self._head(key)["Metadata"].get("sha256") != digest:
                    raise
        except BaseException:
            with contextlib.suppress(Exception):
                self._client.abort_multipart_upload(**upload)
            raise

    def _read(self, key: str) -> tuple[Any, bytes]:
        def read() -> tuple[Any, bytes]:
            answer = self._client.get_object(**self._at(key))
            data: bytes = answer["Body"].read()
            expected = answer["Metadata"].get("sha256")
            if expected and hashlib.sha256(data).hexdigest() != expected:
                raise damaged(self.url, key)
            return answer, data

        return self._retry("read", key, read)

    def get(self, key: str) -> bytes:
        return self._read(key)[1]

    def get_file(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        head = self._head(key)
        size, same = head["ContentLength"], {"IfMatch": head["ETag"]}
        starts = range(0, size, PART)
        with path.open("wb") as file:
            file.truncate(size)

        def part(start: int) -> None:
            end = min(start + PART, size)

            def read() -> bytes:
                answer = self._client.get_object(
                    Range=f"bytes={start}-{end - 1}", **self._at(key), **same
                )
                data: bytes = answer["Body"].read()  # botocore refuses a body cut short
                return data

            data = self._retry("read", key, read)
            with path.open("r+b") as file:
                file.seek(start)
                file.write(data)

        try:
            with ThreadPoolExecutor(PARALLEL // 2) as threads:
                list(threads.map(part, starts))
            expected = head["Metadata"].get("sha256")
            if expected and hash_file(path) != expected:
                raise damaged(self.url, key)
        except RefusedError:
            path.unlink()
            raise UserError(f"{self.url}/{key} was replaced while it was read; try again") from None
        except BaseException:
            path.unlink(missing_ok=True)
            raise

    def digest(self, key: str) -> str:
        def read() -> str:
            computed = hashlib.sha256()
            for block in self._client.get_object(**self._at(key))["Body"].iter_chunks(BLOCK):
                computed.update(block)
            return computed.hexdigest()

        return self._retry("read", key, read)

    def _head(self, key: str) -> Any:
        return self._retry("look for", key, lambda: self._client.head_object(**self._at(key)))

    def exists(self, key: str) -> bool:
        try:
            self._head(key)
        except MissingObjectError:
            return False
        return True

    def entries(self, prefix: str = "") -> Iterable[Entry]:
        root = f"{self.prefix}/" if self.prefix else ""
        start = root + check_prefix(prefix)

        def pages() -> list[Entry]:
            paginator = self._client.get_paginator("list_objects_v2")
            return [
                Entry(e["Key"].removeprefix(root), e["Size"], e["LastModified"].timestamp())
                for page in paginator.paginate(Bucket=self.bucket, Prefix=start)
                for e in page.get("Contents", ())
            ]

        return self._retry("list", prefix or "all", pages)

    def list(self, prefix: str = "") -> Keys:
        return sorted(e.key for e in self.entries(prefix))

    def delete(self, key: str) -> None:
        self._retry("delete", key, lambda: self._client.delete_object(**self._at(key)))

    @contextlib.contextmanager
    def scratch(self, prefix: str = "") -> Iterator[Path]:
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder)

    def sweep(self, prefix: str = "", older: float = 3600.0) -> int:
        begun = "".join(f"{p}/" for p in [join(self.prefix, check_prefix(prefix))] if p)
        limit, swept = time.time() - older, 0
        paginator = self._client.get_paginator("list_multipart_uploads")
        pages = self._retry(
            "list uploads below",
            prefix or "all",
            lambda: list(paginator.paginate(Bucket=self.bucket, Prefix=begun)),
        )
        for upload in (u for page in pages for u in page.get("Uploads", ())):
            if upload["Initiated"].timestamp() < limit:
                abort = partial(
                    self._client.abort_multipart_upload,
                    Bucket=self.bucket,
                    Key=upload["Key"],
                    UploadId=upload["UploadId"],
                )
                with contextlib.suppress(MissingObjectError):  # ended meanwhile
                    self._retry("end the upload of", upload["Key"], abort)
                    swept += 1
        return swept
