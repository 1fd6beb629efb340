"""Options that several commands share, and how a command writes its results.

Nothing here imports JAX when a command line is parsed: names of `ol` are imported when they are first used.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import textwrap
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import odelandscape as ol

from .. import activations, flows
from ..runtime.errors import MissingExtraError, StoreError, UserError
from ..runtime.registry import name_in, place_of, resolve

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 2**53
"""What whole numbers may be unless more is said: floating-point numbers hold all of them up to here."""
OWN = "or module:object of your own"
FLOW_NAMES = """\
flows: gd, gradient flow; ngd, students of fixed length; ongd, orthonormal students; 2l-gd, the readout is
trained too; sgd, online SGD in infinitely many dimensions; or module:object, an instance or a subclass of
odelandscape.AbstractFlow in a module of the current folder or of an installed package.
"""


def _shortened(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:30]}…{text[-6:]}")


# Parsers of single values: argparse adds the name of the option to their messages.
def whole(least: int, largest: int = LARGEST) -> Callable[[str], int]:
    """Return a parser of whole numbers from `least` to `largest`."""
    allowed = f"{least} to {largest}"

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or not least <= value <= largest:
            raise argparse.ArgumentTypeError(
                f"got {_shortened(text)}; allowed: whole numbers from {allowed}"
            )
        return value

    return parse


def number(text: str) -> float:
    """Return a finite number."""
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if abs(value) < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {_shortened(text)}; allowed: a finite number")


def positive(text: str) -> float:
    """Return a finite number above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {_shortened(text)}; allowed: a finite number above 0")


def share(text: str) -> tuple[int, int]:
    """Return (I, N) of I/N."""
    try:
        i, n = (int(part) for part in text.split("/"))
    except ValueError:
        i, n = 0, 0
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed: I/N with I from 1 to N, such as 3/16"
        )
    return i, n


def folder_name(text: str) -> Path:
    """Return the path of a folder; no text is none, and not the current one."""
    if not text:
        raise argparse.ArgumentTypeError("got ''; allowed: the path of a folder")
    return Path(text)


def named_in(table: Mapping[str, str]) -> Callable[[str], str]:
    """Return a parser of a name of `table` or a place module:object, which is imported later."""

    def parse(text: str) -> str:
        if text in table or ":" in text:
            return text
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed: {', '.join(table)}, or module:object"
        )

    return parse


def add_command(
    commands: argparse._SubParsersAction,
    name: str,
    run: Callable[[argparse.Namespace], None],
    *,
    summary: str,
    description: str,
    examples: str,
    when_interrupted: str = "",
) -> argparse.ArgumentParser:
    """Add a command that `run` runs and whose `--help` shows `description`, the options and `examples`.

    - `when_interrupted`: what follows the message 'interrupted'.
    """
    parser = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(description, 99),
        epilog=examples,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run, when_interrupted=when_interrupted)
    return parser


def add_problem(parser: argparse.ArgumentParser) -> None:
    """Add -K, -M, --activation and --slope."""
    add = parser.add_argument
    add("-K", "--students", type=whole(1), required=True, metavar="K", help="students, from 1 up")
    add("-M", "--teachers", type=whole(1), required=True, metavar="M", help="teachers, from 1 up")
    add(
        "--activation",
        type=named_in(activations.BY_NAME),
        default="relu",
        metavar="NAME",
        help=f"{', '.join(activations.BY_NAME)} (default relu), {OWN}",
    )
    add(
        "--slope",
        type=number,
        metavar="a",
        help="slope of leaky-relu for negative inputs (default 0.1)",
    )


def add_flow(parser: argparse.ArgumentParser) -> None:
    """Add --flow and --learning-rate."""
    add = parser.add_argument
    add(
        "--flow",
        type=named_in(flows.BY_NAME),
        default="gd",
        metavar="NAME",
        help=f"{', '.join(flows.BY_NAME)} (default gd), {OWN}",
    )
    add(
        "--learning-rate",
        type=positive,
        metavar="η",
        help="learning rate of sgd, above 0 (default 0.1)",
    )


def add_seed(parser: argparse.ArgumentParser, of: str) -> None:
    """Add --seed."""
    parser.add_argument(
        "--seed",
        type=whole(0, 2**63 - 1),  # what a key of JAX is made of
        default=0,
        metavar="S",
        help=f"random seed of {of} (default 0)",
    )


def add_dimension(parser: argparse.ArgumentParser, of: str = "the inputs", more: str = "") -> None:
    """Add --dimension."""
    parser.add_argument(
        "-d",
        "--dimension",
        type=whole(1),
        metavar="d",
        help=f"dimension of {of}, at least M (default M{more})",
    )


def add_time_limit(parser: argparse.ArgumentParser) -> None:
    """Add --time-limit."""
    parser.add_argument(
        "--time-limit",
        type=positive,
        default=20_000.0,
        metavar="t",
        help="flow time after which a start that has not converged is reported where it is (default 20000); "
        "a larger one continues such starts of the same folder",
    )


def add_anti_aligned(parser: argparse.ArgumentParser) -> None:
    """Add --anti-aligned."""
    parser.add_argument(
        "--anti-aligned",
        type=whole(0),
        metavar="α",
        help="only families with α anti-aligned students",
    )


