"""Sweeps that are killed at random moments and go on: equal to the last bit to uninterrupted ones."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest

import odelandscape as ol

LONG = pytest.mark.slow
WAYS = {"cores": [], "workers": ["--workers", "2"]}


def command(width: int, seeds: int, out: Path, *more: str) -> list[str]:
    sizes = ["-K", str(width), "-M", str(width), "--seeds", str(seeds)]
    module = [sys.executable, "-m", "odelandscape", "sweep"]
    return [*module, *sizes, "--out", str(out), "--quiet", "--json", *more]


def identical(one: Path, other: Path, seeds: int) -> None:
    """All numbers of two folders, as bytes."""
    a, b = (ol.open_sweep(folder) for folder in (one, other))
    assert a.sizes["seed"] == seeds
    assert set(a.variables) == set(b.variables)
    for name in a.variables:
        assert a[name].dtype == b[name].dtype
        assert a[name].values.tobytes() == b[name].values.tobytes(), name


@pytest.fixture
def straight(tmp_path, request):
    """The folder of a sweep that nothing interrupts, and about how long its command takes."""
    width, seeds = request.param
    began = time.monotonic()
    sweep(width, seeds, tmp_path / "straight")
    return width, seeds, tmp_path / "straight", 2 + time.monotonic() - began


def sweep(width: int, seeds: int, folder: Path) -> ol.Sweep:
    problem = ol.Problem(width, width)
    return ol.sweep(problem, ol.GradientFlow(), seeds, store=folder, progress=False)


@pytest.mark.parametrize(
    ("straight", "kills"),
    [((3, 600), 2), pytest.param((17, 6000), 20, marks=LONG)],
    indirect=["straight"],
)
def test_a_killed_sweep_goes_on(straight, kills, tmp_path):
    width, seeds, truth, seconds = straight
    rng, out = random.Random(width), tmp_path / "killed"
    killed, whole = 0, 0
    while killed < kills:
        way = WAYS[rng.choice(list(WAYS))]
        run = subprocess.Popen(command(width, seeds, out, *way), stdout=subprocess.DEVNULL)
        try:
            run.wait(rng.uniform(0, seconds))
        except subprocess.TimeoutExpired:
            workers = psutil.Process(run.pid).children(recursive=True)
            run.send_signal(signal.SIGKILL)
            run.wait()
            killed += 1
            _, left = psutil.wait_procs(workers, timeout=20)
            assert not left  # workers end with their parent
            continue
        # It was finished first: right, and the next begins anew.
        assert run.returncode == 0
        identical(out, truth, seeds)
        shutil.rmtree(out)
        whole += 1
    subprocess.run(command(width, seeds, out), check=True, capture_output=True)
    identical(out, truth, seeds)
    assert not list(out.glob(".seeds-*"))
    print(f"{killed} kills, {whole} sweeps finished before one")


@pytest.mark.parametrize(
    ("straight", "kills"),
    [((3, 600), 1), pytest.param((17, 6000), 3, marks=LONG)],
    indirect=["straight"],
)
@pytest.mark.filterwarnings("ignore")  # Dask's own
def test_dask_workers_are_killed_and_nothing_is_lost(straight, kills, tmp_path):
    distributed = pytest.importorskip("distributed")
    width, seeds, truth, seconds = straight
    rng, out = random.Random(width), tmp_path / "dask"
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        run = subprocess.Popen(
            command(width, seeds, out, "--dask", cluster.scheduler_address),
            stdout=subprocess.DEVNULL,
        )
        for _ in range(kills):
            # Its first tasks have come.
            while not any(state.processing for state in cluster.scheduler.workers.values()):
                assert run.poll() is None
                time.sleep(0.05)
            time.sleep(rng.uniform(0, seconds / 4))
            busy = [state for state in cluster.scheduler.workers.values() if state.processing]
            assert run.poll() is None
            assert busy
            os.kill(cluster.workers[rng.choice(busy).name].process.pid, signal.SIGKILL)
        assert run.wait(600) == 0
    identical(out, truth, seeds)


# --- real disks -------------------------------------------------------------------------------------


@pytest.fixture
def tmpfs(tmp_path):
    """Mounts a file system in memory, of some size; a user who may not do that skips the test."""
    mounted = []

    def mount(options: str) -> Path:
        folder = tmp_path / "disk"
        folder.mkdir(exist_ok=True)
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True
        )
        if done.returncode:
            pytest.skip("needs the right to mount file systems")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="needs the command mount")
def test_a_disk_that_is_full_and_one_that_is_read_only(tmpfs, tmp_path):
    disk = tmpfs("size=300k")
    out = disk / "sweep"
    with pytest.raises(
        ol.StoreError, match=r"No space left.*holds are kept; make room on that disk"
    ):
        sweep(3, 6000, out)
    kept = ol.read_sweep(out)
    assert 0 < len(kept) < 6000
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(ValueError, match=r"cannot keep results.*Read-only file system"):
        sweep(3, 6000, out)
    np.testing.assert_array_equal(ol.read_sweep(out).loss, kept.loss)
    subprocess.run(["mount", "-o", "remount,rw,size=10m", str(disk)], check=True)
    sweep(3, 6000, out)
    sweep(3, 6000, tmp_path / "straight")
    identical(out, tmp_path / "straight", 6000)


HOLDER = """
import sys, time
from odelandscape.sweeps.store import Store, StoreWriter
folder, shared = sys.argv[1:]
with StoreWriter(folder, Store(folder).configuration).hold(shared == "shared"):
    print("held", flush=True)
    time.sleep(100)
"""


def held_by_another(folder: Path, how: str) -> subprocess.Popen:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder), how], stdout=subprocess.PIPE
    )
    assert other.stdout.readline() == b"held\n"
    return other


def test_two_processes_on_one_folder(tmp_path):
    sweep(3, 40, tmp_path)
    with held_by_another(tmp_path, "alone") as other:
        with pytest.raises(ValueError, match=f"in use by process {other.pid} on .*wait until"):
            sweep(3, 60, tmp_path)
        assert len(ol.read_sweep(tmp_path)) == 40  # readers need no lock
        other.kill()
    assert len(sweep(3, 60, tmp_path)) == 60


def test_shares_of_killed_processes_hold_no_folder(tmp_path):
    sweep(3, 40, tmp_path)
    share = (1, 1), tmp_path, 50
    arguments = ol.Problem(3, 3), ol.GradientFlow(), *share
    with held_by_another(tmp_path, "shared") as one, held_by_another(tmp_path, "shared") as two:
        assert ol.sweep_share(*arguments, progress=False) == 10
        one.kill()
        one.wait()
        with pytest.raises(ValueError, match=f"in use by process {two.pid} on "):
            sweep(3, 60, tmp_path)
        two.kill()
    assert len(sweep(3, 60, tmp_path)) == 60
    assert not list(tmp_path.glob(".shared_*"))
