"""The contents of a sweep's folder: a manifest, and a file for each chunk of seeds.

A chunk `seeds-00001024-00002047.npz` appears under its name only when it is whole (written aside, synced,
renamed), and is never written again. So an interruption costs what was being computed, and any number of
processes may write into a folder: a sweep resumes by computing what no file holds. A file carries a checksum
of its numbers. One that fails it is never read from: it is set aside, named in a warning, and computed again.
"""

import errno
import hashlib
import io
import json
import os
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..relaxation.outcomes import NOT_CONVERGED, EndStates
from ..runtime.arguments import check_folder
from ..runtime.errors import StoreError, UserError
from ..runtime.files import check_writable, write_whole
from .manifest import (
    FIRST_TIME_LIMIT,
    MANIFEST,
    VARIABLES,
    NotAFileError,
    difference,
    library_versions,
    read_file,
    read_json,
    read_manifest,
    write_manifest,
)

_NAME = re.compile(r"seeds-([0-9]{8,18})-([0-9]{8,18})\.npz")


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
    """Return the chunks of a folder in the order of their seeds. Files of other names are nothing to us."""
    named = ((_NAME.fullmatch(path.name), path) for path in folder.glob("seeds-*.npz"))
    found = (Chunk(int(name[1]), int(name[2]) + 1, path) for name, path in named if name)
    return sorted(
        chunk
        for chunk in found
        if chunk.first < chunk.stop and chunk.path == chunk_of(folder, chunk.first, chunk.stop).path
    )


def write_chunk(chunk: Chunk, sweep: str, ends: EndStates, time_limit: float) -> str:
    """Write end states of the sweep with this hash, followed until this time. Returns their checksum.

    Raises OSError; then no file of that name has come to be, or it is as it was.
    """
    columns = ends._asdict()
    checksum = _checksum(sweep, chunk.first, time_limit, columns)
    about = {
        "sweep": sweep,
        "time_limit": time_limit,
        "versions": library_versions(),
        "sha256": checksum,
    }
    seeds = np.arange(chunk.first, chunk.stop)
    write_whole(chunk.path, {"seed": seeds, **columns, "about": np.array(json.dumps(about))})
    return checksum


def _columns_of(content: bytes, names: tuple[str, ...]) -> list[np.ndarray]:
    """Return arrays of an archive. Of bytes that are none of ours NumPy and zipfile may raise anything."""
    file = io.BytesIO(content)
    with zipfile.ZipFile(file) as archive:
        # Ours are not compressed, so that no array is larger than its file.
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise ValueError("it is compressed")
    file.seek(0)
    with np.load(file, allow_pickle=False) as arrays:
        return [arrays[name] for name in names]


def read_columns(path: Path, names: tuple[str, ...], checksum: str) -> list[np.ndarray]:
    """Return columns of a chunk that has passed its checksum. Raises StoreError if it has another now."""
    try:
        *columns, about = _columns_of(read_file(path), (*names, "about"))
        same = read_json(str(about))["sha256"] == checksum  # pyright: ignore[reportIndexIssue]
    except Exception as error:
        raise StoreError(
            f"{str(path)!r} was whole when it was opened and cannot be read now: {error}"
        ) from None
    if not same:
        raise StoreError(
            f"{str(path)!r} has been written anew since the sweep was read, as with a larger time limit: "
            "read it again (ol.read_sweep)"
        )
    return columns


class Inspection(NamedTuple):
    """In words why the numbers of a chunk cannot be used, None if they can; their time limit and checksum."""

    damage: str | None
    time_limit: float = FIRST_TIME_LIMIT
    checksum: str = ""


