"""The commands `sweep` and `show`."""

import json
import os
import re
import subprocess
import sys

import pytest

from odelandscape.cli.main import main
from odelandscape.sweeps import tasks

SWEEP = ["sweep", "-K", "2", "-M", "2", "--seeds", "40", "--quiet"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-K 0 -M 10", r"-K.*got '0'; allowed: whole numbers from 1"),
        ("-K 10 -M -3", r"-M.*got '-3'; allowed: whole numbers from 1"),
        ("-K ten -M 10", r"-K.*got 'ten'; allowed: whole numbers"),
        ("-K 2.5 -M 10", r"-K.*got '2.5'"),
        ("-M 10", r"required: -K"),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 --flow sgdd", r"--flow: got 'sgdd'; allowed: gd, ngd.*module:object"),
        ("-K 5 -M 5 --activation tanh", r"--activation: got 'tanh'; allowed: relu.*module:object"),
        ("-K 5 -M 5 --activation nowhere:Tanh", r"--activation: .*'nowhere:Tanh'"),
        ("-K 5 -M 5 --activation jax.nn:tanh", r"--activation: .*'jax.nn:tanh'"),
        ("-K 5 -M 5 --activation jax.nn:none", r"--activation: .*'none'"),
        ("-K 5 -M 5 --activation :", r"--activation: got ':'"),
        ("-K 5 -M 5 --flow odelandscape:ReLU", r"--flow: .*'odelandscape:ReLU'"),
        ("-K 5 -M 5 --flow odelandscape:AbstractFlow", r"--flow: .*mixing"),
        ("-K 5 -M 5 --learning-rate 0.2", r"--learning-rate: .*sgd"),
        ("-K 5 -M 5 --seeds -1", r"--seeds.*got '-1'"),
        ("-K 5 -M 5 --seeds 0", r"--seeds.*got '0'"),
        ("-K 5 -M 5 --seed -1", r"--seed.*got '-1'"),
        (
            f"-K 5 -M 5 --seed {2**63}",
            r"--seed.*got '9.*8'; allowed: whole numbers from 0 to 9.*7$",
        ),
        ("-K 5 -M 5 --slope nan --activation leaky-relu", r"--slope.*got 'nan'"),
        ("-K 5 -M 5 --slope 0.2", r"--slope: .*leaky-relu"),
        ("-K 6 -M 5 --flow ongd", r"K ≤ d"),
        ("-K 5 -M 5 --workers 0", r"--workers.*got '0'"),
        ("-K 5 -M 5 --share 5/4", r"--share.*got '5/4'; allowed: I/N with I from 1 to N"),
        ("-K 5 -M 5 --share 3", r"--share.*got '3'"),
        ("-K 5 -M 5 --share 1/2 --workers 2", r"--workers.*not allowed with.*--share"),
        ("-K 5 -M 5 --dask nowhere", r"--dask: no scheduler at 'nowhere'"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(arguments, message, refused):
    assert re.search(message, refused(f"sweep {arguments}"))


def test_a_folder_that_cannot_be_written_is_reported_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["sweep", "-K", "2", "-M", "2", "--out", str(tmp_path / "file" / "x")]) == 2
    error = capsys.readouterr().err
    assert "cannot keep results in the folder" in error
    assert len(error.strip().splitlines()) == 1


def test_shares_and_then_the_table_and_again_without_computing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tasks, "_LEAST", 8)
    out, shares = tmp_path / "out", []
    for share in ("1/2", "2/2"):
        assert main([*SWEEP, "--out", str(out), "--share", share, "--json"]) == 0
        shares.append(json.loads(capsys.readouterr().out))
    assert sum(one["seeds"] for one in shares) == 40
    assert main(["show", str(out), "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    monkeypatch.setattr(tasks, "relax", None)
    assert main([*SWEEP, "--out", str(out), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    seconds = ("seconds", "seconds_compiling")
    assert [shown.pop(name) for name in seconds] == [None, None]
    assert {name: value for name, value in report.items() if name not in seconds} == shown
    exported = tmp_path / "all.nc"
    assert main(["show", str(out), "--export", str(exported)]) == 0
    assert exported.exists()
    assert "global minimum" in capsys.readouterr().out
    assert (out / "losses.png").exists()


def test_show_exports_to_two_formats_only(refused):
    message = refused("show folder --export all.csv")
    assert re.search(r"--export: got 'all.csv'; allowed: a name that ends in .nc or .zarr", message)


def test_results_that_cannot_be_written_are_printed(tmp_path, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    out = tmp_path / "out"
    assert main([*SWEEP, "--out", str(out)]) == 0
    table = capsys.readouterr().out
    monkeypatch.setattr("odelandscape.runtime.files.write_whole", full)
    assert main([*SWEEP, "--out", str(out)]) == 1
    again = capsys.readouterr()
    assert again.out.splitlines()[1:] == table.splitlines()[1:]
    assert re.match(r"odelandscape sweep: the end states are kept, .*No space left", again.err)
    assert len(again.err.splitlines()) == 1


def test_show_refuses_a_folder_without_a_sweep(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no sweep" in capsys.readouterr().err


def test_an_interrupted_sweep_continues(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("odelandscape.sweep", interrupted)
    assert main([*SWEEP, "--out", str(tmp_path)]) == 130
    assert "the same command continues from there" in capsys.readouterr().err


def test_warnings_are_lines_for_people(tmp_path, capsys):
    out = tmp_path / "out"
    assert main([*SWEEP, "--out", str(out)]) == 0
    (path,) = out.glob("seeds-*.npz")
    path.write_bytes(path.read_bytes()[:500])
    before = capsys.readouterr().out
    assert main([*SWEEP, "--out", str(out)]) == 0
    again = capsys.readouterr()
    assert re.match(r"odelandscape sweep: '.*' is damaged .*40 seeds are computed again", again.err)
    assert len(again.err.splitlines()) == 1
    assert again.out.splitlines()[1:] == before.splitlines()[1:]


def test_the_whole_command(tmp_path):
    command = [
        sys.executable,
        "-m",
        "odelandscape",
        "sweep",
        *"-K 2 -M 2 --seeds 40 --json".split(),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, env=os.environ, capture_output=True, text=True, check=True
    )
    report = json.loads(done.stdout)  # exactly one object
    assert report["students"] == report["teachers"] == 2
    assert report["seeds"] == 40
    assert set(report["outcomes"]) == {
        *("global_minimum", "local_minimum", "marginal", "saddle", "not_converged", "failed")
    }
    assert sum(outcome["count"] for outcome in report["outcomes"].values()) == 40
    low, high = report["outcomes"]["global_minimum"]["ci95"]
    assert 0 <= low <= report["outcomes"]["global_minimum"]["fraction"] <= high <= 1
    family = report["families"][0]
    assert {"branch", "anti_aligned", "loss", "count", "smallest_eigenvalue"} <= set(family)
    assert report["slope"] is None  # ReLU has no such number
    assert 0 < report["seconds_compiling"] <= report["seconds"]
    assert "40/40" in done.stderr
    folder = tmp_path / "sweep-K2-M2-gd"
    assert (folder / "losses.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "summary.json").read_text()) == report


@pytest.mark.slow
def test_a_second_start_finds_its_programs_and_prints_nothing_about_it(tmp_path):
    command = [sys.executable, "-m", "odelandscape", "sweep", "-K", "2", "-M", "2", "--seeds", "20"]
    kept, compiled = [], []
    for out in ("first", "second"):
        done = subprocess.run(
            [*command, "--out", str(tmp_path / out), "--quiet", "--json"],
            env=os.environ,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        compiled.append(json.loads(done.stdout)["seconds_compiling"])
        kept.append({p.name for p in tmp_path.glob("cache/odelandscape/programs/*/*-cache")})
    assert len(kept[0]) > 3
    assert kept[1] == kept[0]
    assert compiled[1] < compiled[0]
