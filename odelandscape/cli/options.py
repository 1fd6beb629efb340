"""Options that several commands share."""

import argparse
from pathlib import Path

from ..activations.erf import Erf
from ..activations.relu import LeakyReLU, ReLU
from ..flows.base import AbstractFlow
from ..flows.gradient import GradientFlow
from ..flows.normalised import NormalisedFlow
from ..flows.online_sgd import OnlineSGD
from ..flows.orthonormal import OrthonormalFlow
from ..flows.two_layer import TwoLayerFlow
from ..runtime.errors import UserError

FLOWS = {
    "gd": GradientFlow,
    "ngd": NormalisedFlow,
    "ongd": OrthonormalFlow,
    "2l-gd": TwoLayerFlow,
    "sgd": OnlineSGD,
}
ACTIVATIONS = ("relu", "leaky-relu", "erf")


def whole(least: int):
    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = None
        if value is None or value < least:
            raise argparse.ArgumentTypeError(
                f"got {text!r}; allowed: whole numbers from {least} up"
            )
        return value

    return parse


def number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if abs(value) < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a finite number")


def positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if 0 < value < float("inf"):
        return value
    raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a finite number above 0")


def share(text: str) -> tuple[int, int]:
    try:
        i, n = (int(part) for part in text.split("/"))
    except ValueError:
        i, n = 0, 0
    if not 1 <= i <= n:
        raise argparse.ArgumentTypeError(
            f"got {text!r}; allowed: I/N with I from 1 to N, such as 3/16"
        )
    return i, n


def add_problem(add) -> None:
    add("-K", "--students", type=whole(1), required=True, metavar="K", help="students, from 1 up")
    add("-M", "--teachers", type=whole(1), required=True, metavar="M", help="teachers, from 1 up")
    add("--activation", choices=ACTIVATIONS, default="relu", help="relu is the default")
    add("--slope", type=number, metavar="a", help="of leaky-relu for negative inputs (0.1)")


def add_output(add, folder: str) -> None:
    add("--out", type=Path, metavar="DIR", help=f"folder for the results ({folder}, …)")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no progress bar, no remarks")


def activation_of(name: str, slope: float | None):
    if name == "leaky-relu":
        return LeakyReLU(0.1 if slope is None else slope)
    if slope is not None:
        raise UserError(f"argument --slope: only leaky-relu has one; got --activation {name}")
    return Erf() if name == "erf" else ReLU()


def flow_of(args: argparse.Namespace) -> AbstractFlow:
    if args.flow == "sgd":
        return OnlineSGD(0.1 if args.learning_rate is None else args.learning_rate)
    if args.learning_rate is not None:
        raise UserError(f"argument --learning-rate: only sgd has one; got --flow {args.flow}")
    return FLOWS[args.flow]()


def output_folder(args: argparse.Namespace, kind: str, **more: object) -> Path:
    if args.out is not None:
        return args.out
    parts = [f"{args.command}-K{args.students}-M{args.teachers}", kind]
    if args.activation != "relu":
        parts.append(args.activation)
    dimension = getattr(args, "dimension", None)
    for letter, value in {"a": args.slope, "d": dimension, **more}.items():
        if value:
            parts.append(f"{letter}{value}")
    return Path("-".join(part for part in parts if part))


def check_writable(folder: Path, file: str) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    except OSError as error:
        raise UserError(f"cannot keep results in the folder {str(folder)!r}: {error}") from None