def add_all(parser: argparse.ArgumentParser) -> None:
    """Add --all."""
    parser.add_argument(
        "--all", action="store_true", help="also unstable families on branches without a name"
    )


def add_output(parser: argparse.ArgumentParser, folder: str) -> None:
    """Add --out, --json and --quiet."""
    add = parser.add_argument
    add(
        "--out",
        type=folder_name,
        metavar="DIR",
        help=f"folder for the results (default {folder}, …)",
    )
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no progress bar and no remarks")


def activation_of(args: argparse.Namespace) -> ol.AbstractActivation:
    """Return the activation that --activation and --slope name."""
    return resolve(
        activations.BY_NAME,
        args.activation,
        ol.AbstractActivation,
        "--activation",
        slope=args.slope,
    )


def flow_of(args: argparse.Namespace) -> ol.AbstractFlow:
    """Return the flow that --flow and --learning-rate name."""
    return resolve(
        flows.BY_NAME, args.flow, ol.AbstractFlow, "--flow", learning_rate=args.learning_rate
    )


def activation_name(activation: ol.AbstractActivation) -> str:
    """Return what --activation names it, or the place of its class."""
    return name_in(activations.BY_NAME, activation) or place_of(activation)


def flow_name(flow: ol.AbstractFlow) -> str:
    """Return what --flow names it, or the place of its class."""
    return name_in(flows.BY_NAME, flow) or place_of(flow)


def learning_rate_of(flow: ol.AbstractFlow) -> float | None:
    """Return the flow's learning rate, None if it has none that is one number."""
    rate = getattr(flow, "learning_rate", None)
    return None if rate is None or callable(rate) else float(rate)


def require_extra(extra: str, module: str, needed_by: str) -> None:
    """Raise MissingExtraError unless `module`, of the optional dependencies `extra`, is installed."""
    if find_spec(module) is None:
        raise MissingExtraError(
            f'{needed_by} needs {module}: python3 -m pip install "odelandscape[{extra}]"'
        )


def slope_of(activation: ol.AbstractActivation) -> float | None:
    """Return the activation's slope for negative inputs, None if it has no such number."""
    slope = getattr(activation, "slope", None)
    return None if slope is None else float(slope)


def unless(default: object, value: object) -> object:
    """Return `value`, None if it is the default."""
    return None if value == default else value


def output_folder(args: argparse.Namespace, kind: str, **more: object) -> Path:
    """Return --out, or a name in the current folder made of whatever differs from the defaults.

    - `more`: the values of options that change the numbers, by what the name has before them; None: as by
      default.
    """
    if args.out is not None:
        return args.out
    parts = [f"{args.command}-K{args.students}-M{args.teachers}", kind]
    if args.activation != "relu":
        parts.append(args.activation)
    dimension = getattr(args, "dimension", None)
    values = {"a": args.slope, "d": dimension, **more}
    parts += [f"{letter}{value}" for letter, value in values.items() if value is not None]
    # A place module:object is no file name on all systems.
    return Path("-".join(re.sub(r"[:/\\]+", "-", part) for part in parts if part))


def check_folder(folder: Path, argument: str = "--out") -> None:
    """Raise UserError, naming the argument, unless files can be written to a folder, or one be made. Nothing
    is made."""
    from ..runtime.files import check_writable

    try:
        check_writable(folder)
    except OSError as error:
        raise UserError(
            f"argument {argument}: cannot keep results in the folder {str(folder)!r}: "
            f"{error.strerror or error}; allowed: a folder, or the name of a new one, where files can be "
            "written"
        ) from None


def report(
    folder: Path,
    texts: Mapping[str, str],
    printed: str | None = None,
    draw: tuple[str, Callable[[], Figure]] | None = None,
    kept: str = "",
) -> None:
    """Write texts, each whole or not at all, and then a figure to a folder, and print, even if that fails.

    - `texts`: by the names of their files. `draw`: the name of the figure's file, and what draws it. One that
      cannot be written does not keep the others from it.
    - `kept`: what is kept even if this fails, for the message.

    Raises StoreError, naming them, if there are any that cannot be written.
    """
    failures: dict[str, list[str]] = {}
    try:
        for name, text in texts.items():
            _write(folder / name, text, failures)
        if draw is not None:
            image = io.BytesIO()
            draw[1]().savefig(image, dpi=150, format="png")
            _write(folder / draw[0], image.getvalue(), failures)
    finally:  # a full disk does not hide the result
        if printed is not None:
            print(printed, flush=True)
    if failures:
        why = "; ".join(f"{', '.join(names)}: {reason}" for reason, names in failures.items())
        raise StoreError(f"{kept}not all could be written to {str(folder)!r} ({why})")


def _write(file: Path, content: str | bytes, failures: dict[str, list[str]]) -> None:
    """Write a file, or enter its name under the reason why it cannot be."""
    from ..runtime.files import write_whole

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, content)
    except OSError as error:
        failures.setdefault(error.strerror or str(error), []).append(file.name)


def remark(args: argparse.Namespace, contents: str, folder: Path) -> None:
    """Print where the results are, on standard error."""
    if not args.quiet:
        print(f"\n{contents}: {folder}/", file=sys.stderr)
