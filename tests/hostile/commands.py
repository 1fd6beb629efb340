"""The command line under hostile input: what it returns and what it prints."""

import contextlib
import io
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

import odelandscape as ol
from odelandscape.cli.main import main
from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import blank
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.store import StoreWriter

MODULE = [sys.executable, "-m", "odelandscape"]
SMALL = {
    "minima": "minima -K 3 -M 3 --anti-aligned 0 --activation leaky-relu --slope 0 --quiet",
    "sweep": "sweep -K 1 -M 1 --seeds 20 --quiet",
    "trajectory": "trajectory -K 1 -M 1 --points 3 --time 1 --activation leaky-relu --slope 0 --quiet",
    "prove": "prove -K 3 -M 3 --anti-aligned 0 --activation leaky-relu --slope 0 --quiet",
}


class Answer(NamedTuple):
    """What a command has answered."""

    code: int
    out: str
    err: str


def answer(*arguments: str) -> Answer:
    """Return the answer of a command run in this process. An exception that it lets through is a fault."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(list(arguments))
    return Answer(code, out.getvalue(), err.getvalue())


def refusal(*arguments: str, code: int = 2) -> str:
    """Return the one line with which a command refuses these arguments."""
    refused = answer(*arguments)
    assert refused.code == code, refused
    lines = refused.err.strip().splitlines()
    assert len(lines) == 1, refused.err
    assert "Traceback" not in refused.err
    return lines[0]


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
