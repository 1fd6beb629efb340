"""Files of a store: whole or absent, checked when they are read, and never another sweep's."""

import errno
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
import xarray
from sweeps.made_up import CONFIGURATION, check, ends, filled

import odelandscape as ol
from odelandscape.relaxation.outcomes import EndStates
from odelandscape.runtime import locks
from odelandscape.runtime.files import write_whole
from odelandscape.sweeps import store
from odelandscape.sweeps.manifest import MANIFEST, VARIABLES
from odelandscape.sweeps.store import Store, StoreWriter


def test_end_states_are_read_by_part_by_row_and_as_a_dataset(tmp_path):
    filled(tmp_path, (20, 30), (0, 10), (8, 15))  # out of order, and two seeds twice
    held = Store(tmp_path)
    seeds = [*range(15), *range(20, 30)]
    check(held, seeds)
    wanted = np.array([25, 3, 3, 9, 17])
    found = {
        int(wanted[place]): loss
        for places, some in held.rows(("loss",), wanted)
        for place, loss in zip(places, some, strict=True)
    }
    assert found == {seed: ends(seed, seed + 1).loss[0] for seed in (25, 3, 9)}
    data = ol.open_sweep(tmp_path)
    np.testing.assert_array_equal(data.seed, seeds)
    expected = ends(0, 30)
    for name, column in expected._asdict().items():
        np.testing.assert_array_equal(data[name], column[seeds])
    np.testing.assert_array_equal(
        data.weights.sel(seed=[25, 3])[:, 1, [1, 0]], expected.weights[[25, 3], 1][:, [1, 0]]
    )
    assert data.weights.sel(seed=9, student=2, coordinate=1) == expected.weights[9, 2, 1]
    assert data.weights.dims == ("seed", "student", "coordinate")
    assert data.time.attrs["units"] == "flow time"
    assert json.loads(data.attrs["configuration"]) == CONFIGURATION


def test_a_dataset_is_read_where_it_is_indexed(tmp_path, monkeypatch):
    filled(tmp_path, (0, 10), (10, 20))
    data, read = ol.open_sweep(tmp_path), []
    real = store.read_columns

    def counted(path, names, checksum):
        read.append((path.name, names))
        return real(path, names, checksum)

    monkeypatch.setattr(store, "read_columns", counted)
    data.isel(seed=slice(5, 15))
    assert not read
    assert data.loss[13] == ends(13, 14).loss[0]
    assert read == [("seeds-00000010-00000019.npz", ("loss",))]


@pytest.mark.parametrize("name", ["all.nc", "all.zarr"])
def test_one_file_holds_the_whole_dataset(tmp_path, name, monkeypatch):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    filled(tmp_path / "sweep", (0, 10), (10, 20))
    from odelandscape.cli.show import export

    export(tmp_path / "sweep", tmp_path / name)
    engine = "h5netcdf" if name.endswith("nc") else "zarr"
    with xarray.open_dataset(tmp_path / name, engine=engine) as again:
        xarray.testing.assert_equal(again.load(), ol.open_sweep(tmp_path / "sweep").load())
        assert again.loss.attrs["units"] == "1"


def test_files_need_no_pickle_and_say_what_they_are(tmp_path):
    filled(tmp_path, (0, 5))
    with np.load(tmp_path / "seeds-00000000-00000004.npz", allow_pickle=False) as file:
        assert set(file) == {"seed", *EndStates._fields, "about"}
        assert file["outcome"][1] == "local_minimum"
        assert {"sweep", "time_limit", "versions", "sha256"} == set(json.loads(str(file["about"])))
    manifest = json.loads((tmp_path / MANIFEST).read_text(encoding="utf-8"))
    assert manifest["configuration"] == CONFIGURATION
    assert manifest["variables"]["weights"]["dimensions"] == ["seed", "student", "coordinate"]
    assert {"odelandscape", "jax", "jaxlib", "numpy", "python"} == set(manifest["versions"])


# --- damage ---------------------------------------------------------------------------------------


def test_any_flipped_byte_is_noticed_or_changes_no_number(tmp_path):
    filled(tmp_path, (0, 5))
    path = tmp_path / "seeds-00000000-00000004.npz"
    whole, noticed = path.read_bytes(), 0
    for place in np.random.default_rng(0).choice(len(whole), 400, replace=False):
        damaged = bytearray(whole)
        damaged[place] ^= 0x41
        path.write_bytes(damaged)
        with warnings.catch_warnings(record=True) as shown:
            warnings.simplefilter("always")
            held = Store(tmp_path)
            seeds = held.seeds()
        if len(seeds):  # in a part of the archive that carries no numbers
            check(held, range(5))
            continue
        noticed += 1
        assert "seeds-00000000-00000004.npz' is damaged" in str(shown[-1].message)
    assert noticed > 250


