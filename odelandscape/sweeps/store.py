"""The contents of a sweep's folder: a manifest, and a file for each chunk of seeds.

A chunk `seeds-00001024-00002047.npz` appears under its name only when it is whole (written aside, synced,
renamed), and is never written again. So an interruption costs what was being computed, and any number of
processes may write into a folder: a sweep resumes by computing what no file holds. A file carries a checksum
of its numbers. One that fails it is never read from: it is set aside, named in a warning, and computed again.
"""

import errno
import hashlib
import json
import os
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..relaxation.outcomes import EndStates
from ..runtime.arguments import check_folder
from ..runtime.errors import StoreError, UserError
from ..runtime.files import write_whole
from .manifest import (
    MANIFEST,
    VARIABLES,
    difference,
    library_versions,
    read_manifest,
    write_manifest,
)

_UNREADABLE = (ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, NotImplementedError)
_PROBE = ".lock"  # exists in every store that was written to


# --- one file ---------------------------------------------------------------------------------------


class Chunk(NamedTuple):
    """The file that holds seeds `first` … `stop` − 1."""

    first: int
    stop: int
    path: Path


def chunk_of(folder: Path, first: int, stop: int) -> Chunk:
    """Return the chunk of these seeds, whose name gives the first and the last."""
    return Chunk(first, stop, folder / f"seeds-{first:08d}-{stop - 1:08d}.npz")


def list_chunks(folder: Path) -> list[Chunk]:
    """Return the chunks of a folder in the order of their seeds."""
    return sorted(
        Chunk(int(first), int(last) + 1, path)
        for path in folder.glob("seeds-*.npz")
        for first, last in [path.stem.split("-")[1:]]
    )


def write_chunk(chunk: Chunk, sweep: str, ends: EndStates) -> None:
    """Write end states of the sweep with this hash. Raises OSError; then no file of that name has come to
    be."""
    columns = ends._asdict()
    about = {
        "sweep": sweep,
        "versions": library_versions(),
        "sha256": _checksum(sweep, chunk.first, columns),
    }
    seeds = np.arange(chunk.first, chunk.stop)
    write_whole(chunk.path, {"seed": seeds, **columns, "about": np.array(json.dumps(about))})


