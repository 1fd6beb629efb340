"""Files written whole or not at all."""

import os
import socket
from contextlib import suppress
from pathlib import Path

import numpy as np


def write_whole(path: Path, content: str | dict[str, np.ndarray], first: bool = False) -> None:
    """Write a file, text or arrays, so that its name never stands for a part of it. `first`: only if there is
    none yet, whoever else is writing one."""
    aside = path.with_name(f".{path.name}.{socket.gethostname()}-{os.getpid()}")
    try:
        with aside.open("wb") as file:
            if isinstance(content, str):
                file.write(content.encode())
            else:
                np.savez(file, allow_pickle=False, **content)
            file.flush()
            os.fsync(file.fileno())
        if first:
            _link(aside, path)
        else:
            aside.replace(path)
    except BaseException:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        raise
    # The name, too, outlives a power cut, where folders can be synced.
    with suppress(OSError):
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _link(aside: Path, path: Path) -> None:
    try:
        path.hardlink_to(aside)
    except FileExistsError:
        pass
    except OSError:  # this file system has no links
        aside.replace(path)
    aside.unlink(missing_ok=True)
