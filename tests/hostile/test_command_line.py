"""Command lines that cannot be carried out: one line, a status, nothing lost."""

import json

import pytest
from hostile.commands import SMALL, answer, refusal, stored

import odelandscape as ol
from odelandscape.cli import minima, prove, sweep, trajectory
from odelandscape.cli.main import _parser

HUGE = "1" * 400

# --- arguments ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("sweep -K {huge} -M 3", ["-K", "1…1", "from 1 to 9007199254740992"]),
        ("minima -K 3 -M {huge}", ["-M", "1…1", "from 1 to 9007199254740992"]),
        ("prove -K 3 -M -{huge}", ["-M"]),
        ("trajectory -K 1e3 -M 3", ["-K", "'1e3'", "whole numbers"]),
        ("sweep -K 3 -M 3 --seed 18446744073709551616", ["--seed", "to 9223372036854775807"]),
        ("sweep -K 3 -M 3 --seed -1", ["--seed", "from 0"]),
        ("sweep -K 3 -M 3 --seeds 1000000000000", ["--seeds", "from 1 to 4294967296"]),
        ("minima -K 3 -M 3 --correlation -2e3", ["--correlation", "-2000", "-0.5"]),
        ("minima -K 3 -M 3 --correlation -.6E0", ["--correlation", "-0.6"]),
        ("sweep -K 3 -M 3 --activation leaky-relu --slope -1e300", ["slope", "1e+50", "-1e+300"]),
        ("sweep -K 1000000000 -M 10", ["-K", "GiB", "this machine has"]),
        ("sweep -K 30000 -M 30000", ["Hessian", "900,000,000 weights", "GiB"]),
        ("sweep -K 3 -M 3 -d 1000000000000", ["--dimension", "GiB"]),
        ("trajectory -K 1000000000 -M 3", ["-K", "GiB"]),
        ("trajectory -K 3 -M 3 -d 1000000000000", ["--dimension", "GiB"]),
        ("sweep -K 3 -M 3 -d 2", ["dimension", "3", "got 2"]),
        ("minima -K 3 -M 3 -d 2", ["dimension", "3", "got 2"]),
        ("trajectory -K 3 -M 3 -d -2", ["--dimension"]),
        ("trajectory -K 2 -M 2 --points 1000000000", ["--points", "from 2 to 1000000"]),
        ("sweep -K 3 -M 3 --flow sdg", ["--flow", "'sdg'", "gd, ngd"]),
        ("sweep -K 3 -M 3 --activation :", ["--activation", "':'", "module:object"]),
        ("sweep -K 3 -M 3 --workers 0", ["--workers", "'0'", "from 1"]),
        ("sweep -K 3 -M 3 --workers 100000", ["--workers", "to 4096"]),
        ("sweep -K 3 -M 3 --share 3/2", ["--share", "'3/2'", "I from 1 to N"]),
        ("sweep -K 3 -M 3 --share=-1/2", ["--share", "'-1/2'"]),
        ("sweep -K 3 -M 3 --share 1/0", ["--share", "'1/0'"]),
        ("trajectory -K 3 -M 3 --time nan", ["--time", "'nan'", "finite"]),
        ("trajectory -K 3 -M 3 --points {huge}", ["--points"]),
        ("minima -K 3 -M 3 --anti-aligned -1", ["--anti-aligned"]),
        ("minima -K 3 -M 3 --anti-aligned 9", ["anti_aligned", "0 to M = 3", "9"]),
        ("prove -K 3 -M 3 --anti-aligned 9", ["anti_aligned", "0 to M = 3", "9"]),
        ("minima -K 3 -M 3 --slope 0", ["--slope", "leaky-relu"]),
        ("show nowhere", ["nowhere", "holds no sweep"]),
        ("show {file}", ["file", "holds no sweep"]),
        ("show nowhere --export x.csv", ["--export", "'x.csv'", ".nc or .zarr"]),
        ("show nowhere --export {file}.nc", ["--export", "exists", "--overwrite"]),
        ("show nowhere --export no/x.nc", ["nowhere", "holds no sweep"]),
        ("show nowhere --export {file}/x.nc", ["--export", "Not a directory"]),
        ("check nowhere.json", ["nowhere.json"]),
    ],
)
def test_bad_arguments_are_one_line_with_the_words_that_help(command, words, tmp_path, monkeypatch):
    """Any argument beyond what is allowed: huge, negative, a word for a number, too little memory for it."""
    monkeypatch.chdir(tmp_path)
    for name in ("file", "file.nc"):
        (tmp_path / name).write_text("mine")
    before = sorted(tmp_path.iterdir())
    line = refusal(*command.format(huge=HUGE, file="file").split())
    for word in words:
        assert word in line
    assert len(line) < 400
    # Nothing is left behind, and nothing is overwritten.
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "cache"] == before
    assert (tmp_path / "file.nc").read_text() == "mine"


