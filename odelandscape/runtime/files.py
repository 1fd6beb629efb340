"""Files written completely or not at all."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np


def write_whole(path: Path, content: str | dict[str, np.ndarray], first: bool = False) -> None:
    """Write a file of text, or of arrays (npz), atomically: no process ever reads a part of it.

    - `first`: keep the file that another process has written under this name before, if there is one.
    """
    temporary = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                np.savez(file, allow_pickle=False, **content)
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
