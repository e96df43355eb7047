"""A store in a local or shared folder: an object is a plain file, written aside and renamed.

Its SHA-256 travels on the file itself, as the extended attribute `user.sha256`: content and
checksum change in one rename. File systems without such attributes go unchecked here; journals,
checkpoints and caches carry checksums of their own as well.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

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
    hidden,
)

TEMPORARY = ".writing-"
GUARD = ".guard"
ATTRIBUTE = "user.sha256"
# what file systems without hard links answer: FAT, network mounts, FUSE
NO_LINKS = {
    errno.EPERM,
    errno.EACCES,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.ENOTSUP,
    errno.EMLINK,
}
ABSENT = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


class LocalStore:
    """Objects as files below `root`. See `base.ObjectStore` for what each method promises."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root).expanduser()
        self.url = str(root)

    def _path(self, key: str) -> Path:
        return self.root / check_key(key)

    @contextlib.contextmanager
    def _writing(self, key: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(
                f"cannot write {key} to the store {self.url} ({error.strerror or error}); free "
                "space or make it writable, then `resume`: what was committed is kept"
            ) from error

    @contextlib.contextmanager
    def _reading(self, key: str) -> Iterator[None]:
        try:
            yield
        except ABSENT:
            raise MissingObjectError(key) from None
        except OSError as error:
            raise UserError(
                f"cannot read {key} from the store {self.url} ({error.strerror or error}); check "
                "the path and its permissions"
            ) from error

    def put(self, key: str, data: bytes) -> None:
        self.put_many({key: data})

    def put_new(self, key: str, data: bytes) -> bool:
        return not self.put_many({key: data}, new=True)

    def put_many(self, items: Mapping[str, bytes], new: bool = False, lasting: bool = True) -> Keys:
        written: list[tuple[str, Path, str]] = []
        refused, key = [], ""
        try:
            for key, data in items.items():
                path = self._path(key)
                with self._writing(key):
                    make_folder(path.parent, lasting)
                    descriptor, name = new_file(path.parent)
                    written.append((name, path, key))
                    with os.fdopen(descriptor, "wb") as file:
                        set_sum(descriptor, hashlib.sha256(data).hexdigest())
                        file.write(data)
            if lasting:
                with self._writing(key):
                    flush([name for name, _, _ in written])
            for name, path, key in written:
                with self._writing(key):
                    if not new:
                        os.replace(name, path)
                    elif not self._link(name, path):
                        refused.append(key)
            if lasting:
                with self._writing(key):
                    flush({path.parent for _, path, _ in written})
        finally:
            for name, _, _ in written:
                with contextlib.suppress(OSError):
                    os.unlink(name)
        return refused

    def _link(self, name: str, path: Path) -> bool:
        try:
            os.link(name, path)  # fails if the path exists, even in a race
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            with self._guard():
                if path.exists():
                    return False
                os.replace(name, path)
        return True

    @contextlib.contextmanager
    def _guard(self) -> Iterator[None]:
        # the kernel frees it when its holder dies, so it can never be stale
        make_folder(self.root, lasting=False)
        with open(self.root / GUARD, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            try:
                yield
            finally:
                # by name: closing frees nothing while a child forked meanwhile has it open too
                fcntl.flock(file, fcntl.LOCK_UN)

    def swap(self, key: str, old: bytes, new: bytes) -> bool:
        with self._writing(key), self._guard():
            try:
                stored = self.get(key)
            except MissingObjectError:
                return False
            if stored == old:
                self.put(key, new)
            return stored == old

    def put_file(self, key: str, path: Path, move: bool = False) -> None:
        target = self._path(key)
        with self._writing(key):
            make_folder(target.parent, lasting=True)
            descriptor, aside = new_file(target.parent)
            mode = stat.S_IMODE(os.fstat(descriptor).st_mode)
            os.close(descriptor)
            try:
                if move and path.stat().st_dev == target.parent.stat().st_dev:
                    os.replace(path, aside)
                    os.chmod(aside, mode)  # who wrote it may have kept it to themselves
                else:
                    shutil.copyfile(path, aside)
                with open(aside, "rb") as file:
                    set_sum(file.fileno(), hashlib.file_digest(file, "sha256").hexdigest())
                    os.fsync(file.fileno())
                os.replace(aside, target)
            except BaseException:
                with contextlib.suppress(OSError):
                    os.unlink(aside)
                raise
            flush([target.parent])

    def get(self, key: str) -> bytes:
        with self._reading(key), self._path(key).open("rb") as file:
            data, expected = file.read(), get_sum(file.fileno())
        if expected and hashlib.sha256(data).hexdigest() != expected:
            raise damaged(self.url, key)
        return data

    def get_file(self, key: str, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        computed = hashlib.sha256()
        with self._reading(key), self._path(key).open("rb") as file:
            expected = get_sum(file.fileno())
            with path.open("wb") as copy:
                while block := file.read(BLOCK):
                    computed.update(block)
                    copy.write(block)
        if expected and computed.hexdigest() != expected:
            path.unlink()
            raise damaged(self.url, key)

    def digest(self, key: str) -> str:
        with self._reading(key):
            return hash_file(self._path(key))

    def exists(self, key: str) -> bool:
        return self._path(key).is_file()

    def entries(self, prefix: str = "") -> Iterable[Entry]:
        # only the folder that the prefix names has to be walked
        folder = check_prefix(prefix).rpartition("/")[0]

        def walk(place: str) -> Iterator[Entry]:
            with self._reading(place or self.url), os.scandir(self.root / place) as listing:
                items = [i for i in listing if not hidden(i.name)]
            for item in items:
                key = f"{place}/{item.name}" if place else item.name
                if item.is_dir():
                    if f"{key}/".startswith(prefix) or prefix.startswith(f"{key}/"):
                        with contextlib.suppress(MissingObjectError):  # deleted while we look
                            yield from walk(key)
                elif key.startswith(prefix):
                    with contextlib.suppress(FileNotFoundError):
                        state = item.stat()
                        yield Entry(key, state.st_size, state.st_mtime)

        with contextlib.suppress(MissingObjectError):
            yield from walk(folder)

    def list(self, prefix: str = "") -> Keys:
        return sorted(e.key for e in self.entries(prefix))

    def delete(self, key: str) -> None:
        with self._writing(key), contextlib.suppress(*ABSENT):
            self._path(key).unlink()

    @contextlib.contextmanager
    def scratch(self, prefix: str = "") -> Iterator[Path]:
        folder = self.root / check_prefix(prefix)
        with self._writing(prefix or "a file"):
            make_folder(folder, lasting=False)
            place = tempfile.mkdtemp(dir=folder, prefix=TEMPORARY)
        try:
            yield Path(place)
        finally:
            shutil.rmtree(place, ignore_errors=True)

    def sweep(self, prefix: str = "", older: float = 3600.0) -> int:
        limit, swept = time.time() - older, 0
        for place, folders, files in os.walk(self.root / check_prefix(prefix)):
            for name in [n for n in (*folders, *files) if n.startswith(TEMPORARY)]:
                path = Path(place, name)
                inside = [path, *path.rglob("*")]
                with self._writing(name), contextlib.suppress(FileNotFoundError):
                    if max(p.stat().st_mtime for p in inside) < limit:
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
                        swept += 1
            folders[:] = [n for n in folders if not hidden(n)]
        return swept


def damaged(url: str, key: str) -> DamagedObjectError:
    return DamagedObjectError(f"{url}/{key} is not what was put there")


def new_file(folder: Path) -> tuple[int, str]:
    """A new file that is not listed: its open descriptor, and its path.

    Its mode is what the umask leaves of all reading and writing, as for any file: `tempfile` would
    hide it from other users, and a shared cache with it.
    """
    name = str(folder / f"{TEMPORARY}{secrets.token_hex(8)}")
    return os.open(name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), name


def make_folder(folder: Path, lasting: bool) -> None:
    """Create `folder` and its parents; with `lasting`, their entries are flushed to disk."""
    if folder.is_dir():
        return
    if not folder.parent.is_dir():
        make_folder(folder.parent, lasting)
    folder.mkdir(exist_ok=True)
    if lasting:
        flush([folder.parent])


def flush(paths: Iterable[str | Path]) -> None:
    """Flush files, or folders' entries, to disk: a rename lasts only once its folder is flushed.

    Several at once, because the file system then writes its own journal once for all of them.
    """

    def one(path: str | Path) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    paths = list(paths)
    if len(paths) == 1:
        return one(paths[0])
    with ThreadPoolExecutor(PARALLEL) as threads:
        list(threads.map(one, paths))


def set_sum(descriptor: int, digest: str) -> None:
    # not every system or file system has extended attributes: the sum is then not there
    with contextlib.suppress(OSError, AttributeError):
        os.setxattr(descriptor, ATTRIBUTE, digest.encode())


def get_sum(descriptor: int) -> str:
    try:
        return os.getxattr(descriptor, ATTRIBUTE).decode()
    except (OSError, AttributeError):
        return ""
