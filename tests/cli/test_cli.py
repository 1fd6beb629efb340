"""The command line as its users and their programs meet it."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jax
import pytest

import odelandscape as ol
from odelandscape.cli import main as cli_main
from odelandscape.cli.main import main
from odelandscape.sweeps import tasks

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    # It changes JAX's settings, here for all tests to come. Those that start a process see it.
    monkeypatch.setattr(cli_main, "keep_programs", lambda: None)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-K 0 -M 10", r"-K.*got '0'; allowed: whole numbers from 1"),
        ("-K 10 -M -3", r"-M.*got '-3'; allowed: whole numbers from 1"),
        ("-K ten -M 10", r"-K.*got 'ten'; allowed: whole numbers"),
        ("-K 2.5 -M 10", r"-K.*got '2.5'"),
        ("-M 10", r"required: -K"),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 --flow sgdd", r"--flow.*'sgdd'.*gd.*ngd"),
        ("-K 5 -M 5 --activation tanh", r"--activation.*'tanh'.*relu"),
        ("-K 5 -M 5 --seeds -1", r"--seeds.*got '-1'"),
        ("-K 5 -M 5 --seeds 0", r"--seeds.*got '0'"),
        ("-K 5 -M 5 --seed -1", r"--seed.*got '-1'"),
        ("-K 5 -M 5 --slope nan --activation leaky-relu", r"--slope.*got 'nan'"),
        ("-K 5 -M 5 --slope 0.2", r"--slope: only leaky-relu"),
        ("-K 6 -M 5 --flow ongd", r"K ≤ d"),
        ("-K 5 -M 5 --workers 0", r"--workers.*got '0'"),
        ("-K 5 -M 5 --share 5/4", r"--share.*got '5/4'; allowed: I/N with I from 1 to N"),
        ("-K 5 -M 5 --share 3", r"--share.*got '3'"),
        ("-K 5 -M 5 --share 1/2 --workers 2", r"--workers.*not allowed with.*--share"),
        ("-K 5 -M 5 --dask nowhere", r"--dask: no scheduler at 'nowhere'"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["sweep", *arguments.split()])
    except SystemExit as leave:
        status = leave.code
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert re.search(told, output.err), output.err
    assert not list(tmp_path.glob("sweep-*"))  # nothing is left behind


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-K 10 -M 10 --anti-aligned 12", r"anti_aligned must be from 0 to M = 10; got 12"),
        ("-K 10 -M 10 --anti-aligned 1.5", r"--anti-aligned.*got '1.5'; allowed: whole numbers"),
        ("-K 4 -M 4 --anti-aligned 2", r"at least 3 on the hidden branch.*at most M − 3 = 1"),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 --correlation 1", r"--correlation: T is positive definite between"),
        ("-K 5 -M 5 --activation erf --anti-aligned 1", r"followed between ReLU and LeakyReLU"),
    ],
)
def test_minima_tells_what_does_not_exist(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["minima", *arguments.split(), "--quiet"])
    except SystemExit as leave:
        status = leave.code
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert re.search(told, output.err), output.err


def test_minima_tells_a_family_and_its_whole_spectrum(tmp_path, capsys):
    out = tmp_path / "out"
    command = [
        "minima",
        "-K",
        "20",
        "-M",
        "20",
        "--anti-aligned",
        "3",
        "--out",
        str(out),
        "--quiet",
    ]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "minima.json").read_text())
    found = {family["branch"]: family for family in report["families"]}
    assert set(found) == {"compensated", "hidden"}
    assert found["compensated"]["verdict"] == "stable"
    for family in found.values():
        assert family["anti_aligned"] == 3
        assert family["residual"] <= 1e-12
        assert sum(value["multiplicity"] for value in family["spectrum"]) == 400
        assert family["smallest_eigenvalue"] == family["spectrum"][0]["eigenvalue"]
        assert len(family["parameters"]) == 6
    assert (out / "minima.png").read_bytes()[:4] == b"\x89PNG"
    assert main(command) == 0
    assert re.search(r"compensated +3 +0\.03", capsys.readouterr().out)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ("-K 2 -M 2 --flow sgd --learning-rate 0", r"--learning-rate.*got '0'; allowed: a finite"),
        ("-K 2 -M 2 --flow sgd --learning-rate inf", r"--learning-rate.*got 'inf'"),
        ("-K 2 -M 2 --learning-rate 0.1", r"--learning-rate: only sgd has one; got --flow gd"),
        ("-K 2 -M 2 --networks 4", r"--networks: only with sgd.*got --flow gd"),
        (
            "-K 2 -M 2 --flow sgd --networks 1",
            r"--networks.*got '1'; allowed: whole numbers from 2",
        ),
        (
            "-K 2 -M 2 --flow sgd --networks 2 -d 5 --time 0.01",
            r"--time: .* η/d = 0.02, .*got 0.01",
        ),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 -d 4 --random-teacher", r"dimension must be at least .* 5; got 4"),
        ("-K 2 -M 2 --random-teacher", r"--random-teacher: needs --dimension"),
        ("-K 2 -M 2 --time -1", r"--time.*got '-1'; allowed: a finite number above 0"),
        ("-K 2 -M 2 --points 1", r"--points.*got '1'; allowed: whole numbers from 2"),
        ("-K 2 -M 2 --slope 0.2", r"--slope: only leaky-relu"),
        ("-K 6 -M 5 --flow ongd", r"K ≤ d"),
    ],
)
def test_trajectory_tells_what_cannot_be_followed(arguments, told, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    try:
        status = main(["trajectory", *arguments.split()])
    except SystemExit as leave:
        status = leave.code
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert re.search(told, output.err), output.err
    assert not list(tmp_path.glob("trajectory-*"))  # nothing is left behind


def _trajectory(out, capsys, arguments):
    command = ["trajectory", "--out", str(out), "--quiet", *arguments.split()]
    assert main([*command, "--json"]) == 0
    output = capsys.readouterr()
    assert output.err == ""
    report = json.loads(output.out, parse_constant=pytest.fail)  # no NaN, no Infinity
    assert report == json.loads((out / "trajectory.json").read_text())
    assert (out / "trajectory.png").read_bytes()[:4] == b"\x89PNG"
    with (out / "trajectory.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(report["points"])
    return report, rows


def test_trajectory_follows_gradient_flow_downhill(tmp_path, capsys):
    report, rows = _trajectory(tmp_path / "out", capsys, "-K 3 -M 2 --time 30 --points 20 --seed 1")
    assert set(report) == {
        *("students", "teachers", "activation", "flow", "learning_rate", "seed", "dimension"),
        *(
            "random_teacher",
            "networks",
            "result",
            "remark",
            "nearest_teachers",
            "points",
            "seconds",
        ),
    }
    assert (report["students"], report["dimension"], report["result"]) == (3, 2, "finished")
    assert report["learning_rate"] is report["networks"] is report["remark"] is None
    points = report["points"]
    assert [points[0]["t"], points[-1]["t"]] == [0, 30]
    losses = [point["loss"] for point in points]
    assert losses == sorted(losses, reverse=True)
    assert losses == [float(row["loss"]) for row in rows]
    # The start is that of the library, and the end agrees with the order parameters told.
    problem = ol.Problem(3, 2)
    start = ol.random_weights(jax.random.key(1), problem)
    assert losses[0] == pytest.approx(float(ol.population_loss(problem, start)), rel=1e-12)
    for student, teacher in enumerate(report["nearest_teachers"], 1):
        Q, *R = (
            float(rows[-1][f"{name}"])
            for name in (f"Q_{student}_{student}", *(f"R_{student}_{n}" for n in (1, 2)))
        )
        assert points[-1]["lengths"][student - 1] == pytest.approx(Q**0.5)
        assert points[-1]["cosines"][student - 1] == pytest.approx(R[teacher - 1] / Q**0.5)
        assert abs(R[teacher - 1]) == max(map(abs, R))


@pytest.mark.slow
def test_trajectory_of_online_sgd_has_networks_beside_it(tmp_path, capsys):
    command = "-K 2 -M 2 --flow sgd --networks 4 -d 40 --time 2 --points 12 --random-teacher"
    report, rows = _trajectory(tmp_path / "out", capsys, command)
    assert (report["learning_rate"], report["networks"], report["dimension"]) == (0.1, 4, 40)
    first, *later = report["points"]
    assert first["networks"] == pytest.approx(first["loss"], rel=1e-12)
    assert first["deviation"] is None  # they start where the theory starts
    assert rows[0]["deviation"] == ""
    for point in later:
        assert point["t"] / (0.1 / 40) == pytest.approx(round(point["t"] / (0.1 / 40)), abs=1e-9)
        assert 0 < point["standard_error"] < 0.1
        difference = point["networks"] - point["loss"]
        assert point["deviation"] == pytest.approx(difference / point["standard_error"])
        assert abs(point["deviation"]) < 8
    assert main(["trajectory", *command.split(), "--out", str(tmp_path), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert re.search(r"t +loss +networks +standard error +deviation", told)
    assert "mean loss of 4 of dimension 40" in told


# The second leaves nothing but time 0.
@pytest.mark.slow
@pytest.mark.parametrize("more", ["--learning-rate 5", "--learning-rate 1000 --networks 2"])
def test_trajectory_tells_that_it_diverges(tmp_path, capsys, more):
    command = f"-K 2 -M 2 -d 30000 --flow sgd --points 10 {more}"
    report, rows = _trajectory(tmp_path / "out", capsys, command)
    assert report["result"] == "diverged"
    assert re.match(r"diverges between t = .* and ", report["remark"])
    assert report["points"][0]["loss"] > 0
    assert report["points"][-1]["loss"] is None
    assert rows[-1]["Q_1_1"] == rows[-1]["loss"] == ""
    assert main(["trajectory", *command.split(), "--out", str(tmp_path), "--quiet"]) == 0
    told = capsys.readouterr().out
    assert "a smaller --learning-rate" in told
    assert not re.search(r"nan|inf", told)


def test_trajectory_help_teaches(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["trajectory", "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "--flow sgd --networks" in text


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["sweep", "-K", "2", "-M", "2", "--out", str(tmp_path / "file" / "x")]) == 2
    error = capsys.readouterr().err
    assert "cannot keep results in the folder" in error
    assert len(error.strip().splitlines()) == 1


def test_interruption_is_status_130(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("odelandscape.cli.sweep.sweep", interrupted)
    assert main(["sweep", "-K", "2", "-M", "2", "--out", str(tmp_path)]) == 130
    assert "goes on from there" in capsys.readouterr().err


SWEEP = ["sweep", "-K", "2", "-M", "2", "--seeds", "40", "--quiet"]


def test_shares_and_then_the_table_and_again_without_computing(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tasks, "_LEAST", 8)
    out, told = tmp_path / "out", []
    for share in ("1/2", "2/2"):
        assert main([*SWEEP, "--out", str(out), "--share", share, "--json"]) == 0
        told.append(json.loads(capsys.readouterr().out))
    assert sum(one["seeds"] for one in told) == 40
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
    assert main(["show", str(out), "--export", "all.csv"]) == 2
    assert "a name that ends in .nc or .zarr" in capsys.readouterr().err


def test_show_tells_what_is_no_sweep(tmp_path, capsys):
    assert main(["show", str(tmp_path)]) == 2
    assert "holds no sweep" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "status"), [("StoreError", 1), ("WorkersLostError", 1), ("ValueError", 2)]
)
def test_what_stops_a_sweep_is_one_line(tmp_path, capsys, monkeypatch, error, status):
    def stopped(*_, **__):
        raise (ValueError if error == "ValueError" else getattr(ol, error))("the disk is full")

    monkeypatch.setattr("odelandscape.cli.sweep.sweep", stopped)
    assert main([*SWEEP, "--out", str(tmp_path)]) == status
    assert capsys.readouterr().err == "odelandscape sweep: the disk is full\n"


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


def test_help_teaches(capsys):
    with pytest.raises(SystemExit) as leave:
        main(["sweep", "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert "examples:" in text
    assert "2l-gd" in text


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
        *("global_minimum", "local_minimum", "saddle", "not_converged", "failed")
    }
    assert sum(outcome["count"] for outcome in report["outcomes"].values()) == 40
    low, high = report["outcomes"]["global_minimum"]["ci95"]
    assert 0 <= low <= report["outcomes"]["global_minimum"]["fraction"] <= high <= 1
    family = report["families"][0]
    assert {"anti_aligned", "loss", "count", "smallest_eigenvalue"} <= set(family)
    assert 0 < report["seconds_compiling"] < report["seconds"]
    assert "40/40" in done.stderr
    folder = tmp_path / "sweep-K2-M2-gd"
    assert (folder / "losses.png").read_bytes()[:4] == b"\x89PNG"
    assert json.loads((folder / "summary.json").read_text()) == report


@pytest.mark.slow
def test_a_second_start_finds_its_programs_and_says_nothing_of_it(tmp_path):
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


@pytest.mark.slow
def test_the_examples_in_the_readme_run(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 4
    assert len(blocks[0].strip().splitlines()) == 12
    for code in blocks:
        exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    told = capsys.readouterr().out
    assert "stable (band 1e-08)" in told
    assert "global minimum" in told
    assert (tmp_path / "sweep-4-4.nc").exists()


def test_the_example_without_sampling_runs(capsys):
    code = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)[1]
    exec(compile(code, "README.md", "exec"), {"__name__": "__main__"})
    assert "stable (band 1e-08)" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
def test_the_job_script_for_slurm_fills_a_folder_and_tells_what_it_holds(tmp_path):
    own = Path(sys.executable).parent  # whose python3 has this package
    more = {"PAIRS": "2,2", "SEEDS": "200", "OUT": "out", "PATH": f"{own}:{os.environ['PATH']}"}
    script = ["bash", str(README.parent / "docs" / "table3_slurm.sh")]

    def run(**variables: str) -> str:
        done = subprocess.run(
            script, cwd=tmp_path, env=os.environ | more | variables, capture_output=True, check=True
        )
        return done.stdout.decode()

    assert "128 seeds of share 1/16 were missing" in run(SLURM_ARRAY_TASK_ID="1")
    assert "200 seeds" in run()
    files = {path.name for path in (tmp_path / "out" / "K2-M2").glob("seeds-*")}
    assert files == {"seeds-00000000-00000127.npz", "seeds-00000128-00000199.npz"}
