"""What is proved of a fixed point, as a value and as a file."""

import json
import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from ..runtime.files import write_whole
from .balls import arb, ctx

MINIMUM, SADDLE, UNDECIDED, REFUTED = "local minimum", "saddle", "undecided", "refuted"
GLOBAL = "global minimum"


class Enclosure(NamedTuple):
    """A number that is proved to lie from `low` to `high`; `ball` is the same in decimals, often narrower."""

    ball: str
    low: float
    high: float

    def __str__(self) -> str:
        return self.ball

    def short(self) -> str:
        """Up to 18 digits."""
        with ctx.workprec(128):
            return arb(self.ball).str(18)


class Eigenvalue(NamedTuple):
    """Of the Hessian: where it lies, how often it occurs, and on which representation."""

    value: Enclosure
    multiplicity: float
    representation: str


class Statement(NamedTuple):
    """What a proof is about, in exact numbers: an ansatz, a box of parameters, and the bits to compute with.

    `names`: of the ansatz's parameters. `centre`, `radius`: 3p-2 is 3·2⁻². The box has, in each direction
    of the ansatz, the radius over that direction's length in weight space.
    """

    sizes: tuple[float, ...]
    matched: tuple[int, ...]
    free: int
    readout: tuple[float, ...]
    teacher_readout: tuple[float, ...]
    slope: float
    names: tuple[str, ...]
    centre: tuple[str, ...]
    radius: str
    bits: int


def enclosure(x: arb) -> Enclosure:
    """A ball in decimals, as many as its precision has, and between two floating-point numbers."""
    low, high = float(x.lower()), float(x.upper())
    digits = int(0.31 * ctx.prec)
    return Enclosure(x.str(digits), math.nextafter(low, -math.inf), math.nextafter(high, math.inf))


def exact(x: arb) -> str:
    """A ball of radius 0 as `Statement` has it."""
    return "{}p{}".format(*x.man_exp())


def ball(told: str) -> arb:
    """What `exact` has written."""
    man, exp = told.split("p")
    return arb(int(man)) * arb(2) ** int(exp)


@dataclass(frozen=True)
class Certificate:
    """What is proved of a fixed point (`prove` says it in words).

    - `verdict`: `local minimum`, `saddle`, `undecided`, or `refuted`: no fixed point is near the one given.
      `global minimum` where the loss is 0 and the Hessian singular. `reason`: why it is one of the last
      three, or what of a saddle's index is open.
    - `index`: how many negative eigenvalues the Hessian has at least and at most; None if no isolated
      fixed point is proved.
    - `loss`, `parameters` (by the ansatz's names), `eigenvalues`: enclosures. Of d = M; `beyond`: what each
      further input direction adds.
    - `statement`: the ansatz and the box, in exact numbers, from which all is computed again.
    """

    verdict: str
    reason: str
    index: tuple[float, float] | None
    loss: Enclosure | None
    parameters: dict[str, Enclosure]
    eigenvalues: tuple[Eigenvalue, ...]
    beyond: tuple[Eigenvalue, ...]
    statement: Statement | None

    @property
    def proved(self) -> bool:
        """Whether it is a minimum or a saddle."""
        return self.verdict in (MINIMUM, SADDLE, GLOBAL)

    @property
    def in_any_dimension(self) -> bool:
        """Whether the verdict holds for inputs of any dimension d ≥ M."""
        more = self.verdict == SADDLE or all(value.low > 0 for value, _, _ in self.beyond)
        return self.proved and more

    def as_json(self) -> dict:
        """What `save` writes."""
        told = {name: _plain(value) for name, value in vars(self).items()}
        return {"odelandscape": "certificate", **told}

    def save(self, file: str | PathLike) -> None:
        """As JSON, which `check_certificate` reads and proves again."""
        write_whole(Path(file), json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n")

    def __str__(self) -> str:
        lines = [self.verdict + (f": {self.reason}" if self.reason else "")]
        if self.loss is None:
            return lines[0]
        lines += [f"loss {self.loss}"]
        lines += [f"{name:24} {value}" for name, value in self.parameters.items()]
        for title, rows in (("eigenvalue", self.eigenvalues), ("beyond the teacher", self.beyond)):
            if rows:
                lines += ["", f"{title}, how often, representation"]
                lines += [f"{value}  × {many:<10.10g} {name}" for value, many, name in rows]
        return "\n".join(lines)


def _plain(x):
    """Named tuples as JSON has them."""
    if hasattr(x, "_asdict"):
        return {name: _plain(value) for name, value in x._asdict().items()}
    if isinstance(x, dict):
        return {name: _plain(value) for name, value in x.items()}
    return [_plain(value) for value in x] if isinstance(x, tuple | list) else x
