"""Command lines that cannot be carried out, output that cannot be written: one line, a status, nothing lost.

The truth is the operating system's (a full device, a closed pipe, a limit on the size of files, a signal),
and what the documentation promises of the exit status.
"""

import errno
import io
import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from hostile.commands import answer, refusal

import odelandscape as ol
from odelandscape.cli import minima, prove, sweep, trajectory
from odelandscape.cli.main import _parser, main
from odelandscape.cli.process import Output, encodable
from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import blank
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.store import StoreWriter

MODULE = [sys.executable, "-m", "odelandscape"]
HUGE = "1" * 400
LEAKY = "--activation leaky-relu --slope 0 --quiet"
SMALL = {
    "minima": f"minima -K 3 -M 3 --anti-aligned 0 {LEAKY}",
    "sweep": "sweep -K 1 -M 1 --seeds 20 --quiet",
    "trajectory": f"trajectory -K 1 -M 1 --points 3 --time 1 {LEAKY}",
    "prove": f"prove -K 3 -M 3 --anti-aligned 0 {LEAKY}",
}


def stored(folder: Path, activation: ol.AbstractActivation | None = None) -> Path:
    """A folder of twenty end states that nobody has relaxed."""
    problem = ol.Problem(1, 1, activation)
    writer = StoreWriter(folder, configuration(problem, ol.GradientFlow(), 0, 1))
    ends = blank(20, 1, 1)
    zero = np.zeros(20)
    found = np.full(20, outcomes.GLOBAL_MINIMUM, ends.outcome.dtype)
    writer.put(0, ends._replace(outcome=found, loss=zero, smallest_eigenvalue=zero + 0.5))
    return folder


def run(*arguments, **options) -> subprocess.CompletedProcess:
    """The command in a process of its own."""
    return subprocess.run([*MODULE, *arguments], text=True, stderr=subprocess.PIPE, **options)


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
            "--activation=erf --slope=0 --slope=0.1 -d9 --seed=1 --flow=sgd --learning-rate=0.1",
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


# --- output that cannot be written ----------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream on which each write fails."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        *((command, Broken) for command in SMALL),
        ("trajectory", lambda: None),
        ("trajectory", lambda: io.TextIOWrapper(io.BytesIO())),
    ],
)
def test_what_cannot_be_printed_is_kept_all_the_same(command, stream, tmp_path, monkeypatch):
    """Standard output is full, closed before, or closed meanwhile."""
    if command == "prove":
        pytest.importorskip("flint")
    out, errors, given = tmp_path / "out", io.StringIO(), stream()
    if isinstance(given, io.TextIOWrapper):
        given.close()
    monkeypatch.setattr(sys, "stdout", given)
    monkeypatch.setattr(sys, "stderr", errors)
    assert main([*SMALL[command].split(), "--out", str(out)]) == 1
    (line,) = errors.getvalue().splitlines()
    assert line.startswith(f"odelandscape {command}: standard output cannot be written to: ")
    monkeypatch.setattr(sys, "stdout", (printed := io.StringIO()))
    assert main([*SMALL[command].split(), "--out", str(tmp_path / "again")]) == 0
    kept = {path.name for path in out.iterdir()}
    assert kept == {path.name for path in (tmp_path / "again").iterdir()}
    text = {"sweep": "summary", "prove": "proofs"}.get(command, command)
    assert (out / f"{text}.txt").read_text().partition(" in ")[0] in printed.getvalue()


@pytest.mark.parametrize("errors", [Broken, lambda: None])
def test_remarks_that_cannot_be_printed_are_dropped(errors, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", errors())
    command = SMALL["sweep"].replace("--quiet", "").split()
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert main(["sweep", "-K", "0", "-M", "0"]) == 2
    assert "global minimum" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["minima", "trajectory", "prove"])
def test_what_cannot_be_kept_is_printed_all_the_same(command, tmp_path, monkeypatch):
    """The disk is full when the results are there (for sweeps: tests/cli/test_sweep.py)."""
    if command == "prove":
        pytest.importorskip("flint")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("odelandscape.runtime.files.write_whole", full)
    done = answer(*SMALL[command].split(), "--out", str(tmp_path / "out"))
    assert done.code == 1
    assert "K = " in done.out
    assert len(done.out.splitlines()) > 3
    assert done.err.startswith(f"odelandscape {command}: ")
    assert "No space left" in done.err
    assert len(done.err.splitlines()) == 1


def test_a_limit_on_the_size_of_files_loses_no_result_and_leaves_no_part_of_a_file(tmp_path):
    command = (
        f'ulimit -f 1; exec "{sys.executable}" -m odelandscape {SMALL["trajectory"]} --out out'
    )
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1
    assert "File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert "loss" in done.stdout
    assert not list((tmp_path / "out").glob(".*"))
    assert "trajectory.png" not in {path.name for path in (tmp_path / "out").iterdir()}