@pytest.mark.parametrize("length", [0, 1, 100, 2000, -1])
def test_a_truncated_chunk_is_named_set_aside_and_can_be_written_again(tmp_path, length):
    filled(tmp_path, (0, 5), (5, 10))
    path = tmp_path / "seeds-00000000-00000004.npz"
    path.write_bytes(path.read_bytes()[:length])
    with pytest.warns(UserWarning, match=r"seeds-00000000-00000004.npz' is damaged.*left out"):
        check(Store(tmp_path), range(5, 10))
    writer = StoreWriter(tmp_path, CONFIGURATION)
    with pytest.warns(UserWarning, match=r"is damaged.*5 seeds are computed again.*npz\.damaged"):
        assert list(np.flatnonzero(~writer.have(np.ones(10, bool)))) == [0, 1, 2, 3, 4]
    assert path.with_name(path.name + ".damaged").exists()
    writer.put(0, ends(0, 5))
    check(Store(tmp_path), range(10))


def test_a_chunk_under_another_name_is_noticed(tmp_path):
    filled(tmp_path, (0, 5))
    (tmp_path / "seeds-00000000-00000004.npz").rename(tmp_path / "seeds-00000005-00000009.npz")
    with pytest.warns(UserWarning, match="its checksum differs"):
        assert len(Store(tmp_path).seeds()) == 0


def test_a_chunk_of_another_sweep_is_refused(tmp_path):
    filled(tmp_path / "a", (0, 5))
    filled(tmp_path / "b", (5, 10), configuration=CONFIGURATION | {"seed": 1})
    (tmp_path / "b" / "seeds-00000005-00000009.npz").rename(
        tmp_path / "a" / "seeds-00000005-00000009.npz"
    )
    with pytest.raises(ValueError, match="belongs to another sweep"):
        Store(tmp_path / "a").seeds()


def test_a_file_that_goes_bad_after_it_was_checked_gives_no_number(tmp_path):
    writer = filled(tmp_path, (0, 5))
    path = tmp_path / "seeds-00000000-00000004.npz"
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(ol.StoreError, match="cannot be read now"):
        list(writer.store.parts(("loss",), 5))


# --- the manifest -----------------------------------------------------------------------------------


def rewritten(folder, change) -> None:
    path = folder / MANIFEST
    manifest = json.loads(path.read_text(encoding="utf-8"))
    change(manifest)
    path.write_text(json.dumps(manifest), encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 1}, r"\(seed is 0 there and 1 here\)"),
        ({"slope": 0.2}, r"\(slope is 0.1 there and 0.2 here\)"),
        ({"flow": {"name": "NormalisedFlow"}}, r"flow is .*GradientFlow.* there and .*Normalised"),
        ({"teachers": 3, "seed": 2}, r"teachers is 2 there and 3 here; seed is 0 there and 2 here"),
        ({"new": True}, r"new is null there and true here"),
    ],
)
def test_another_configuration_is_refused_with_the_difference(tmp_path, change, message):
    filled(tmp_path, (0, 5))
    with pytest.raises(ValueError, match=f"holds another sweep.*{message}"):
        StoreWriter(tmp_path, CONFIGURATION | change)
    check(Store(tmp_path), range(5))


def test_the_last_bits_of_a_configuration_may_be_another_machine_s(tmp_path):
    filled(tmp_path, (0, 5))
    writer = StoreWriter(tmp_path, CONFIGURATION | {"slope": np.nextafter(0.1, 1)})
    writer.put(5, ends(5, 10))
    check(Store(tmp_path), range(10))


def test_other_versions_of_the_libraries_are_named_in_a_warning_and_go_on(tmp_path):
    filled(tmp_path, (0, 5))
    rewritten(tmp_path, lambda manifest: manifest["versions"].update(jax="0.9.9"))
    with pytest.warns(UserWarning, match=r'jax is "0.9.9" there and .* here'):
        writer = StoreWriter(tmp_path, CONFIGURATION)
    check(writer.store, range(5))


def test_another_format_is_refused_with_what_made_it(tmp_path):
    filled(tmp_path, (0, 5))
    rewritten(tmp_path, lambda manifest: manifest.update(format=2))
    for opened in (Store, ol.open_sweep, ol.read_sweep):
        with pytest.raises(ValueError, match=r"is in format 2; .* reads and writes format 1.*jax"):
            opened(tmp_path)
    with pytest.raises(ValueError, match="is in format 2"):
        StoreWriter(tmp_path, CONFIGURATION)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        lambda path: path.write_bytes(b"\xff\xfe\x00"),
        lambda path: path.write_text(path.read_text().replace('"seed": 0', '"seed": 3')),
    ],
)
def test_a_damaged_manifest_is_refused_and_can_be_written_anew(tmp_path, spoil):
    filled(tmp_path, (0, 5))
    spoil(tmp_path / MANIFEST)
    with pytest.raises(ValueError, match=r"sweep.json' is damaged .*: remove it"):
        Store(tmp_path)
    (tmp_path / MANIFEST).unlink()
    check(StoreWriter(tmp_path, CONFIGURATION).store, range(5))


