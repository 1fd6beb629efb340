"""Stores under damage: the same numbers, or the file that is damaged and what to do.

The truth is the end states that were written, which are drawn from their seeds (`sweeps.made_up`).
"""

import multiprocessing
import os
import re
import shutil
import threading
import warnings
import zipfile

import numpy as np
import pytest
from hostile.commands import answer, refusal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sweeps.made_up import CONFIGURATION, check, ends, filled, share

import odelandscape as ol
from odelandscape.cli.show import export
from odelandscape.relaxation.outcomes import blank
from odelandscape.runtime.files import write_whole
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.manifest import MANIFEST
from odelandscape.sweeps.store import Store, StoreWriter
from odelandscape.sweeps.tasks import seed_ranges

FIRST, SECOND = "seeds-00000000-00000004.npz", "seeds-00000005-00000009.npz"
NAMES = (MANIFEST, FIRST, SECOND)


def held(folder) -> tuple[set[int], str]:
    """The seeds that a folder holds, whose numbers are checked, and all that was said."""
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        try:
            store = Store(folder)
            seeds = store.seeds()
            check(store, seeds)
        except (ol.UserError, ol.StoreError) as error:
            return set(), str(error)
    return set(seeds.tolist()), " ".join(str(one.message) for one in shown)


def completed(folder) -> list[tuple[int, int]]:
    """Do what a sweep does: compute what is missing. Returns the ranges."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        writer = StoreWriter(folder, CONFIGURATION)
        with writer.hold():
            ranges = seed_ranges(~writer.have(np.ones(10, bool)), 5)
            for first, stop in ranges:
                writer.put(first, ends(first, stop))
            check(Store(folder), range(10))
    return ranges


def _flip(content: bytes, place: int) -> bytes:
    at = place % len(content)
    return content[:at] + bytes([content[at] ^ (1 << place % 8)]) + content[at + 1 :]


DAMAGES = {
    "a byte flipped": _flip,
    "truncated": lambda content, place: content[: place % len(content)],
    "missing": lambda content, place: None,
    "bytes added": lambda content, place: content + bytes([place % 256]) * (1 + place % 700),
    "bytes before": lambda content, place: bytes([place % 256]) * (1 + place % 700) + content,
    "a part twice": lambda content, place: content + content[: place % len(content)],
    "zeros": lambda content, place: bytes(len(content)),
    "empty": lambda content, place: b"",
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    filled(folder, (0, 5), (5, 10))
    return folder


@settings(
    derandomize=True,
    max_examples=120,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    name=st.sampled_from(NAMES),
    damage=st.sampled_from(sorted(DAMAGES)),
    place=st.integers(0, 2**31),
)
def test_any_damage_of_any_file_gives_the_same_numbers_or_names_the_file(
    whole, tmp_path, name, damage, place
):
    folder = tmp_path / "sweep"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    path = folder / name
    content = DAMAGES[damage](path.read_bytes(), place)
    path.unlink() if content is None else path.write_bytes(content)
    seeds, said = held(folder)
    ranges = {FIRST: set(range(5)), SECOND: set(range(5, 10))}
    missing = set(range(10)) - seeds
    if missing and damage != "missing":
        assert name in said
        assert any(word in said for word in ("computes them again", "remove it", "format"))
    if name == MANIFEST:
        assert missing in (set(), set(range(10)))
        if missing:  # as the message says: and no seed is computed again
            path.unlink(missing_ok=True)
            missing = set()
    else:
        assert missing in (set(), ranges[name])
    # A sweep into it computes those again, and no others.
    again = {seed for first, stop in completed(folder) for seed in range(first, stop)}
    assert again == missing


# --- files that are none of ours --------------------------------------------------------------------------


def _npy(path):
    with path.open("wb") as file:
        np.save(file, np.zeros(5))


def _pickled(path):
    with path.open("wb") as file:
        np.savez(file, loss=np.array([{}], dtype=object))


def _bomb(path):
    """Far more zeros than its bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("loss.npy", "w", force_zip64=True) as file:
            for _ in range(128):
                file.write(bytes(2**20))


def _claims(path):
    """An array whose header claims more numbers than there is memory for."""
    with zipfile.ZipFile(path, "w") as archive:
        header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000000,), }"
        size = len(header).to_bytes(2, "little")
        for name in ("outcome", "loss", "about"):
            archive.writestr(f"{name}.npy", b"\x93NUMPY\x01\x00" + size + header)


def _encrypted(path):
    filled(path.parent / "other", (0, 5))
    content = bytearray((path.parent / "other" / FIRST).read_bytes())
    for entry in re.finditer(b"PK\x01\x02", bytes(content)):
        content[entry.start() + 8] |= 1
    path.write_bytes(content)


NO_CHUNKS = {
    "an array": _npy,
    "pickles": _pickled,
    "a bomb": _bomb,
    "a claim": _claims,
    "encrypted": _encrypted,
    "text": lambda path: path.write_text("no archive"),
    "a folder": lambda path: (path.mkdir(), (path / "mine").touch()),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "another's seeds": lambda path: shutil.copy(path.with_name(SECOND), path),
}