@pytest.mark.parametrize("command", [*SMALL.values(), "show"])
def test_no_name_is_no_folder(command):
    """Results must not be strewn over the current one, as by `--out "$UNSET"`."""
    line = refusal(*command.split(), *(["--out"] if command != "show" else []), "")
    assert "got ''; allowed: the path of a folder" in line


def test_a_file_that_cannot_be_written_is_named_and_keeps_no_other_from_it(tmp_path):
    (tmp_path / "out" / "trajectory.json").mkdir(parents=True)
    done = answer(*SMALL["trajectory"].split(), "--out", str(tmp_path / "out"))
    assert done.code == 1
    assert "(trajectory.json: Is a directory)" in done.err
    kept = {path.name for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert kept == {"trajectory.txt", "trajectory.csv", "trajectory.png"}


def test_compiled_programs_that_a_full_disk_has_cut_off_are_compiled_again(tmp_path, monkeypatch):
    """JAX warns at each start of a kept program that is cut off, and never writes it again."""
    monkeypatch.delenv("XDG_CACHE_HOME")
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [*MODULE, *SMALL["trajectory"].split(), "--out", str(tmp_path / "out")]

    def errors(before: str = "") -> str:
        line = f'{before} exec "$@"'
        done = subprocess.run(
            ["bash", "-c", line, "bash", *command], env=environment, capture_output=True, text=True
        )
        return done.stderr

    said = errors("ulimit -f 2;").splitlines()
    kept = [line for line in said if "compiled programs cannot be kept" in line]
    assert len(kept) == len(set(kept))
    assert "Error" not in errors()
    programs = [path for path in tmp_path.rglob("*-cache") if path.stat().st_size > 2048]
    for program in programs:
        program.write_bytes(program.read_bytes()[:1000])
    assert errors() == ""
    assert all(program.stat().st_size > 2048 for program in programs)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device /dev/full")
@pytest.mark.parametrize("arguments", ["--help", "--version", "sweep --help"])
@pytest.mark.parametrize("where", ["> /dev/full", ">&-", "2>&1 >&-", "| true", ">&- 2>&-"])
def test_a_shell_s_redirections_give_status_1_and_no_traceback(arguments, where, tmp_path):
    """What reads the output is full, closed or gone: Python's own words at its end count, too."""
    command = f'set -o pipefail; "{sys.executable}" -m odelandscape {arguments} {where}'
    # `true` may take the whole text before it ends: so it is gone before anything is written.
    command = command.replace("| true", "2>&3 | (exec <&-; sleep 0.01)").replace(
        "set -o pipefail;", "set -o pipefail; exec 3>&2;"
    )
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 1, done
    text = done.stdout + done.stderr
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    if where != ">&- 2>&-":
        assert "standard output cannot be written to" in text
        assert len(text.splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs the device /dev/full")
def test_show_on_a_full_device(tmp_path):
    folder = stored(tmp_path / "out")
    with open("/dev/full", "w") as full:
        done = run("show", str(folder), "--quiet", stdout=full)
    assert done.returncode == 1
    assert done.stderr == (
        "odelandscape show: standard output cannot be written to: No space left on device\n"
    )
    assert "global minimum" in (folder / "summary.txt").read_text()


@pytest.mark.parametrize("name", ["", *SMALL, "show", "check"])
def test_help_on_a_terminal_without_letters(name):
    """ASCII, as `PYTHONIOENCODING=ascii`: each character that it lacks has a likeness."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    stdout, sys.stdout = sys.stdout, stream
    try:
        assert main([*name.split(), "--help"]) == 0
    finally:
        sys.stdout = stdout
    text = stream.buffer.getvalue().decode("ascii")
    assert "\ufffd" not in text
    for lost in ("learning-rate ?", "anti-aligned ?", "? …"):
        assert lost not in text


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("α = 1, η/d", "alpha = 1, eta/d"),
        ("0.1 – 0.2 … −3 ≥ 2 ×", "0.1 - 0.2 ... -3 >= 2 x"),
        ("λ² ½", "lambda2 1?2"),
        ("\udcff", "?"),
        ("日", "?"),
        ("plain", "plain"),
    ],
)
def test_characters_that_a_terminal_lacks_are_named_or_likened(text, plain):
    assert encodable(text, "ascii") == plain
    assert encodable("α – ½", "utf-8") == "α – ½"
    assert encodable("α", "iso8859-7") == "α"


def test_one_error_ends_what_is_written():
    broken = Broken()
    output = Output(broken)
    assert output.write("some") == 4
    assert output.write("more") == 4
    output.flush()
    assert output.error.errno == errno.ENOSPC


def test_the_environment_of_c_prints_a_table(tmp_path):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    folder = stored(tmp_path / "out")
    done = run("show", str(folder), "--quiet", stdout=subprocess.PIPE, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"global minimum +- +0 +20 +100.00 % +83.89 - 100.00 %", done.stdout)


# --- the user's code ---

USERS = """
import jax.numpy as jnp
import odelandscape as ol

class Raises(ol.Erf):
    def second_moment(self, *lengths):
        raise ValueError("my own fault")

class Mistaken(ol.GradientFlow):
    def mixing(self, state, problem):
        return jnp.zeros(3) @ jnp.zeros(2)

class NotMade(ol.GradientFlow):
    def __init__(self):
        raise RuntimeError("not today")

class NotElementwise(ol.AbstractActivation):
    def __call__(self, x):
        return jnp.zeros(3)

    def second_moment(self, a, c, b):
        return c
"""


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (
            "--activation users_code:Raises",
            r"--activation: .*'users_code:Raises' fails: ValueError: my own",
        ),
        (
            "--flow users_code:Mistaken",
            r"--flow: the code of .* fails: TypeError: .*users_code\.py:11$",
        ),
        ("--flow users_code:NotMade", r"--flow: .* RuntimeError: not today, .*users_code\.py:15$"),
        (
            "--activation users_code:NotElementwise",
            r"activation must return a number for each of x",
        ),
    ],
)
def test_errors_of_the_users_code_are_told_with_its_line(option, words, tmp_path, monkeypatch):
    """A traceback through this package would say that the fault is here."""
    (tmp_path / "users_code.py").write_text(USERS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "users_code", raising=False)
    arguments = f"sweep -K 2 -M 2 --seeds 2 --quiet {option} --out {tmp_path / 'out'}"
    assert re.search(words, refusal(*arguments.split()))


# --- jax as it is set up --------------------------------------------------------------------------------


@pytest.mark.parametrize("setting", ["JAX_PLATFORMS=nonsense", "JAX_ENABLE_X64=perhaps"])
def test_a_device_that_is_not_there_is_one_line(setting, tmp_path):
    """`JAX_PLATFORMS=cuda` without CUDA, and other settings that jax cannot be used with."""
    name, value = setting.split("=")
    done = run("show", "x", cwd=tmp_path, env={**os.environ, name: value}, stdout=subprocess.PIPE)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert setting in line
    assert "JAX_PLATFORMS=cpu" in line


# --- Ctrl-C ---------------------------------------------------------------------------------------------

LONG = "sweep -K 6 -M 6 --seeds 200000 --quiet --out out"


def interrupted(tmp_path, delay: float, *arguments: str) -> str:
    """Press Ctrl-C: the terminal sends SIGINT to all of the command's processes."""
    process = subprocess.Popen(
        [*MODULE, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    time.sleep(delay)
    children = psutil.Process(process.pid).children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    _, left = psutil.wait_procs(children, timeout=20)
    assert not left
    assert process.returncode == 130
    return errors


@pytest.mark.parametrize("delay", [0.5, 1, 3])
def test_an_interruption_at_any_time_is_one_line(delay, tmp_path):
    """In the imports, in the self-test, in the work."""
    errors = interrupted(tmp_path, delay, *LONG.split())
    assert errors.startswith("\ninterrupted")
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1, 1.5, 2, 2.5, 3, 4, 6, 10])
def test_an_interruption_while_workers_start_or_work_leaves_none(delay, tmp_path):
    errors = interrupted(tmp_path, delay, *LONG.split(), "--workers", "2")
    assert errors.startswith("\ninterrupted")
    assert len(errors.strip().splitlines()) == 1


def test_an_interrupted_search_says_what_it_keeps_and_keeps_it(tmp_path):
    """Of the process itself: Ctrl-C ends other commands at once."""
    arguments = "minima -K 2 -M 2 --starts 1000000 --out out"
    process = subprocess.Popen(
        [*MODULE, *arguments.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests may ignore interruptions, as a background job of a script does.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    said = ""
    assert process.stderr is not None
    while "found" not in said and process.poll() is None:
        said += process.stderr.read(1)
    time.sleep(1)  # the bar is told of a family before the command is
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=200)
    assert (process.returncode, output) == (130, "")
    assert "interrupted: keeping what was found …" in errors
    assert "interrupted: what was found is kept in out/, and the same command begins anew" in errors
    assert "Traceback" not in errors
    assert json.loads((tmp_path / "out" / "minima.json").read_text())["families"]
    assert "interrupted" in (tmp_path / "out" / "minima.txt").read_text()


def test_a_process_that_ignores_interruptions_goes_on_ignoring_them(tmp_path):
    """As under nohup, and in the background of a script."""
    command = f'trap "" INT; echo; exec "{sys.executable}" -m odelandscape --help'
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=tmp_path, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdout is not None
    process.stdout.readline()  # from now on the shell ignores them
    for _ in itertools.takewhile(lambda _: process.poll() is None, range(5)):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.02)
    process.communicate()
    assert process.returncode == 0