def read_columns(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return columns of a chunk that has passed its checksum."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return [file[name] for name in names]
    except (*_UNREADABLE, OSError) as error:
        raise StoreError(
            f"{str(path)!r} was whole when it was opened and cannot be read now: {error}"
        ) from None


def find_damage(chunk: Chunk, sweep: str) -> str | None:
    """Return in words why the numbers of a chunk cannot be used; None if they can.

    Raises UserError if it belongs to another sweep than the one with this hash, StoreError if the file
    cannot be opened.
    """
    try:
        with chunk.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            columns = {name: file[name] for name in VARIABLES}
            about = json.loads(str(file["about"]))
    except _UNREADABLE as error:
        return f"it cannot be read: {error}"
    except OSError as error:
        if error.errno is None:
            return f"it cannot be read: {error}"
        raise StoreError(f"cannot read {str(chunk.path)!r}: {error.strerror}") from None
    if about.get("sweep") != sweep:
        raise UserError(
            f"{str(chunk.path)!r} belongs to another sweep than {MANIFEST} beside it: move it away"
        )
    lengths = {len(column) for column in columns.values()}
    sound = about.get("sha256") == _checksum(sweep, chunk.first, columns)
    if not sound or lengths != {chunk.stop - chunk.first}:
        return "its checksum differs"
    return None


def _checksum(sweep: str, first: int, columns: dict[str, np.ndarray]) -> str:
    total = hashlib.sha256(f"{sweep} {first}".encode())
    for name in VARIABLES:
        column = np.ascontiguousarray(columns[name])
        total.update(f"{name} {column.dtype.str} {column.shape}".encode())
        total.update(column.tobytes())
    return total.hexdigest()


def _leave_out(chunk: Chunk) -> str:
    return "are left out; the command or call that made the sweep computes them again"


def _set_aside(chunk: Chunk) -> str:
    aside = chunk.path.with_name(chunk.path.name + ".damaged")
    with suppress(OSError):
        chunk.path.replace(aside)
    return f"are computed again, and the file is now {aside.name}"


# --- reading ----------------------------------------------------------------------------------------


class Store:
    """The end states that a folder holds.

    `configuration` describes what was computed (problem, flow, sweep seed, dimension, dtype), `versions` by
    what, and `hash` is that of the configuration. The number of seeds is not a part of it: a sweep may be
    made longer. A chunk is checked when it is first read; if it is damaged, a warning names it and ends with
    what `on_damage` returns: what happens to its seeds.

    Raises UserError if the folder holds no sweep, one in another format, or a damaged manifest.
    """

    def __init__(self, folder: str | os.PathLike, on_damage: Callable[[Chunk], str] = _leave_out):
        self.folder = check_folder("folder", folder)
        self.configuration, self.versions, self.hash = read_manifest(self.folder)
        self._on_damage = on_damage
        self._sound: dict[Path, bool] = {}
        self._chunks = list_chunks(self.folder)

    def have(self, wanted: np.ndarray) -> np.ndarray:
        """Return which of the `wanted` seeds, (N,) whether each is, are in files that pass their checksum."""
        held = np.zeros(len(wanted), bool)
        for chunk in self._chunks:
            if wanted[chunk.first : chunk.stop].any() and self._is_sound(chunk):
                held[chunk.first : chunk.stop] = True
        return held & wanted

    def seeds(self) -> np.ndarray:
        """Return the seeds that are held, ascending."""
        last = max((chunk.stop for chunk in self._chunks), default=0)
        return np.flatnonzero(self.have(np.ones(last, bool)))

    def parts(self, names: tuple[str, ...], count: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield seeds below `count`, and these columns of them, a file at a time and no seed twice."""
        done = 0
        for chunk in self._chunks:
            begin, end = max(chunk.first, done), min(chunk.stop, count)
            if begin < end and self._is_sound(chunk):
                rows = slice(begin - chunk.first, end - chunk.first)
                columns = read_columns(chunk.path, names)
                yield np.arange(begin, end), *(column[rows] for column in columns)
                done = end

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield places in `seeds`, which may be in any order, and these columns of them, a file at a time."""
        missing = np.ones(len(seeds), bool)
        for chunk in self._chunks:
            places = np.flatnonzero(missing & (seeds >= chunk.first) & (seeds < chunk.stop))
            if len(places) and self._is_sound(chunk):
                missing[places] = False
                columns = read_columns(chunk.path, names)
                yield places, *(column[seeds[places] - chunk.first] for column in columns)

    def listed(self) -> int:
        """Return the number of seeds in all files."""
        return sum(chunk.stop - chunk.first for chunk in self._chunks)

    def add(self, chunk: Chunk) -> None:
        """Enter a chunk that has just been written, and needs no check."""
        self._sound[chunk.path] = True
        self._chunks = sorted({*self._chunks, chunk})

    def list_again(self) -> None:
        """Enter the chunks that other processes have added."""
        self._chunks = list_chunks(self.folder)

    def _is_sound(self, chunk: Chunk) -> bool:
        if chunk.path not in self._sound:
            damage = find_damage(chunk, self.hash)
            self._sound[chunk.path] = damage is None
            if damage is not None:
                warnings.warn(
                    f"{str(chunk.path)!r} is damaged ({damage}): its {chunk.stop - chunk.first} seeds "
                    f"{self._on_damage(chunk)}",
                    stacklevel=5,
                )
        return self._sound[chunk.path]


# --- writing ----------------------------------------------------------------------------------------


class StoreWriter:
    """The folder of a configuration, made if there is none, to be written to; `store` reads it.

    A damaged chunk is set aside, so that its seeds are computed again. Warns if other versions of the
    libraries have begun the sweep. Raises UserError if the folder cannot be made or written to, or holds
    another sweep: the message names the differences.
    """

    def __init__(self, folder: str | os.PathLike, configuration: dict):
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            # A folder that cannot be written to is refused before anything is computed.
            (self.folder / _PROBE).touch()
            write_manifest(self.folder, configuration)
        except OSError as error:
            raise UserError(
                f"cannot keep results in the folder {str(folder)!r}: {error.strerror}"
            ) from None
        self.store = Store(folder, _set_aside)
        differing = difference(self.store.configuration, configuration)
        if differing:
            raise UserError(
                f"the folder {str(folder)!r} holds another sweep ({differing}): name another folder, or "
                "remove this one"
            )
        others = difference(self.store.versions, library_versions())
        if others:
            warnings.warn(
                f"the sweep in {str(folder)!r} was begun by other versions ({others}): it continues, but the "
                "last bits of its numbers may be other ones than before",
                stacklevel=3,
            )

    @contextmanager
    def hold(self, shared: bool = False) -> Iterator[None]:
        """Hold the folder while writing to it: alone, or with others that compute shares of it.

        It is released when the process ends, however it ends. Raises UserError, naming the process that
        holds it, if one does; StoreError if it cannot be written to. Where files cannot be locked nothing is.
        """
        from ..runtime.locks import FolderInUseError, hold_folder  # reading does without filelock

        with ExitStack() as stack:
            try:
                stack.enter_context(hold_folder(self.folder, shared))
            except FolderInUseError as error:
                raise UserError(
                    f"the folder {str(self.folder)!r} is in use by {error.holder}: "
                    "wait until it has finished, or let processes share the sweep (--share)"
                ) from None
            except OSError as error:
                raise StoreError(self._unwritable(error)) from None
            if not shared:  # then nobody else is writing: these are of processes that were killed
                for unfinished in self.folder.glob(".seeds-*"):
                    with suppress(OSError):
                        unfinished.unlink()
            self.store.list_again()  # whoever held it before may have added some
            yield

    def put(self, first: int, ends: EndStates) -> None:
        """Keep the end states of seeds `first`, `first` + 1, …

        Raises StoreError if that is not possible: then no file of that name has come to be.
        """
        chunk = chunk_of(self.folder, first, first + len(ends.loss))
        try:
            write_chunk(chunk, self.store.hash, ends)
        except OSError as error:
            raise StoreError(self._unwritable(error)) from None
        self.store.add(chunk)

    def have(self, wanted: np.ndarray) -> np.ndarray:
        """Return which of the `wanted` seeds, (N,) whether each is, are in files that pass their checksum."""
        return self.store.have(wanted)

    def _unwritable(self, error: OSError) -> str:
        advice = {
            errno.ENOSPC: "make room on that disk",
            errno.EDQUOT: "make room in your quota",
        }.get(error.errno or 0, "make the folder writable")
        return (
            f"cannot write to {str(self.folder)!r}: {error.strerror or error}. The {self.store.listed():,} "
            f"seeds that it holds are kept; {advice}, and the same command or call resumes there"
        )
