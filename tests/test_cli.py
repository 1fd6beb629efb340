"""The command line as its users and their programs meet it."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from odelandscape.cli import main

README = Path(__file__).parents[1] / "README.md"


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


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


def test_a_folder_that_cannot_be_written_is_told_before_anything_is_computed(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["sweep", "-K", "2", "-M", "2", "--out", str(tmp_path / "file" / "x")]) == 2
    error = capsys.readouterr().err
    assert "cannot keep results in the folder" in error
    assert len(error.strip().splitlines()) == 1


def test_interruption_is_status_130(tmp_path, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("odelandscape.cli.sweep", interrupted)
    assert main(["sweep", "-K", "2", "-M", "2", "--out", str(tmp_path)]) == 130
    assert "goes on from there" in capsys.readouterr().err


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


def test_the_example_in_the_readme_runs(capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    assert len(code[1].strip().splitlines()) == 12
    exec(compile(code[1], "README.md", "exec"), {})
    assert "global minimum" in capsys.readouterr().out
