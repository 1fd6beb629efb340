"""What a proof is about: an ansatz, a box of its parameters, and the precision, all in exact numbers."""

import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..ansatz.block_ansatz import parameter_names
from .ball_hessian import gram
from .ball_loss import BallPoint
from .balls import arb
from .groups import Rows


def as_floats(x: Iterable) -> tuple[float, ...]:
    """Return numbers as floats."""
    return tuple(float(value) for value in x)


def to_dyadic(x: arb) -> str:
    """Return a ball of radius 0 as text: 3p-2 is 3·2⁻²."""
    return "{}p{}".format(*x.man_exp())


DYADIC = re.compile(r"(-?[0-9]{1,4200})p(-?[0-9]{1,5})", re.ASCII)
"""What `to_dyadic` writes. Python itself reads no longer whole numbers."""


def from_dyadic(text: str) -> arb:
    """Return the number that `to_dyadic` has written, exactly."""
    mantissa, exponent = text.split("p")
    return arb((int(mantissa), int(exponent)))


class Statement(NamedTuple):
    """An ansatz, a box of its parameters, and the bits to compute with, in exact numbers.

    - `sizes`: of the teacher blocks. `matched`, `free`: the block that each group of students is matched
      to, and the number of free students. `readout`, `teacher_readout`: of each group and each block.
      `slope`: of leaky ReLU, 0 for ReLU.
    - `centre`, `radius`: of the box, as `to_dyadic` writes them. In each direction of the ansatz, in the
      order of `groups.split_directions`, the box has the radius over that direction's length in weight
      space.
    - `bits`: of the arithmetic's mantissas.
    """

    sizes: tuple[float, ...]
    matched: tuple[int, ...]
    free: int
    readout: tuple[float, ...]
    teacher_readout: tuple[float, ...]
    slope: float
    centre: tuple[str, ...]
    radius: str
    bits: int

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the ansatz's parameters, which follow from its blocks."""
        return parameter_names(self.matched, self.free, len(self.sizes))

    def centre_balls(self) -> list[arb]:
        """Return the box's centre as balls of radius 0."""
        return [from_dyadic(x) for x in self.centre]

    def students_at(self, y: Sequence) -> Rows:
        """Return the students whose coefficients along the directions of the ansatz are y, balls or exact
        numbers."""
        B, matched = len(self.sizes), len(self.matched)
        const = [[arb(0)] * B for _ in range(matched + self.free)]
        same: list = [0] * (matched + self.free)
        rest = iter(y)
        for row in range(matched + self.free):
            for b in range(B):
                const[row][b] = next(rest)
                if row < matched and self.matched[row] == b:
                    same[row] = next(rest)
        return Rows(const, same)

    def point_at(self, y: Sequence[arb], sizes: Sequence[arb] = ()) -> BallPoint:
        """Return the point, or the box, with coefficients y along the directions of the ansatz.

        - `sizes`: of the blocks, if others than the statement's.
        """
        own_sizes, readout, teachers = (
            [arb(x) for x in of] for of in (self.sizes, self.readout, self.teacher_readout)
        )
        return BallPoint(
            list(sizes) or own_sizes,
            self.matched,
            self.free,
            self.students_at(y),
            readout,
            teachers,
            arb(self.slope),
        )

    def ansatz_parameters(self, y: Sequence[arb]) -> list[arb]:
        """Return the parameters in the order of the ansatz, diagonals and then constants, from coefficients
        along its directions."""
        const, same = self.students_at(y)
        diagonal = [same[i] + const[i][b] for i, b in enumerate(self.matched)]
        return [*diagonal, *(x for row in const for x in row)]

    def coefficients(self, z: Sequence[arb]) -> list[arb]:
        """Return coefficients along the directions of the ansatz near its parameters z: the inverse of
        `ansatz_parameters`, but for rounding."""
        n, B = len(self.matched), len(self.sizes)
        y = []
        for row in range(n + self.free):
            for b in range(B):
                const = z[n + row * B + b]
                y.append(const)
                if row < n and self.matched[row] == b:
                    y.append((z[row] - const).mid())
        return y


def box_radii(point: BallPoint, radius: arb) -> list[arb]:
    """Return the radii of a box in the ansatz: `radius` over the length of each direction in weight space."""
    G = gram(point, point.directions[0])
    return [radius / G[k, k].sqrt() for k in range(G.nrows())]
