"""What a sweep leaves on disk: a manifest that says of what, and a file for each chunk of seeds.

A chunk `seeds-00001024-00002047.npz` appears under its name only when it is whole (written aside, synced,
renamed), and is never written again. So an interruption costs what was being computed, and any number of
processes may write into a folder: a sweep goes on by computing what no file holds. A file carries a checksum
of its numbers. One that fails it is never read from: it is set aside, told, and computed again.
"""

import errno
import hashlib
import json
import os
import socket
import time
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..relaxation.outcomes import EndStates
from ..runtime.errors import StoreError, UserError
from ..runtime.files import write_whole
from .manifest import (
    FORMAT,
    MANIFEST,
    VARIABLES,
    abbreviated,
    configuration_hash,
    damaged_manifest,
    difference,
    library_versions,
)

try:
    import fcntl
except ImportError:  # not a Unix
    fcntl = None


_LOCK = ".lock"
_NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_DAMAGE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class _Chunk(NamedTuple):
    """The file that holds seeds `first` … `stop` − 1."""

    first: int
    stop: int
    path: Path


def _checksum(sweep: str, first: int, columns: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256(f"{sweep} {first}".encode())
    for name in VARIABLES:
        column = np.ascontiguousarray(columns[name])
        total.update(f"{name} {column.dtype.str} {column.shape}".encode())
        total.update(column.tobytes())
    return total.hexdigest()


class Store:
    """The folder of one sweep, to be read from. `writing` gives one to be written to.

    `configuration` says what was computed (problem, flow, sweep seed, dimension, dtype), `versions` by what.
    The number of seeds is not a part of it: a sweep may be made longer.

    Raises ValueError if the folder holds no sweep, one in another format, or a damaged manifest.
    """

    def __init__(self, folder: str | os.PathLike):
        self.folder = Path(folder)
        manifest = self.folder / MANIFEST
        try:
            there = json.loads(manifest.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"the folder {str(folder)!r} holds no sweep ({MANIFEST})") from None
        except ValueError as error:
            raise UserError(damaged_manifest(manifest, f"it is no JSON: {error}")) from None
        except OSError as error:
            raise UserError(f"cannot read {str(manifest)!r}: {error.strerror}") from None
        if not isinstance(there, dict):
            raise UserError(damaged_manifest(manifest, "it says nothing"))
        if there.get("format") != FORMAT:
            versions = abbreviated(there.get("versions"))
            raise UserError(
                f"the sweep in {str(folder)!r} is in format {abbreviated(there.get('format'))}; this version "
                f"of odelandscape reads and writes format {FORMAT}: name another folder, or use the version "
                f"that made it ({versions})"
            )
        self.configuration: dict = there.get("configuration") or {}
        self.versions: dict = there.get("versions") or {}
        self.name = configuration_hash(self.configuration)
        if there.get("hash") != self.name:
            told = "its hash is not that of its configuration"
            raise UserError(damaged_manifest(manifest, told))
        self._writing = False
        self._verified: dict[Path, bool] = {}
        self._chunks = self._listed()

    def _listed(self) -> list[_Chunk]:
        return sorted(
            _Chunk(int(first), int(last) + 1, path)
            for path in self.folder.glob("seeds-*.npz")
            for first, last in [path.stem.split("-")[1:]]
        )

    @classmethod
    def writing(cls, folder: str | os.PathLike, configuration: dict) -> "Store":
        """The store of this configuration, made if there is none.

        Warns if other versions of the libraries have begun it. Raises ValueError if the folder cannot be made
        or written to, or holds another sweep: the message says what differs.
        """
        folder = Path(folder)
        manifest = {
            "about": "Where random starts end. odelandscape.open_sweep opens the folder as one labelled "
            "dataset, numpy.load one of its files.",
            "format": FORMAT,
            "configuration": configuration,
            "hash": configuration_hash(configuration),
            "versions": library_versions(),
            "variables": {name: variable._asdict() for name, variable in VARIABLES.items()},
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # What cannot be written to is told before anything is computed.
            (folder / _LOCK).touch()
            if not (folder / MANIFEST).exists():
                text = json.dumps(manifest, indent=1, ensure_ascii=False)
                write_whole(folder / MANIFEST, text + "\n", first=True)
        except OSError as error:
            raise UserError(
                f"cannot keep results in the folder {str(folder)!r}: {error.strerror}"
            ) from None
        store = cls(folder)
        # As JSON has it: lists for tuples.
        differing = difference(store.configuration, json.loads(json.dumps(configuration)))
        if differing:
            raise UserError(
                f"the folder {str(folder)!r} holds another sweep ({differing}): name another folder, or "
                "remove this one"
            )
        others = difference(store.versions, library_versions())
        if others:
            warnings.warn(
                f"the sweep in {str(folder)!r} was begun by other versions ({others}): it goes on, but the "
                "last bits of its numbers may be other ones than before",
                stacklevel=3,
            )
        store._writing = True
        return store

    @contextmanager
    def held(self, shared: bool = False) -> Iterator[None]:
        """Hold the folder while writing to it: alone, or with others that compute shares of it.

        The system lets go of it when the process ends, however it ends. Raises ValueError, naming who holds
        it, if it is held; StoreError if it cannot be written to. Where files cannot be locked nothing is.
        """
        if fcntl is None:
            yield
            return
        try:
            file = (self.folder / _LOCK).open("a+", encoding="utf-8")
        except OSError as error:
            raise StoreError(self._unwritable(error)) from None
        with file:
            try:
                how = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
                fcntl.flock(file, how | fcntl.LOCK_NB)
            except BlockingIOError:
                file.seek(0)
                holder = file.read().strip() or "another process"
                raise UserError(
                    f"the folder {str(self.folder)!r} is in use by {holder}: "
                    "wait until it has finished, or let processes share the sweep (--share)"
                ) from None
            except OSError as error:
                if error.errno not in _NO_LOCKS:
                    raise StoreError(self._unwritable(error)) from None
            with suppress(OSError):  # a remark for others, and no reason to stop
                file.truncate(0)
                now = time.strftime("%Y-%m-%d %H:%M:%S")
                file.write(f"process {os.getpid()} on {socket.gethostname()} (since {now})")
                file.flush()
            if not shared:  # what processes that were killed have left half written
                for left in self.folder.glob(".seeds-*"):
                    with suppress(OSError):
                        left.unlink()
            self._chunks = self._listed()  # whoever held it before may have added some
            yield

    def put(self, first: int, ends: EndStates) -> None:
        """Keep the end states of seeds `first`, `first` + 1, …

        Raises StoreError if that is not possible: then no file of that name has come to be.
        """
        columns = ends._asdict()
        stop = first + len(ends.loss)
        about = {
            "sweep": self.name,
            "versions": library_versions(),
            "sha256": _checksum(self.name, first, columns),
        }
        path = self.folder / f"seeds-{first:08d}-{stop - 1:08d}.npz"
        try:
            numbers = np.arange(first, stop)
            write_whole(path, {"seed": numbers, **columns, "about": np.array(json.dumps(about))})
        except OSError as error:
            raise StoreError(self._unwritable(error)) from None
        self._verified[path] = True
        self._chunks = sorted({*self._chunks, _Chunk(first, stop, path)})

    def have(self, wanted: np.ndarray) -> np.ndarray:
        """Which of the `wanted` seeds, (N,) whether each is, are held by files that pass their checksum."""
        held = np.zeros(len(wanted), bool)
        for first, stop, path in self._chunks:
            if wanted[first:stop].any() and self._sound(first, stop, path):
                held[first:stop] = True
        return held & wanted

    def seeds(self) -> np.ndarray:
        """The seeds that are held, ascending."""
        last = max((chunk.stop for chunk in self._chunks), default=0)
        return np.flatnonzero(self.have(np.ones(last, bool)))

    def parts(self, names: tuple[str, ...], count: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Seeds below `count`, and these columns of them, a file at a time and no seed twice."""
        done = 0
        for first, stop, path in self._chunks:
            begin, end = max(first, done), min(stop, count)
            if begin < end and self._sound(first, stop, path):
                rows = slice(begin - first, end - first)
                columns = self._read(path, names)
                yield np.arange(begin, end), *(column[rows] for column in columns)
                done = end

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Places in `seeds`, in whichever order these are, and these columns of them, a file at a time."""
        missing = np.ones(len(seeds), bool)
        for first, stop, path in self._chunks:
            here = np.flatnonzero(missing & (seeds >= first) & (seeds < stop))
            if len(here) and self._sound(first, stop, path):
                missing[here] = False
                columns = self._read(path, names)
                yield here, *(column[seeds[here] - first] for column in columns)

    def _read(self, path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return [file[name] for name in names]
        except (*_DAMAGE, OSError) as error:
            raise StoreError(
                f"{str(path)!r} was whole when it was opened and cannot be read now: {error}"
            ) from None

    def _sound(self, first: int, stop: int, path: Path) -> bool:
        if path not in self._verified:
            damage = self._damage(first, stop, path)
            self._verified[path] = damage is None
            if damage is not None:
                self._tell_damage(stop - first, path, damage)
        return self._verified[path]

    def _damage(self, first: int, stop: int, path: Path) -> str | None:
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                columns = {name: file[name] for name in VARIABLES}
                about = json.loads(str(file["about"]))
        except _DAMAGE as error:
            return f"it cannot be read: {error}"
        except OSError as error:
            if error.errno is None:
                return f"it cannot be read: {error}"
            raise StoreError(f"cannot read {str(path)!r}: {error.strerror}") from None
        if about.get("sweep") != self.name:
            raise UserError(
                f"{str(path)!r} belongs to another sweep than {MANIFEST} beside it: move it away"
            )
        rows = {len(column) for column in columns.values()}
        if about.get("sha256") != _checksum(self.name, first, columns) or rows != {stop - first}:
            return "its checksum differs"
        return None

    def _tell_damage(self, count: int, path: Path, damage: str) -> None:
        told = f"{str(path)!r} is damaged ({damage}): its {count} seeds "
        if self._writing:
            aside = path.with_name(path.name + ".damaged")
            with suppress(OSError):
                path.replace(aside)
            told += f"are computed again, and the file is now {aside.name}"
        else:
            told += "are left out; the command or call that made the sweep computes them again"
        warnings.warn(told, stacklevel=6)

    def _unwritable(self, error: OSError) -> str:
        kept = sum(chunk.stop - chunk.first for chunk in self._chunks)
        advice = {
            errno.ENOSPC: "make room on that disk",
            errno.EDQUOT: "make room in your quota",
        }.get(error.errno or 0, "make the folder writable")
        return (
            f"cannot write to {str(self.folder)!r}: {error.strerror or error}. The {kept:,} seeds that it "
            f"holds are kept; {advice}, and the same command or call goes on from there"
        )