@pytest.mark.parametrize("kind", NO_CHUNKS)
def test_what_is_no_chunk_but_has_its_name_is_named_and_set_aside(kind, tmp_path):
    """A stray file must neither stop a sweep nor be deleted, nor be waited for."""
    filled(tmp_path, (5, 10))
    NO_CHUNKS[kind](tmp_path / FIRST)
    seeds, said = held(tmp_path)
    assert seeds == set(range(5, 10))
    assert f"{FIRST}' is damaged" in said
    assert completed(tmp_path) == [(0, 5)]
    assert os.path.lexists(tmp_path / f"{FIRST}.damaged")
    assert held(tmp_path) == (set(range(10)), "")
    # A second one of that name does not replace the first that was set aside.
    (tmp_path / FIRST).write_bytes(b"again")
    assert completed(tmp_path) == [(0, 5)]
    assert os.path.lexists(tmp_path / f"{FIRST}.damaged1")


@pytest.mark.parametrize(
    "name",
    [
        "seeds-00000000-00000004 (1).npz",
        "seeds-00000000-00000004.npz.part",
        "seeds-0-4.npz",
        "seeds-00000004-00000000.npz",
        "seeds--0000001-00000004.npz",
        "seeds-000000000-000000004.npz",
        "seeds-٠٠٠٠٠٠٠٠-٠٠٠٠٠٠٠٤.npz",
        "seeds-copy.npz",
        "seeds.npz",
        "notes.txt",
    ],
)
def test_stray_files_are_nothing_to_us(name, tmp_path):
    """Names that are almost ours: a browser's copy, an editor's, a person's."""
    filled(tmp_path, (0, 5), (5, 10))
    shutil.copy(tmp_path / FIRST, tmp_path / name)
    assert held(tmp_path) == (set(range(10)), "")
    assert completed(tmp_path) == []
    assert (tmp_path / name).exists()


def test_names_are_not_believed(tmp_path):
    """A file's name may promise more seeds than there is memory for their list."""
    filled(tmp_path, (0, 5))
    shutil.copy(tmp_path / FIRST, tmp_path / "seeds-00000005-99999999999999.npz")
    seeds, said = held(tmp_path)
    assert seeds == set(range(5))
    assert "seeds-00000005-99999999999999.npz' is damaged" in said


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
@pytest.mark.parametrize("name", NAMES)
def test_a_file_that_may_not_be_read_is_named(name, tmp_path):
    filled(tmp_path, (0, 5), (5, 10))
    (tmp_path / name).chmod(0)
    _, said = held(tmp_path)
    assert name in said
    assert "make it readable" in said


# --- exports ------------------------------------------------------------------------------------------------


def test_another_sweep_is_called_so_whatever_its_time_limit(tmp_path):
    StoreWriter(tmp_path, {**CONFIGURATION, "end": 3e4})
    with pytest.raises(ol.UserError, match=r"another sweep \(seed is"):
        StoreWriter(tmp_path, {**CONFIGURATION, "seed": CONFIGURATION["seed"] + 1})


def test_an_export_makes_its_folder(tmp_path):
    filled(folder := tmp_path / "sweep", (0, 5))
    file = tmp_path / "new" / "ends.nc"
    export(folder, file)
    assert file.is_file()


def test_an_export_replaces_nothing_unless_it_may(tmp_path):
    folder, file = tmp_path / "sweep", tmp_path / "notes.nc"
    problem = ol.Problem(3, 2)
    writer = StoreWriter(folder, configuration(problem, ol.GradientFlow(), 0, 2))
    everywhere = ends(0, 10)
    writer.put(0, everywhere._replace(loss=np.abs(everywhere.loss)))
    file.write_text("years of work")
    command = ["show", str(folder), "--export", str(file)]
    assert "exists" in refusal(*command)
    assert file.read_text() == "years of work"
    assert answer(*command, "--overwrite", "--quiet").err == ""
    first = file.read_bytes()
    assert first[1:4] == b"HDF"
    assert "exists" in refusal(*command)
    assert file.read_bytes() == first
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    # A folder that no export has made is never removed.
    for name in ("data.zarr", "data.nc"):
        mine = tmp_path / name
        mine.mkdir()
        (mine / "mine").touch()
        line = refusal("show", str(folder), "--export", str(mine), "--overwrite")
        assert "not what an export makes" in line or "needs zarr" in line
        assert (mine / "mine").exists()


# --- at the same time ---------------------------------------------------------------------------------------


def test_threads_that_write_one_file_have_temporary_names_of_their_own(tmp_path):
    """Host and process are the same for them."""
    failed = []
    barrier = threading.Barrier(8)

    def write(number: int) -> None:
        barrier.wait()
        try:
            for _ in range(20):
                write_whole(tmp_path / "file", str(number) * 10_000, first=number % 2 == 0)
                content = (tmp_path / "file").read_text()
                assert len(set(content)) == 1
                assert len(content) == 10_000
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("kind", [threading.Thread, multiprocessing.get_context("spawn").Process])
def test_four_at_a_time_make_one_new_folder_and_the_same_seeds(kind, tmp_path):
    folder = tmp_path / "new" / "folder"
    several = [kind(target=share, args=(folder, number)) for number in range(4)]
    for one in several:
        one.start()
    for one in several:
        one.join()
        assert getattr(one, "exitcode", 0) == 0
    check(Store(folder), range(40))
    assert {path.name for path in folder.iterdir() if path.name.startswith(".")} <= {".lock"}


def test_four_threads_of_shares_fill_one_new_folder(tmp_path, monkeypatch):
    problem, failed = ol.Problem(1, 1), []
    monkeypatch.setattr(
        "odelandscape.sweeps.tasks._relax", lambda sweep, seeds, *_: blank(len(seeds), 1, 1)
    )

    def relax(number: int) -> None:
        try:
            ol.sweep_share(
                problem, ol.GradientFlow(), (number, 4), tmp_path / "new", 512, progress=False
            )
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=relax, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert len(ol.read_sweep(tmp_path / "new")) == 512