def test_a_folder_without_a_sweep_is_refused(tmp_path):
    for opened in (Store, ol.open_sweep, ol.read_sweep):
        with pytest.raises(ValueError, match=r"holds no sweep \(sweep.json\)"):
            opened(tmp_path)
    filled(tmp_path)
    with pytest.raises(ValueError, match="no finished seeds yet"):
        ol.open_sweep(tmp_path)


def test_of_two_manifests_written_at_a_time_one_stays(tmp_path):
    write_whole(tmp_path / "file", "one", first=True)
    write_whole(tmp_path / "file", "two", first=True)
    assert (tmp_path / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


# --- disks and other processes ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "message"),
    [
        (errno.ENOSPC, "No space left.*10 seeds that it holds are kept; make room"),
        (errno.EROFS, "Read-only file system.*10 seeds.*make the folder writable"),
    ],
)
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_changes_nothing(tmp_path, monkeypatch, number, message, call):
    writer = filled(tmp_path, (0, 10))

    def refused(*_):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        owner = os if call == "fsync" else type(tmp_path)
        patch.setattr(owner, call, refused)
        with pytest.raises(ol.StoreError, match=message):
            writer.put(10, ends(10, 20))
    assert not list(tmp_path.glob(".seeds*"))
    check(Store(tmp_path), range(10))
    writer.put(10, ends(10, 20))
    check(Store(tmp_path), range(20))


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_read_only_folder_can_be_read_and_is_not_written_to(tmp_path):
    filled(tmp_path, (0, 10))
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(ValueError, match="cannot keep results"):
            StoreWriter(tmp_path, CONFIGURATION)
        check(Store(tmp_path), range(10))
    finally:
        tmp_path.chmod(0o700)


def test_a_folder_is_held_by_one_or_shared_by_many(tmp_path):
    one, other = filled(tmp_path, (0, 5)), StoreWriter(tmp_path, CONFIGURATION)
    with one.hold():
        for shared in (False, True):
            with pytest.raises(
                ValueError, match=rf"in use by process {os.getpid()} on .* \(since "
            ):
                other.hold(shared).__enter__()
    with one.hold(shared=True), other.hold(shared=True):
        with pytest.raises(ValueError, match="in use by process"):
            StoreWriter(tmp_path, CONFIGURATION).hold().__enter__()
    with other.hold():
        check(other.store, range(5))
    assert not list(tmp_path.glob(".*_*.lock"))


def test_a_folder_whose_files_cannot_be_locked_is_not_held(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    one, other = filled(tmp_path, (0, 5)), StoreWriter(tmp_path, CONFIGURATION)
    monkeypatch.setattr(locks.FileLock, "_acquire", refused)
    with one.hold(), other.hold():
        pass
    assert not list(tmp_path.glob(".*_*.lock"))


def test_a_gate_that_stays_locked_is_reported(tmp_path, monkeypatch):
    writer = filled(tmp_path, (0, 5))
    monkeypatch.setattr(locks, "_GATE_SECONDS", 0.1)
    with locks.FileLock(tmp_path / locks.GATE):
        with pytest.raises(ValueError, match="in use by another process"):
            writer.hold().__enter__()


def test_unfinished_files_of_killed_processes_are_removed(tmp_path):
    writer = filled(tmp_path, (0, 5))
    (tmp_path / ".seeds-00000005-00000009.npz.host-123").write_bytes(b"half")
    (tmp_path / ".alone_host_123_20260101T000000_0123abcd.lock").touch()
    check(Store(tmp_path), range(5))
    with writer.hold(shared=True):
        assert len(list(tmp_path.glob(".seeds-*"))) == 1  # it may be another's, just being written
    with writer.hold():
        assert not list(tmp_path.glob(".seeds-*"))
        assert len(list(tmp_path.glob(".alone_*"))) == 1  # its own


# --- reading alone ------------------------------------------------------------------------------------

READ_ALONE = """
import sys
jax = "jax", "jaxlib", "equinox", "diffrax", "optimistix", "lineax", "jaxtyping", "optax"
for name in (*jax, "scipy", "matplotlib", "lazy_loader", "filelock", "tabulate", "tqdm", "threadpoolctl"):
    sys.modules[name] = None  # importing it fails
from odelandscape.sweeps import read
data = read.open_sweep(sys.argv[1])
print(data.sizes["seed"], float(data.loss.where(data.outcome == "local_minimum").max()))
"""


def test_a_sweep_is_read_where_only_numpy_and_xarray_are_installed(tmp_path):
    filled(tmp_path, (0, 10))
    arguments = [sys.executable, "-c", READ_ALONE, str(tmp_path)]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    seeds, largest = done.stdout.split()
    assert seeds == "10"
    all_ends = ends(0, 10)
    assert float(largest) == all_ends.loss[all_ends.outcome == "local_minimum"].max()


def test_each_column_is_described():
    assert tuple(VARIABLES) == EndStates._fields
