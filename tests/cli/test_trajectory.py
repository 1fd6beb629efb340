"""The command `trajectory`."""

import csv
import json
import re
import sys

import jax
import pytest

import odelandscape as ol
from odelandscape.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-K 2 -M 2 --flow sgd --learning-rate 0", r"--learning-rate.*got '0'; allowed: a finite"),
        ("-K 2 -M 2 --flow sgd --learning-rate inf", r"--learning-rate.*got 'inf'"),
        ("-K 2 -M 2 --learning-rate 0.1", r"--learning-rate: .*sgd"),
        ("-K 2 -M 2 --networks 4", r"--networks: got --flow gd; allowed: .* such as sgd"),
        (
            "-K 2 -M 2 --flow sgd --networks 1",
            r"--networks.*got '1'; allowed: whole numbers from 2",
        ),
        (
            "-K 2 -M 2 --flow sgd --networks 2 -d 5 --time 0.01",
            r"--time: .* η/d = 0.02; got 0.01",
        ),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 -d 4 --random-teacher", r"dimension must be at least .* 5; got 4"),
        ("-K 2 -M 2 --random-teacher", r"--random-teacher: needs --dimension"),
        ("-K 2 -M 2 --time -1", r"--time.*got '-1'; allowed: a finite number above 0"),
        ("-K 2 -M 2 --points 1", r"--points.*got '1'; allowed: whole numbers from 2"),
        ("-K 2 -M 2 --slope 0.2", r"--slope: .*leaky-relu"),
        ("-K 6 -M 5 --flow ongd", r"K ≤ d"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(arguments, message, refused):
    assert re.search(message, refused(f"trajectory {arguments}"))


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


def test_gradient_flow_goes_downhill(tmp_path, capsys):
    report, rows = _trajectory(tmp_path / "out", capsys, "-K 3 -M 2 --time 30 --points 20 --seed 1")
    assert set(report) == {
        *("students", "teachers", "activation", "slope", "flow", "learning_rate", "seed"),
        "dimension",
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
    # The start is that of the library, and the end agrees with the order parameters.
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
def test_online_sgd_with_networks(tmp_path, capsys):
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
    printed = capsys.readouterr().out
    assert re.search(r"t +loss +networks +standard error +deviation", printed)
    assert "mean loss of 4 of dimension 40" in printed


# The second leaves nothing but time 0.
@pytest.mark.slow
@pytest.mark.parametrize("more", ["--learning-rate 5", "--learning-rate 1000 --networks 2"])
def test_divergence_is_reported(tmp_path, capsys, more):
    command = f"-K 2 -M 2 -d 30000 --flow sgd --points 10 {more}"
    report, rows = _trajectory(tmp_path / "out", capsys, command)
    assert report["result"] == "diverged"
    assert re.match(r"diverges between t = .* and ", report["remark"])
    assert report["points"][0]["loss"] > 0
    assert report["points"][-1]["loss"] is None
    assert rows[-1]["Q_1_1"] == rows[-1]["loss"] == ""
    assert main(["trajectory", *command.split(), "--out", str(tmp_path), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "at a smaller learning rate" in printed
    assert not re.search(r"nan|inf", printed)


def test_an_activation_and_a_flow_of_ones_own(tmp_path, capsys, monkeypatch):
    # `python -m` finds modules of the current folder, and so does the console script.
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path not in ("", str(tmp_path))])
    (tmp_path / "my_landscape.py").write_text(
        "import odelandscape as ol\n\n\n"
        "class Own(ol.Erf):\n    pass\n\n\n"
        "class OwnFlow(ol.GradientFlow):\n    pass\n\n\n"
        "leak = ol.LeakyReLU(0.5)\n"
    )
    command = "-K 2 -M 2 --time 1 --points 3 --activation"
    own, _ = _trajectory(
        tmp_path / "own", capsys, f"{command} my_landscape:Own --flow my_landscape:OwnFlow"
    )
    assert (own["activation"], own["flow"]) == ("my_landscape:Own", "my_landscape:OwnFlow")
    same, _ = _trajectory(tmp_path / "same", capsys, f"{command} erf")
    assert own["points"] == same["points"]
    leak, _ = _trajectory(tmp_path / "leak", capsys, f"{command} my_landscape:leak")
    same, _ = _trajectory(tmp_path / "slope", capsys, f"{command} leaky-relu --slope 0.5")
    assert leak["points"] == same["points"]
    assert main(["trajectory", *command.split(), "my_landscape:leak", "--slope", "0.1"]) == 2
    assert "--slope" in capsys.readouterr().err
    assert not [path for path in tmp_path.iterdir() if ":" in path.name]