def inspect_chunk(chunk: Chunk, sweep: str) -> Inspection:
    """Return whether the numbers of a chunk can be used.

    Raises UserError if it belongs to another sweep than the one with this hash, StoreError if the file
    cannot be opened.
    """
    try:
        content = read_file(chunk.path)
    except (NotAFileError, FileNotFoundError) as error:
        return Inspection(str(error))
    except OSError as error:
        raise StoreError(
            f"cannot read {str(chunk.path)!r}: {error.strerror}; make it readable, or move it away: its "
            f"{chunk.stop - chunk.first} seeds are then computed again"
        ) from None
    try:
        *values, about = _columns_of(content, (*VARIABLES, "about"))
        about = read_json(str(about))
        whose, checksum = about["sweep"], about["sha256"]  # pyright: ignore[reportIndexIssue]
        limit = float(about.get("time_limit", FIRST_TIME_LIMIT))  # pyright: ignore
    except Exception as error:
        return Inspection(f"it cannot be read: {error or type(error).__name__}")
    if whose != sweep:
        raise UserError(
            f"{str(chunk.path)!r} belongs to another sweep than {MANIFEST} beside it: move it away"
        )
    columns = dict(zip(VARIABLES, values, strict=True))
    if checksum != _checksum(sweep, chunk.first, limit, columns):
        return Inspection("its checksum differs")
    shapes = [(column.ndim, *column.shape[:1]) for column in values]
    if shapes != [(len(v.dimensions), chunk.stop - chunk.first) for v in VARIABLES.values()]:
        return Inspection("it holds other seeds than its name says")
    return Inspection(None, limit, checksum)


def _checksum(sweep: str, first: int, time_limit: float, columns: dict[str, np.ndarray]) -> str:
    limit = "" if time_limit == FIRST_TIME_LIMIT else f" {time_limit}"
    total = hashlib.sha256(f"{sweep} {first}{limit}".encode())
    for name in VARIABLES:
        column = np.ascontiguousarray(columns[name])
        total.update(f"{name} {column.dtype.str} {column.shape}".encode())
        total.update(column.tobytes())
    return total.hexdigest()


def _leave_out(chunk: Chunk) -> str:
    return "are left out; the command or call that made the sweep computes them again"


