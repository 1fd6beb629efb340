"""What a sweep leaves on disk: one file for each unit of seeds, and a manifest that says of what.

A unit file appears under its own name only when it is whole (written aside, synced, renamed), and is
never written again. A sweep goes on by computing what no file holds, so an interruption costs at most
the unit it interrupted.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from .certify import EndStates

_MANIFEST = "sweep.json"


def _write(path: Path, content: bytes | dict[str, np.ndarray]) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        if isinstance(content, bytes):
            file.write(content)
        else:
            np.savez(file, allow_pickle=False, **content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)


class Store:
    """The folder of one sweep.

    `description` says what is computed (problem, flow, sweep seed, dimension), as JSON. The number of
    seeds is not a part of it: a sweep may be made longer.

    Raises ValueError if the folder cannot be made or written, or holds another sweep.
    """

    def __init__(self, folder: str | os.PathLike, description: dict):
        self.folder = Path(folder)
        manifest = self.folder / _MANIFEST
        wanted = json.dumps(description, indent=1, sort_keys=True)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if not manifest.exists():
                _write(manifest, wanted.encode())
            there = json.loads(manifest.read_text(encoding="utf-8"))
            if not os.access(self.folder, os.W_OK):
                raise PermissionError(f"no permission to write in {self.folder}")
        except (OSError, ValueError) as error:
            raise ValueError(
                f"cannot keep results in the folder {str(folder)!r}: {error}"
            ) from None
        differing = [k for k, value in json.loads(wanted).items() if there.get(k) != value]
        if differing:
            told = ", ".join(f"{k} {there.get(k)!r}" for k in differing)
            raise ValueError(
                f"the folder {str(folder)!r} holds another sweep ({told}): name another folder, or "
                "remove this one"
            )

    def put(self, seeds: np.ndarray, ends: EndStates) -> None:
        """Keep the end states of these seeds (indices in the sweep)."""
        name = f"seeds-{seeds[0]:08d}-{seeds[-1]:08d}.npz"
        _write(self.folder / name, {"seeds": seeds, **ends._asdict()})

    def units(self) -> Iterable[tuple[np.ndarray, EndStates]]:
        """What has been kept."""
        for path in sorted(self.folder.glob("seeds-*.npz")):
            with np.load(path, allow_pickle=False) as file:
                yield file["seeds"], EndStates(*(file[name] for name in EndStates._fields))

    def weights(self, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weights (n, K, d) and readouts (n, K) of these seeds, from the files that hold them."""
        W, v = {}, {}
        for path in sorted(self.folder.glob("seeds-*.npz")):
            first, last = (int(part) for part in path.stem.split("-")[1:])
            if not ((seeds >= first) & (seeds <= last)).any():
                continue
            with np.load(path, allow_pickle=False) as file:
                held, all_W, all_v = file["seeds"], file["weights"], file["readout"]
            for at in np.flatnonzero(np.isin(held, seeds)):
                W[int(held[at])], v[int(held[at])] = all_W[at], all_v[at]
        return np.stack([W[int(i)] for i in seeds]), np.stack([v[int(i)] for i in seeds])
