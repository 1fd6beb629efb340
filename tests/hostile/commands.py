"""The command line under hostile input: what it returns and what it prints."""

import contextlib
import io
from typing import NamedTuple

from odelandscape.cli.main import main


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
