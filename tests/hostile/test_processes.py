"""What a command meets in its process: the user's code, jax as it is set up, Ctrl-C.

The truth is what the documentation promises of the exit status, and that no process is left.
"""

import itertools
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest
from hostile.commands import MODULE, refusal, run

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
            r"activation must return a real number for each of x",
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


@pytest.fixture(autouse=True)
def heed_interruptions():
    """A background job of a script ignores interruptions, and so would the children of tests run in one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted(tmp_path, delay: float, *arguments: str) -> str:
    """Press Ctrl-C once the command has taken so many seconds of a processor: a terminal sends SIGINT to all
    of its processes."""
    process = subprocess.Popen(
        [*MODULE, *arguments],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    children = []
    while process.poll() is None:
        with suppress(psutil.NoSuchProcess):  # one ends as it is looked at
            children = psutil.Process(process.pid).children(recursive=True)
            all_of_them = [psutil.Process(process.pid), *children]
            if sum(one.cpu_times().user for one in all_of_them) > delay:
                break
        time.sleep(0.01)
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


def test_an_interruption_ends_one_long_program(tmp_path):
    """Python's handlers are not called while a compiled program runs, here for some ten minutes."""
    long = "trajectory -K 4 -M 4 --flow sgd --time 1e6 --quiet --out out"
    assert interrupted(tmp_path, 15, *long.split()) == "\ninterrupted\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
@pytest.mark.parametrize("delay", [1, 1.5, 2, 2.5, 3, 4, 6, 10])
def test_an_interruption_while_workers_start_or_work_leaves_none(delay, tmp_path):
    errors = interrupted(tmp_path, delay, *LONG.split(), "--workers", "2")
    assert errors.startswith("\ninterrupted")
    assert len(errors.strip().splitlines()) == 1


@pytest.mark.slow
def test_an_interrupted_search_says_what_it_keeps_and_keeps_it(tmp_path):
    """Of the process itself: Ctrl-C ends other commands at once."""
    arguments = "minima -K 2 -M 2 --starts 1000000 --out out"
    process = subprocess.Popen(
        [*MODULE, *arguments.split()],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
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
