"""What is proved of a fixed point, as a value and as a file."""

import json
import math
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from ..runtime.errors import StoreError
from ..runtime.files import write_whole
from ..runtime.tables import text_table
from .balls import arb, ctx
from .statement import Statement

MINIMUM, SADDLE, UNDECIDED, REFUTED = "local minimum", "saddle", "undecided", "refuted"
GLOBAL = "global minimum"


class Enclosure(NamedTuple):
    """A number that is proved to lie from `low` to `high`; `ball` is the same in decimals, often narrower."""

    ball: str
    low: float
    high: float

    def __str__(self) -> str:
        return self._signed(self.ball)

    def short(self) -> str:
        """Return the ball with up to 18 digits."""
        with ctx.workprec(128):
            return self._signed(arb(self.ball).str(18))

    def whole(self) -> str:
        """Return all that is claimed, with every digit."""
        if self.low > self.high:
            return f"from {self.low!r} to {self.high!r}, whose order is wrong"
        return f"{self.ball}, from {self.low!r} to {self.high!r}"

    def _signed(self, ball: str) -> str:
        """Return a ball, or the two ends where its digits hide the sign that is proved."""
        if not arb(ball).contains(0) or self.low <= 0 <= self.high:
            return ball
        down, up = (Context(3, rounding) for rounding in (ROUND_FLOOR, ROUND_CEILING))
        return f"[{down.create_decimal(self.low):g}, {up.create_decimal(self.high):g}]"


class Eigenvalue(NamedTuple):
    """An eigenvalue of the Hessian: where it lies, how often it occurs, and on which representation."""

    value: Enclosure
    multiplicity: float
    representation: str


def enclosure(x: arb) -> Enclosure:
    """Return a ball in decimals, as many as its precision has, and between two floating-point numbers."""
    low, high = float(x.lower()), float(x.upper())
    digits = int(0.31 * ctx.prec)
    ball = x.str(digits)
    if not x.contains(0) and arb(ball).contains(0):
        ball = x.str(digits, more=True)  # digits that aren't certain, and the sign, which is
    return Enclosure(ball, math.nextafter(low, -math.inf), math.nextafter(high, math.inf))


@dataclass(frozen=True, repr=False)
class Certificate:
    """What is proved of a fixed point (the docstring of `prove` states the theorem).

    - `verdict`: `global minimum` where the loss is proved to be 0, `local minimum`, `saddle`, `undecided`, or
      `refuted`: no fixed point is near the one given. `reason`: why it is one of the last two, or what of an
      index or of a global minimum is open.
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

    @classmethod
    def unproved(
        cls, verdict: str, reason: str, statement: Statement | None = None
    ) -> "Certificate":
        """Return a certificate that encloses nothing."""
        return cls(verdict, reason, None, None, {}, (), (), statement)

    @property
    def proved(self) -> bool:
        """Whether the point is proved to be a minimum or a saddle."""
        return self.verdict in (MINIMUM, SADDLE, GLOBAL)

    @property
    def in_any_dimension(self) -> bool:
        """Whether the verdict holds for inputs of any dimension d ≥ M."""
        more = self.verdict == SADDLE or all(value.low > 0 for value, _, _ in self.beyond)
        return self.proved and more

    def as_json(self) -> dict:
        """Return what `save` writes."""
        fields: dict[str, Any] = {name: _plain(value) for name, value in vars(self).items()}
        if self.statement is not None:
            fields["statement"] |= {"names": list(self.statement.names)}
        return {"odelandscape": "certificate", **fields}

    def save(self, file: str | PathLike) -> None:
        """Write the certificate as JSON, which `check_certificate` reads and proves again.

        Raises StoreError if the file cannot be written.
        """
        text = json.dumps(self.as_json(), indent=1, ensure_ascii=False) + "\n"
        try:
            write_whole(Path(file), text)
        except OSError as error:
            why = error.strerror or error
            raise StoreError(f"cannot write the certificate {str(file)!r}: {why}") from None

    def __repr__(self) -> str:
        parts = [self.verdict]
        if self.index is not None:
            parts.append(f"index {self.index_text}")
        if self.loss is not None:
            parts.append(f"loss {self.loss.short()}")
        if self.eigenvalues:
            parts.append(f"smallest eigenvalue {self.eigenvalues[0].value.short()}")
        if self.statement is not None:
            parts.append(f"{self.statement.bits} bits")
        return f"Certificate({', '.join(parts)})"

    @property
    def index_text(self) -> str:
        """The index, or its ends where it is open; "–" if there is none."""
        if self.index is None:
            return "–"
        low, high = self.index
        return f"{low:g}" if low == high else f"{low:g} – {high:g}"

    def __str__(self) -> str:
        parts = [self.verdict + (f": {self.reason}" if self.reason else "")]
        if self.loss is None:
            return parts[0]
        parts[0] += f"\nloss {self.loss}"
        if self.parameters:
            rows = [(name, str(value)) for name, value in self.parameters.items()]
            parts.append(text_table(("parameter", "enclosure"), rows, left=(0, 1)))
        tables = (("eigenvalue", self.eigenvalues), ("beyond the teacher", self.beyond))
        for title, eigenvalues in tables:
            if eigenvalues:
                rows = [(str(value), f"{many:.10g}", name) for value, many, name in eigenvalues]
                parts.append(
                    text_table((title, "multiplicity", "representation"), rows, left=(0, 2))
                )
        return "\n\n".join(parts)


def _plain(x):
    """Return named tuples as JSON has them."""
    if hasattr(x, "_asdict"):
        return {name: _plain(value) for name, value in x._asdict().items()}
    if isinstance(x, dict):
        return {name: _plain(value) for name, value in x.items()}
    return [_plain(value) for value in x] if isinstance(x, tuple | list) else x
