"""The one seam for writes: every state-changing file operation of the daemon passes an instance of `Files`.

Readers may open what they like; whoever creates, writes, renames, syncs or removes calls a verb here. The crash lab
(`tests/faults`) subclasses `Files`, counts the steps of a scenario and runs it again with a crash, a torn write or a
disk error at each of them; code written tomorrow is covered because it has no other way to the disk.

Failures: every `OSError` leaves as `StorageError` that says what was being done to which path, except
`FileExistsError` and `FileNotFoundError`, which are answers and not faults. A failed write or sync is never tried again
on the same file (after a failed fsync the kernel may call the lost pages clean): the bytes are written anew.
"""

import ctypes
import errno
import itertools
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar

from brain_daemon.model.errors import StorageError

_RENAME_NOREPLACE = 1
_AT_FDCWD = -100
TEMPORARY_SUFFIX = ".brain-tmp"


def _linux_rename_new() -> Callable[[bytes, bytes], int] | None:
    """renameat2(2) with RENAME_NOREPLACE, where this C library has it."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, AttributeError):
        return None
    return lambda source, target: int(call(_AT_FDCWD, source, _AT_FDCWD, target, _RENAME_NOREPLACE))


def _linux_sync_file_system() -> Callable[[str], None] | None:
    """syncfs(2), where this C library has it."""
    if sys.platform != "linux":
        return None
    try:
        call = ctypes.CDLL(None, use_errno=True).syncfs
    except (OSError, AttributeError):
        return None

    def sync(path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if call(descriptor) != 0:
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number), path)
        finally:
            os.close(descriptor)

    return sync


_RENAME_NEW = _linux_rename_new()
_SYNC_FILE_SYSTEM = _linux_sync_file_system()
_SYNC_TOGETHER = 16
_NO_SUCH_CALL = frozenset({errno.ENOSYS, errno.EINVAL, errno.ENOTSUP})


@contextmanager
def _naming(action: str, path: str) -> Iterator[None]:
    """Turns a disk error into a StorageError that names the action and the path."""
    try:
        yield
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError as error:
        raise StorageError(
            f"{action} {path} failed: {error.strerror or error}. Free space, permissions and the disk decide; `brain doctor` checks them."
        ) from error


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _counted(verb: "Callable[Concatenate[Files, _P], _R]") -> "Callable[Concatenate[Files, _P], _R]":
    """A verb whose uses and failures are counted; an answer (it is there, it is gone) is no failure."""

    @wraps(verb)
    def counting(files: "Files", /, *arguments: _P.args, **options: _P.kwargs) -> _R:
        files.writes += 1
        try:
            return verb(files, *arguments, **options)
        except StorageError:
            files.failed_writes += 1
            raise

    return counting


class Files:
    """The verbs. Paths are absolute; data is bytes; nothing here decides.

    `aside` is a folder for files under construction, so that no watcher of the target's folder hears of them; it counts
    only while it is on the same file system as the target. None keeps them hidden beside the target. `writes` and `failed_writes`
    count, for the daily report; threads that write at the same instant may be counted as one.
    """

    def __init__(self, aside: str | None = None) -> None:
        self.aside = aside
        self._numbers = itertools.count()
        self.writes = 0
        self.failed_writes = 0

    def step(self, action: str, path: str) -> None:
        """Called before each single operation on the disk; the crash lab counts and fails here."""

    def put(self, path: str, data: bytes, *, sync: bool = True) -> None:
        """Replace `path` as a whole: a reader sees the old bytes or the new ones, after a crash as well."""
        # Something like `git clean` may have taken the folder: it is made again.
        self.make_folder(os.path.dirname(path))
        temporary = self._written(path, data, sync=sync)
        try:
            self.step("replace", path)
            with _naming("replacing", path):
                os.replace(temporary, path)
        except Exception:
            _unlink_quietly(temporary)
            raise

    def put_if(self, path: str, data: bytes, still: Callable[[], bool], *, sync: bool = True) -> bool:
        """`put` where `still()` holds when the new bytes are ready to take their place; whether they have."""
        self.make_folder(os.path.dirname(path))
        temporary = self._written(path, data, sync=sync)
        try:
            self.step("replace if", path)
            if not still():
                _unlink_quietly(temporary)
                return False
            with _naming("replacing", path):
                os.replace(temporary, path)
        except Exception:
            _unlink_quietly(temporary)
            raise
        return True

    def put_new(self, path: str, data: bytes, *, sync: bool = True, mode: int = 0o644) -> None:
        """Like `put`, but an existing file stays as it is and FileExistsError is raised."""
        temporary = self._written(path, data, sync=sync, mode=mode)
        try:
            self.move(temporary, path)
        except Exception:
            _unlink_quietly(temporary)
            raise

    @_counted
    def move(self, source: str, target: str) -> None:
        """Rename without ever overwriting: FileExistsError if the target is there, FileNotFoundError if the source is gone."""
        self.step("move", target)
        with _naming(f"moving {source} to", target):
            _rename_new(source, target)

    def remove(self, path: str) -> None:
        """Unlink; a file already gone is no error."""
        self.step("remove", path)
        try:
            with _naming("removing", path):
                os.unlink(path)
        except FileNotFoundError:
            return

    @_counted
    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a log of ours; a crash may leave part of it, which readers must bear."""
        self.step("append", path)
        with _naming("appending to", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
            try:
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)

    def make_folder(self, path: str, mode: int = 0o755) -> None:
        """Create a folder and its parents; an existing one is no error."""
        if os.path.isdir(path):
            return
        self.step("make folder", path)
        try:
            try:
                os.mkdir(path, mode)
            except (FileNotFoundError, FileExistsError):
                os.makedirs(path, mode, exist_ok=True)
        except OSError as error:
            raise StorageError(
                f"creating folder {path} failed: {error.strerror}. What stands in its way must be moved."
            ) from error

    def sync_folders(self, paths: Iterable[str]) -> None:
        """Make the names in these folders durable, in the order given."""
        for path in paths:
            self.step("sync folder", path)
            with _naming("syncing folder", path):
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
                try:
                    _sync(descriptor)
                finally:
                    os.close(descriptor)

    def sync_group(self, paths: Sequence[str]) -> None:
        """Make whole files that were put without a sync durable, and their names with them.

        For many files one sync of the file system (syncfs(2)) costs less than one of each file; it also writes out what
        other programs have left unwritten there, so a few files are synced one by one.
        """
        if len(paths) >= _SYNC_TOGETHER and _SYNC_FILE_SYSTEM is not None:
            self.step("sync group", paths[0])
            with _naming("syncing the file system of", paths[0]):
                _SYNC_FILE_SYSTEM(paths[0])
            return
        for path in paths:
            self.step("sync", path)
            with _naming("syncing", path):
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
                try:
                    _sync(descriptor)
                finally:
                    os.close(descriptor)
        self.sync_folders(dict.fromkeys(os.path.dirname(path) for path in paths))

    @_counted
    def _written(self, path: str, data: bytes, *, sync: bool, mode: int = 0o644) -> str:
        """A complete temporary file; its name is hidden, so no scan takes it for a task."""
        folder, name = os.path.split(path)
        hidden = f".{name[:160]}.{os.getpid()}.{next(self._numbers)}{TEMPORARY_SUFFIX}"
        temporary = os.path.join(self.aside or folder, hidden)
        self.step("create", temporary)
        try:
            self._write_temporary(temporary, data, path, sync=sync, mode=mode)
        except Exception:
            _unlink_quietly(temporary)  # on a full disk each try would leave one more
            raise
        return temporary

    def _write_temporary(self, temporary: str, data: bytes, path: str, *, sync: bool, mode: int) -> None:
        with _naming("writing", path):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, mode)
            try:
                self.write(descriptor, data, temporary)
                if sync:
                    self.step("sync", temporary)
                    _sync(descriptor)
            finally:
                os.close(descriptor)

    def write(self, descriptor: int, data: bytes, path: str) -> None:
        """All of `data` into an open file; the crash lab tears it here."""
        self.step("write", path)
        _write_all(descriptor, data)


def _unlink_quietly(temporary: str) -> None:
    """Take a file under construction away after a failure; what cannot be taken away is swept at the next start."""
    try:
        os.unlink(temporary)
    except OSError:
        pass


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync(descriptor: int) -> None:
    """fsync, where the file system has it (some FUSE mounts answer EINVAL)."""
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_SUCH_CALL:
            raise


def _rename_new(source: str, target: str) -> None:
    if _RENAME_NEW is not None:
        if _RENAME_NEW(os.fsencode(source), os.fsencode(target)) == 0:
            return
        number = ctypes.get_errno()
        if number not in _NO_SUCH_CALL:
            raise OSError(number, os.strerror(number), target)
    # Two steps where the kernel has no single one: a crash between them leaves one file under two names, which
    # recovery knows (both names, one hash).
    os.link(source, target, follow_symlinks=False)
    os.unlink(source)