@pytest.mark.parametrize("command", SMALL)
@pytest.mark.parametrize("kind", ["file", "below a file", "a link to nothing", "a long name"])
def test_a_folder_that_cannot_be_is_refused_first_and_nothing_is_left(command, kind, tmp_path):
    """What --out names is no folder and cannot be made one."""
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
    out = {
        "file": "file",
        "below a file": "file/new/folder",
        "a link to nothing": "link",
        "a long name": "x" * 300,
    }[kind]
    line = refusal(*SMALL[command].split(), "--out", str(tmp_path / out))
    assert "cannot keep results in the folder" in line
    assert {path.name for path in tmp_path.iterdir()} - {"cache"} == {"file", "link"}


def test_a_refusal_after_the_folder_was_looked_at_leaves_no_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refusal(*"minima -K 4 -M 4 --anti-aligned 2 --quiet --out a/b".split())
    assert "hidden branch" in line
    assert {path.name for path in tmp_path.iterdir()} <= {"cache"}


# --- folders --------------------------------------------------------------------------------------------


def _folder(command: str) -> str:
    args = _parser().parse_args(command.split())
    folder = {
        "minima": lambda: minima._folder(args),
        "trajectory": lambda: trajectory._folder(args),
        "prove": lambda: prove._folder(args),
        "sweep": lambda: sweep._folder(args),
    }
    return str(folder[args.command]())


@pytest.mark.parametrize(
    ("command", "options"),
    [
        (
            "minima",
            "--activation=leaky-relu --slope=0 --slope=0.1 --anti-aligned=0 --anti-aligned=1 "
            "--correlation=0.1 -d9 --starts=65 --blocks=0 --blocks=1 --all",
        ),
        (
            "prove",
            "--activation=leaky-relu --slope=0 --slope=0.1 --anti-aligned=0 --anti-aligned=1 "
            "--bits=256 --all",
        ),
        (
            "sweep",
            "--activation=erf --slope=0 --slope=0.1 -d9 --seed=1 --flow=sgd --learning-rate=0.1 "
            "--transient=float32",
        ),
        (
            "trajectory",
            "--activation=erf --slope=0 --slope=0.1 -d9 --seed=1 --flow=sgd --learning-rate=0.1 --time=9 "
            "--points=9 --networks=2 --random-teacher",
        ),
    ],
)
def test_every_option_that_changes_the_numbers_is_in_the_folder_s_name(command, options):
    """A run with another option would overwrite, or be refused by, the folder of the run without."""
    names = [_folder(f"{command} -K 5 -M 5 {option}") for option in ["", *options.split()]]
    assert len(set(names)) == len(names), names
    assert names[0] == {
        "minima": "minima-K5-M5",
        "prove": "prove-K5-M5",
        "sweep": "sweep-K5-M5-gd",
        "trajectory": "trajectory-K5-M5-gd",
    }.get(command)
    assert not [name for name in names if "/" in name]


@pytest.mark.slow
def test_the_slope_is_in_every_report(tmp_path):
    """0, too, which is no missing number; of `sweep` the report is made of a store's problem."""
    pytest.importorskip("flint")
    more = ["--json"]
    for command in ("minima", "trajectory"):
        done = answer(*SMALL[command].split(), *more, "--out", str(tmp_path / command))
        assert done.code == 0
        assert json.loads(done.out)["slope"] == 0.0
    done = answer(*SMALL["prove"].split(), *more, "--out", str(tmp_path / "prove"))
    (certificate,) = json.loads(done.out).values()
    assert certificate["statement"]["slope"] == 0.0
    folder = stored(tmp_path / "sweep", ol.LeakyReLU(0.0))
    assert json.loads(answer("show", str(folder), "--json").out)["slope"] == 0.0
    folder = stored(tmp_path / "other")
    assert json.loads(answer("show", str(folder), "--json").out)["slope"] is None