def _set_aside(chunk: Chunk) -> str:
    names = (f"{chunk.path.name}.damaged{n or ''}" for n in count())
    aside = next(a for name in names if not os.path.lexists(a := chunk.path.with_name(name)))
    try:
        chunk.path.rename(aside)
    except OSError:
        return "are computed again"
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
        self._inspected: dict[Path, Inspection] = {}
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
        # Of damaged ones not even the names are believed.
        last = max((chunk.stop for chunk in self._chunks if self._is_sound(chunk)), default=0)
        return np.flatnonzero(self.have(np.ones(last, bool)))

    def parts(self, names: tuple[str, ...], stop: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield seeds below `stop`, and these columns of them, a file at a time and no seed twice."""
        done = 0
        for chunk in self._chunks:
            begin, end = max(chunk.first, done), min(chunk.stop, stop)
            if begin < end and self._is_sound(chunk):
                rows = slice(begin - chunk.first, end - chunk.first)
                columns = self._columns(chunk, names)
                yield np.arange(begin, end), *(column[rows] for column in columns)
                done = end

    def rows(self, names: tuple[str, ...], seeds: np.ndarray) -> Iterator[tuple[np.ndarray, ...]]:
        """Yield places in `seeds`, which may be in any order, and these columns of them, a file at a time."""
        missing = np.ones(len(seeds), bool)
        for chunk in self._chunks:
            places = np.flatnonzero(missing & (seeds >= chunk.first) & (seeds < chunk.stop))
            if len(places) and self._is_sound(chunk):
                missing[places] = False
                columns = self._columns(chunk, names)
                yield places, *(column[seeds[places] - chunk.first] for column in columns)

    def listed(self) -> int:
        """Return the number of seeds in all files but those that are known to be damaged."""
        held = (chunk for chunk in self._chunks if not self._known_damage(chunk))
        return sum(chunk.stop - chunk.first for chunk in held)

    def unfinished(
        self, wanted: np.ndarray, limit: float
    ) -> Iterator[tuple[Chunk, EndStates, float]]:
        """Yield chunks of which some starts had not converged by a time limit below `limit`, with their end
        states and their limit. A chunk is wanted if its first seed is."""
        for chunk in self._chunks:
            wants = chunk.first < len(wanted) and wanted[chunk.first]
            if wants and self._is_sound(chunk) and self._inspected[chunk.path].time_limit < limit:
                ends = EndStates(*self._columns(chunk, EndStates._fields))
                if (ends.outcome == NOT_CONVERGED).any():
                    yield chunk, ends, self._inspected[chunk.path].time_limit

    def add(self, chunk: Chunk, time_limit: float, checksum: str) -> None:
        """Enter a chunk that has just been written, and needs no check."""
        self._inspected[chunk.path] = Inspection(None, time_limit, checksum)
        self._chunks = sorted({*self._chunks, chunk})

    def list_again(self) -> None:
        """Enter the chunks that other processes have added."""
        self._chunks = list_chunks(self.folder)

    def _columns(self, chunk: Chunk, names: tuple[str, ...]) -> list[np.ndarray]:
        return read_columns(chunk.path, names, self._inspected[chunk.path].checksum)

    def _known_damage(self, chunk: Chunk) -> str | None:
        return self._inspected.get(chunk.path, Inspection(None)).damage

    def _is_sound(self, chunk: Chunk) -> bool:
        if chunk.path not in self._inspected:
            self._inspected[chunk.path] = inspect_chunk(chunk, self.hash)
            damage = self._known_damage(chunk)
            if damage is not None:
                warnings.warn(
                    f"{str(chunk.path)!r} is damaged ({damage}): its {chunk.stop - chunk.first} seeds "
                    f"{self._on_damage(chunk)}",
                    stacklevel=5,
                )
        return self._known_damage(chunk) is None


# --- writing ----------------------------------------------------------------------------------------


class StoreWriter:
    """The folder of a configuration, made if there is none, to be written to; `store` reads it.

    A damaged chunk is set aside, so that its seeds are computed again. Warns if other versions of the
    libraries have begun the sweep. Raises UserError if the folder cannot be made or written to, or holds
    another sweep: the message names the differences.
    """

    def __init__(self, folder: str | os.PathLike, configuration: dict):
        self.folder, self.configuration = Path(folder), configuration
        self.time_limit: float = configuration["end"]
        try:
            # A folder that cannot be written to is refused before anything is computed.
            check_writable(self.folder)
            self.folder.mkdir(parents=True, exist_ok=True)
            write_manifest(self.folder, configuration)
        except OSError as error:
            with suppress(OSError):
                self.folder.rmdir()  # if it is empty
            raise UserError(
                f"cannot keep results in the folder {str(folder)!r}: {error.strerror}; allowed: a folder, or "
                "the name of a new one, where files can be written"
            ) from None
        self.store = Store(folder, _set_aside)
        there = self.store.configuration
        self._raised = self.time_limit > there.get("end", FIRST_TIME_LIMIT)
        differing = difference({**there, "end": self.time_limit}, configuration)
        if differing:
            raise UserError(
                f"the folder {str(folder)!r} holds another sweep ({differing}): name another folder, or "
                "remove this one"
            )
        if not self._raised and self.time_limit < there.get("end", FIRST_TIME_LIMIT):
            raise UserError(
                f"time_limit must be at least that of the sweep in {str(folder)!r}, {there['end']:g}, or be "
                f"kept in another folder; got {self.time_limit:g}"
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
            if self._raised:
                with self._reporting():
                    write_manifest(self.folder, self.configuration, replace=True)
            self.store.list_again()  # whoever held it before may have added some
            yield

    def put(self, first: int, ends: EndStates) -> None:
        """Keep the end states of seeds `first`, `first` + 1, …

        Raises StoreError if that is not possible: then no file of that name has come to be.
        """
        chunk = chunk_of(self.folder, first, first + len(ends.loss))
        with self._reporting():
            checksum = write_chunk(chunk, self.store.hash, ends, self.time_limit)
        self.store.add(chunk, self.time_limit, checksum)

    def have(self, wanted: np.ndarray) -> np.ndarray:
        """Return which of the `wanted` seeds, (N,) whether each is, are in files that pass their checksum."""
        return self.store.have(wanted)

    @contextmanager
    def _reporting(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise StoreError(self._unwritable(error)) from None

    def _unwritable(self, error: OSError) -> str:
        advice = {
            errno.ENOSPC: "make room on that disk",
            errno.EDQUOT: "make room in your quota",
            errno.EFBIG: "allow larger files (ulimit -f)",
        }.get(error.errno or 0, "make the folder writable")
        return (
            f"cannot write to {str(self.folder)!r}: {error.strerror or error}. The {self.store.listed():,} "
            f"seeds that it holds are kept; {advice}, and the same command or call resumes there"
        )
