"""The parser of the whole command line, the dispatch to its commands, and the exit status.

Parsing imports neither JAX nor SciPy nor Matplotlib, so that `--help` and messages about arguments come at
once; the `run` of a command imports what it needs.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from ..runtime.errors import OperationError, UserError
from . import check, minima, prove, show, sweep, trajectory
from .process import INTERRUPTED, safe_output

COMMANDS = (sweep, show, minima, prove, check, trajectory)
"""Modules, each with `add_parser(commands)` and `run(args)`."""

EXAMPLES = """\
first steps:
  odelandscape sweep -K 4 -M 4 --seeds 200              sample the landscape: 200 random starts, half a minute
  odelandscape show sweep-K4-M4-gd                      print the table of that folder again
  odelandscape minima -K 17 -M 17 --anti-aligned 2      find families of minima without sampling
  odelandscape sweep --help                             the options of a command, with examples

exit status: 0, done (or no command was given); 1, the command could not be carried out; 2, bad arguments, a
file that does not hold what it should, or code of yours that fails; 130, interrupted. Messages are one line
on standard error. A traceback is a bug: please report it.
"""


class _Parser(argparse.ArgumentParser):
    def __init__(self, **options):
        super().__init__(**options)
        # What is a negative number, and no option: argparse itself doesn't know of exponents.
        self._negative_number_matcher = re.compile(
            r"^-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE
        )

    def error(self, message: str) -> NoReturn:
        # One line, for people and for logs; --help prints the usage.
        sys.stderr.write(f"{self.prog}: {message}\n")
        sys.exit(2)


class _Version(argparse.Action):
    """Print versions and exit. The metadata are read only if they are asked for."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence | None,
        option_string: str | None = None,
    ) -> NoReturn:
        from ..runtime.version import __version__, version_of

        print(f"odelandscape {__version__}, jax {version_of('jax')}")
        parser.exit()


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="odelandscape",
        description="The loss landscape of a two-layer teacher-student network: sample its minima,\n"
        "find them without sampling, prove them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "-V",
        "--version",
        action=_Version,
        nargs=0,
        help="print the versions of odelandscape and jax",
    )
    commands = parser.add_subparsers(dest="command", metavar="command", parser_class=_Parser)
    for command in COMMANDS:
        command.add_parser(commands)
    return parser


@contextmanager
def _plain_warnings(command: str) -> Iterator[None]:
    """Print warnings of this package as lines for people, above the progress bar."""
    from tqdm import tqdm

    with warnings.catch_warnings():
        shown = warnings.showwarning
        said = {""}  # of programs that cannot be kept: once

        def show(message, category, filename, lineno, file=None, line=None):
            from ..runtime.cache import forget_program

            if category is UserWarning:
                about_programs = forget_program(str(message))
                text = str(message) if about_programs is None else about_programs
                if text not in said:
                    tqdm.write(f"odelandscape {command}: {text}", file=sys.stderr)
                if about_programs is not None:
                    said.add(text)
            else:
                shown(message, category, filename, lineno, file, line)

        warnings.showwarning = show
        warnings.simplefilter("always", UserWarning)
        yield


def _import_from_current_folder() -> None:
    """Let module:object be found in the current folder, as `python -m odelandscape` does.

    At the end of the path: no file there can hide an installed module.
    """
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(str(Path.cwd()))


def _prepare_jax() -> None:
    """Compute in float64, keep compiled programs, and check known answers once for each installation."""
    try:
        import jax

        jax.devices()
    except (
        RuntimeError,
        ValueError,
        AssertionError,
    ) as error:  # the last is what no plugin for CUDA is
        raise OperationError(_no_device(error)) from None
    from ..runtime.cache import keep_programs
    from ..runtime.self_test import ensure_numbers

    jax.config.update("jax_enable_x64", True)
    keep_programs()
    ensure_numbers()


def _no_device(error: Exception) -> str:
    settings = [f"{name}={value}" for name, value in os.environ.items() if name.startswith("JAX_")]
    given = ", ".join(settings) or "no variable JAX_… is set"
    return (
        f"jax cannot be used as it is set up ({given}): {str(error) or 'there is no such device'}; "
        "JAX_PLATFORMS=cpu computes without a GPU, for which jax needs a plugin of its own"
    )


def _users_fault(args: argparse.Namespace, error: Exception) -> str | None:
    """Return in words an error that comes out of a module of --activation or --flow, None if of neither."""
    from ..runtime.registry import fault_of

    for option in ("activation", "flow"):
        place = getattr(args, option, "")
        fault = fault_of(place, error) if ":" in place else None
        if fault is not None:
            return f"argument --{option}: the code of {place!r} fails: {fault}"
    return None


def main(argv: list[str] | None = None, when_begun: Callable[[str], None] | None = None) -> int:
    """Run a command and return its exit status.

    - `when_begun`: called before the command runs, with what is to follow 'interrupted' from then on.

    The status:

    - 0: done. Without arguments the help is printed, which is no error.
    - 1: the request could not be carried out though the arguments are right (an `OperationError`): the
      installed jax computes wrong numbers, results cannot be written, workers are lost, or an optional
      dependency is missing. Or what it has done could not be printed: files are as if it had been.
    - 2: bad arguments (a `UserError`), or an error of a user's own activation or flow.
    - 130: interrupted.

    For 1 and 2 there is one line on standard error. Any other exception is a fault of this package and is
    passed on.
    """
    with safe_output() as output:
        status, name = _run(argv, when_begun)
        output.flush()
        if output.error is not None:
            why = getattr(output.error, "strerror", None) or output.error
            print(f"{name}: standard output cannot be written to: {why}", file=sys.stderr)
            status = status or 1
    return status


def _run(argv: list[str] | None, when_begun: Callable[[str], None] | None) -> tuple[int, str]:
    """Run a command and return its exit status and its name."""
    parser = _parser()
    try:
        args = parser.parse_args(argv)
    except SystemExit as leave:  # of argparse: --help, --version, or bad arguments
        return int(leave.code or 0), parser.prog
    if args.command is None:
        parser.print_help()
        return 0, parser.prog
    name = f"{parser.prog} {args.command}"
    try:
        _import_from_current_folder()
        with _plain_warnings(args.command):
            _prepare_jax()
            if when_begun is not None:
                when_begun(args.when_interrupted)
            args.run(args)
    except (UserError, OperationError) as error:
        print(f"{name}: {' '.join(str(error).splitlines())}", file=sys.stderr)
        return 2 if isinstance(error, UserError) else 1, name
    except Exception as error:
        if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in str(error):  # jax's
            print(f"{name}: needs more memory than there is: {error}", file=sys.stderr)
            return 1, name
        fault = _users_fault(args, error)
        if fault is None:
            raise
        print(f"{name}: {' '.join(fault.split())}", file=sys.stderr)
        return 2, name
    except KeyboardInterrupt:
        print(f"\ninterrupted{args.when_interrupted}", file=sys.stderr)
        return INTERRUPTED, name
    return 0, name
