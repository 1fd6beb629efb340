"""What is proved of a fixed point, as a value and as a file."""

import json
import math
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from .balls import arb, ctx
from .store import write_whole

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


def _statement(told: dict) -> Statement:
    s = Statement(
        sizes=_floats(told["sizes"]),
        matched=tuple(int(b) for b in told["matched"]),
        free=int(told["free"]),
        readout=_floats(told["readout"]),
        teacher_readout=_floats(told["teacher_readout"]),
        slope=float(told["slope"]),
        names=tuple(map(str, told["names"])),
        centre=tuple(map(str, told["centre"])),
        radius=str(told["radius"]),
        bits=int(told["bits"]),
    )
    S, B = len(s.matched) + s.free, len(s.sizes)
    lengths = [len(x) for x in (s.readout, s.teacher_readout, s.centre, s.names)]
    count = len(s.matched) + S * B
    if lengths != [S, B, count, count] or not all(size > 0 for size in s.sizes):
        raise ValueError("the numbers of its statement don't fit together")
    if s.free < 0 or s.bits < 2 or not all(0 <= b < B and s.sizes[b] > 1 for b in s.matched):
        raise ValueError("its statement is of no ansatz")
    for number in (*s.centre, s.radius):
        ball(number)
    return s


def _unproved(told: list[tuple[str, dict]], proved: list[tuple[str, dict]]) -> list[str]:
    if [what for what, _ in told] != [what for what, _ in proved]:
        return ["other parameters or eigenvalues than there are"]
    wrong = []
    for (what, old), (_, new) in zip(told, proved, strict=True):
        inside = arb(old["ball"]).contains(arb(new["ball"]))
        if not (inside and old["low"] <= new["low"] and new["high"] <= old["high"]):
            wrong.append(f"{what} in {old['ball']}")
    return wrong


def _floats(x) -> tuple[float, ...]:
    return tuple(float(value) for value in x)


class Claims(NamedTuple):
    """What a file says: of what, with which verdict, index and reason, and its enclosures."""

    statement: Statement | None
    verdict: str
    index: list[float] | None
    reason: str
    loss: list[tuple[str, dict]]
    parameters: list[tuple[str, dict]]
    eigenvalues: list[tuple[str, dict]]
    beyond: list[tuple[str, dict]]

    def unproved(self, certificate: Certificate) -> list[str]:
        """Those claims that a certificate of narrower enclosures doesn't bear out."""
        found = _claims(certificate.as_json())
        if (found.verdict, found.index) != (self.verdict, self.index):
            return [
                f"{self.verdict} of index {self.index}; proved is {found.verdict} of index {found.index}"
            ]
        wrong = []
        for told, proved in zip(self[4:], found[4:], strict=True):
            wrong += _unproved(told, proved)
        return wrong


def _claims(told: dict) -> Claims:
    rows = [
        [
            (f"{row['multiplicity']!r} eigenvalues on {row['representation']}", row["value"])
            for row in told[part]
        ]
        for part in ("eigenvalues", "beyond")
    ]
    return Claims(
        statement=None if told["statement"] is None else _statement(told["statement"]),
        verdict=told["verdict"],
        index=told["index"],
        reason=told["reason"],
        loss=[("loss", told["loss"])] if told["loss"] else [],
        parameters=list(told["parameters"].items()),
        eigenvalues=rows[0],
        beyond=rows[1],
    )


def read_claims(file: str | PathLike) -> Claims:
    """Of a saved certificate. Raises ValueError if it is none."""
    try:
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        if told["odelandscape"] != "certificate":
            raise KeyError("odelandscape")
        return _claims(told)
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise ValueError(f"{str(file)!r} isn't a certificate: {why!r}") from None
