"""Files written completely or not at all."""

import os
import secrets
import socket
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

import numpy as np


def temporary_name(path: Path) -> Path:
    """Return a name beside `path` that no other thread, process or machine writes to."""
    unique = f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"
    # Names of files have 255 bytes at most.
    return path.with_name(f".{path.name[:180]}.{unique[-60:]}")


def check_writable(folder: Path) -> None:
    """Raise OSError unless files can be written to a folder, or to the one that it would be made in.

    Nothing is made or left.
    """
    folder = folder.absolute()
    with TemporaryFile(
        dir=next(part for part in (folder, *folder.parents) if _exists(part))
    ) as probe:
        probe.write(b"0")
        probe.flush()


def _exists(path: Path) -> bool:
    # Of `Path.exists` it depends on the version of Python which errors are raised. A link that leads nowhere
    # exists, and no folder can be made in its place.
    try:
        path.lstat()
    except FileNotFoundError:
        return False
    return True


def write_whole(
    path: Path, content: str | bytes | dict[str, np.ndarray], first: bool = False
) -> None:
    """Write a file of text, bytes or arrays (npz), atomically: no process ever reads a part of it.

    - `first`: keep the file that another process has written under this name before, if there is one.
    """
    temporary = temporary_name(path)
    try:
        with temporary.open("xb") as file:
            if isinstance(content, dict):
                np.savez(file, allow_pickle=False, **content)
            else:
                file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if first:
            _link(temporary, path)
        else:
            temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    # The file's entry in its folder is synced, too, against power failures, where folders can be.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        pass
    except OSError:  # a file system without links
        temporary.replace(path)
    temporary.unlink(missing_ok=True)
