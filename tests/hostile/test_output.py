"""Output that cannot be written: one line, a status, and what was computed is not lost.

The truth is the operating system's (a full device, a closed pipe, a limit on the size of files), and what the
documentation promises of the exit status.
"""

import errno
import io
import os
import re
import subprocess
import sys

import pytest
from hostile.commands import MODULE, SMALL, answer, refusal, run, stored

from odelandscape.cli.main import main
from odelandscape.cli.process import Output, encodable

# --- output that cannot be written ----------------------------------------------------------------------


class Broken(io.StringIO):
    """A stream on which each write fails."""

    def write(self, text: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("command", "stream"),
    [
        *(pytest.param(c, Broken, marks=pytest.mark.slow if c == "minima" else ()) for c in SMALL),
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


@pytest.mark.slow
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


@pytest.mark.slow
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
