"""A folder held by one process alone, or shared by several."""

import errno
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, Timeout

GATE = ".lock"
"""The file that is locked for the moment in which it is decided who holds the folder."""
_GATE_SECONDS = 60.0  # many processes may start at a time, each of which needs a few milliseconds
_NOT_LOCKABLE = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_ALONE, _SHARED = "alone", "shared"
_STAMP = "%Y%m%dT%H%M%S"


class FolderInUseError(Exception):
    """Another process holds the folder: `holder` names it."""

    def __init__(self, holder: str):
        super().__init__(f"in use by {holder}")
        self.holder = holder


@contextmanager
def hold_folder(folder: Path, shared: bool = False) -> Iterator[None]:
    """Hold a folder alone, or, if `shared`, together with any number of others that share it.

    The locks of filelock are exclusive. So each holder locks a file of its own, whose name records whether
    it holds the folder alone, its host, process and time; a new holder is admitted if no file of a holder
    that excludes it is locked. This is decided while `GATE` is locked, so that of two that start at the same
    time one sees the other. The operating system releases a lock when its process ends, however it ends; the
    file that a killed process leaves behind is not locked, and the next holder removes it.

    Where files cannot be locked, no lock is taken. Raises FolderInUseError if a holder excludes this one;
    OSError if the folder cannot be written to.
    """
    own = _lock(folder / _file_name(shared))
    try:
        with _lock(folder / GATE, _GATE_SECONDS):
            _check_holders(folder, (_ALONE,) if shared else (_ALONE, _SHARED))
            own.acquire()
    except Timeout:  # of the gate
        raise FolderInUseError("another process") from None
    except OSError as error:
        if error.errno not in _NOT_LOCKABLE:
            raise
    try:
        yield
    finally:
        own.release(force=True)
        with suppress(OSError):
            Path(own.lock_file).unlink()


def _lock(path: Path, timeout: float = 0.0) -> BaseFileLock:
    # Without the fallback to the mere existence of a file, which would outlive a killed process.
    return FileLock(path, timeout, thread_local=False, fallback_to_soft=False)


def _check_holders(folder: Path, excluding: tuple[str, ...]) -> None:
    for kind in excluding:
        for path in folder.glob(f".{kind}_*.lock"):
            try:
                with _lock(path):
                    pass
            except Timeout:
                raise FolderInUseError(_holder(path)) from None
            path.unlink(missing_ok=True)


def _file_name(shared: bool) -> str:
    kind = _SHARED if shared else _ALONE
    # The token: one process may hold a folder several times.
    parts = (kind, socket.gethostname(), os.getpid(), time.strftime(_STAMP), secrets.token_hex(4))
    return f".{'_'.join(map(str, parts))}.lock"


def _holder(path: Path) -> str:
    kind_and_host, process, stamp, _ = path.stem.rsplit("_", 3)
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.strptime(stamp, _STAMP))
    return f"process {process} on {kind_and_host.partition('_')[2]} (since {since})"
