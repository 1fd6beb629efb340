r"""The spectrum of the Hessian in the weights, which decides whether a fixed point is stable.

`spectrum` returns all eigenvalues for gradient flow: at a point of a block ansatz from its symmetry at any
width (`isotypic`), elsewhere from the dense Hessian or, where that is too large, its ends by Lanczos.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from scipy.sparse.linalg import LinearOperator, eigsh

from ..activations.base import AbstractActivation
from ..ansatz.ansatz_point import AnsatzPoint
from ..ansatz.block_ansatz import formal
from ..ansatz.isotypic import hessian_spectrum
from ..ansatz.padding import padded
from ..ansatz.reduced_loss import gradient_norm
from ..flows.gradient import GradientFlow
from ..model.problem import Problem, check_concrete, check_dimension
from ..model.state import Weights, check_shapes
from ..runtime.arguments import check_bound, check_instance
from ..runtime.compiler import known_numbers
from ..runtime.errors import UserError
from ..runtime.tables import html_table, text_table, with_decimals
from .fixed_points import FixedPoint, check_point, check_problem
from .local_geometry import STABILITY_BAND, hessian
from .rounding import ansatz_rounding, weights_rounding

DENSE = 3000
"""The largest K·d whose Hessian is written out."""
_EQUAL_EIGENVALUES = 1e-9  # distance of eigenvalues that count as one, where no symmetry is used
_LANCZOS_EIGENVALUES = 12  # at either end
_ROUNDING = 32 * np.finfo(float).eps  # of an eigenvalue, as a part of the largest one
_SHOWN = 6  # eigenvalues that are printed in one line


@dataclass(frozen=True, repr=False)
class Spectrum:
    """Eigenvalues of the Hessian ∂²L/∂W², ascending, with their multiplicities.

    - `eigenvalues`, `multiplicities` (n,): multiplicities add up to K·d (they are real numbers where
      block sizes are).
    - `representations` (n,): the representation of the symmetry that each belongs to; "" where none was used.
    - `complete`: False if these are only the ends of the spectrum, by Lanczos.
    - `band`: eigenvalues this close to 0 decide nothing; nor do those within `error`, an upper estimate of
      what rounding makes of an eigenvalue: `rounding` times the largest one (which grows like K/4), more for
      teachers that are nearly dependent; and `of_angles`, where units lie nearly on one ray and σ has a kink.
    - `index`: how many eigenvalues are below both, with multiplicity.
    - `gradient_norm`: of ∂L/∂W at the point. Eigenvalues below `unsure` may have another sign at the fixed
      point next to it, if there is one; those of directions that the symmetry protects have no such bound.
    - `verdict`: `stable`, `unstable` or `marginal`, by the smallest eigenvalues.

    Printed in a few lines; `str` is the whole table.
    """

    eigenvalues: np.ndarray
    multiplicities: np.ndarray
    representations: tuple[str, ...]
    complete: bool
    band: float
    rounding: float = _ROUNDING
    gradient_norm: float = 0.0
    unsure: float = 0.0
    of_angles: float = 0.0

    @property
    def smallest(self) -> float:
        """The smallest eigenvalue."""
        return float(self.eigenvalues[0])

    @property
    def error(self) -> float:
        """An upper estimate of what rounding makes of an eigenvalue."""
        return self.rounding * float(np.abs(self.eigenvalues).max()) + self.of_angles

    @property
    def index(self) -> int | float:
        """How many eigenvalues are below −`band` and −`error`, with multiplicity: a whole number where block
        sizes are; of an incomplete spectrum, how many of those that were found."""
        count = float(self.multiplicities[self.eigenvalues < -self._undecided].sum())
        return round(count) if abs(count - round(count)) < 1e-9 else count

    @property
    def verdict(self) -> str:
        """`stable`, `unstable` or `marginal`."""
        moved = np.array([name in ("", "trivial") for name in self.representations])
        bounds = np.where(moved, max(self.unsure, self._undecided), self._undecided)
        if (self.eigenvalues < -bounds).any():
            return "unstable"
        return "stable" if (self.eigenvalues > bounds).all() else "marginal"

    @property
    def _undecided(self) -> float:
        return max(self.band, self.error)

    def _cells(self) -> tuple[Sequence[str], list[tuple[str, ...]]]:
        """Return the head and the rows of the table."""
        head = ("eigenvalue", "multiplicity", "representation")
        columns = self.eigenvalues, self.multiplicities, self.representations
        rows = [
            (with_decimals(value, self.error, 9), f"{count:.10g}", name)
            for value, count, name in zip(*columns, strict=True)
        ]
        if any(self.representations):
            return head, rows
        return head[:2], [row[:2] for row in rows]

    def _last_line(self) -> str:
        gradient = f"; gradient norm {self.gradient_norm:.1e}" if self.gradient_norm > 1e-8 else ""
        return f"{self.verdict} (band {self._undecided:.0e}), index {self.index:.10g}{gradient}"

    def __str__(self) -> str:
        return f"{text_table(*self._cells(), left=(2,))}\n{self._last_line()}"

    def __repr__(self) -> str:
        _, rows = self._cells()
        shown = [f"{value} (×{count})" for value, count, *_ in rows]
        if len(shown) > _SHOWN:
            shown = [*shown[: _SHOWN - 1], "…", shown[-1]]
        whole = "" if self.complete else ", the ends of it only"
        count = f"{float(self.multiplicities.sum()):.10g} eigenvalues{whole}"
        return f"Spectrum of {count}: {self._last_line()}\n  {', '.join(shown)}"

    def _repr_html_(self) -> str:
        return html_table(self._last_line(), *self._cells(), left=(2,))


@known_numbers()
def spectrum(
    problem: Problem,
    point: FixedPoint | AnsatzPoint | Weights,
    dimension: int | None = None,
    band: float = STABILITY_BAND,
) -> Spectrum:
    """Return all eigenvalues of the full Hessian in the weights, with multiplicities.

    - `point`: a point of a block ansatz, at a cost that doesn't grow with its size; or any weights. Their
      Hessian is written out up to K·d = 3,000, where eigenvalues that agree to 1e-9 are reported as one;
      above that the 12 lowest and 12 highest eigenvalues are found by Lanczos (`complete` is False).
    - `dimension`: d of the inputs; M, or the weights' own, unless given.
    - `band`: eigenvalues this close to 0 are called `marginal`.

    For gradient flow; `hessian` has the matrix for any flow. Where a student has length 0 the loss has
    a kink and no Hessian. Raises UserError if the point and the problem or the dimension don't fit,
    and for a band that is negative.
    """
    check_problem(problem)
    kinds = (
        "a point such as that of ol.fixed_point or ol.family, or Weights such as ol.Weights(W, v)"
    )
    check_instance("point", point, (FixedPoint, AnsatzPoint, Weights), kinds)
    check_bound("band", band)
    check_concrete("problem", problem)
    check_concrete("point", point)
    slope = None
    if isinstance(point, FixedPoint):
        point, slope = point.ansatz_point, float(point.residual)
    if isinstance(point, AnsatzPoint):
        d = check_dimension(problem, dimension)
        check_point(problem, point)
        found = hessian_spectrum(point.ansatz, point.parameters, d - problem.teachers)
        values, counts, names = zip(*found, strict=True)
        ansatz = point.ansatz
        c, M = float(ansatz.correlation), float(jnp.sum(ansatz.sizes))
        rounding = _ROUNDING / min(1 - c, 1 + (M - 1) * c)  # the smallest eigenvalue of T
        slope = _gradient_norm(point) if slope is None else slope
        unsure = _unsure(slope, ansatz.activation, np.ones(1), np.asarray(ansatz.teacher_readout))
        numbers = band, rounding, slope, unsure, ansatz_rounding(point)
        return Spectrum(np.array(values), np.array(counts), names, True, *numbers)
    check_shapes(problem, point, "point")
    K, d = point.W.shape
    full = d if dimension is None else check_dimension(problem, dimension)
    if full < d:
        raise UserError(f"dimension must be at least the weights' own, {d}; got {full}")
    weights = Weights(jnp.pad(point.W, ((0, 0), (0, full - d))), point.v)
    found = (_dense if K * full <= DENSE else _lanczos)(problem, weights, band)
    slope = float(jnp.linalg.norm(GradientFlow()(0.0, weights, problem).W))
    lengths = np.sqrt(np.diagonal(np.asarray(problem.T)))
    unsure = _unsure(slope, problem.activation, lengths, np.asarray(problem.readout))
    angles = weights_rounding(problem, np.asarray(weights.W), np.asarray(weights.v))
    return replace(found, gradient_norm=slope, unsure=unsure, of_angles=angles)


def _gradient_norm(point: AnsatzPoint) -> float:
    padding = padded(formal(point.ansatz))
    return float(_norm(padding.blocks, padding.pad(point.parameters)))


_norm = eqx.filter_jit(gradient_norm)


_powers = eqx.filter_jit(lambda activation, q: activation.second_moment(q, q, q))


def _unsure(slope: float, activation: AbstractActivation, lengths, readout) -> float:
    """Return the size of the eigenvalues λ that a third derivative of 10⁴ in units of the teacher, times the
    distance |∇L|/λ to the fixed point, may change by as much as themselves."""
    power = float(np.mean(readout**2) * np.mean(_powers(activation, jnp.asarray(lengths**2))))
    return float(np.sqrt(1e4 * slope * power / np.mean(lengths) ** 3))


def _merged(values: np.ndarray, complete: bool, band: float) -> Spectrum:
    """Return ascending eigenvalues as different ones with multiplicities."""
    first = np.flatnonzero(np.diff(values, prepend=-np.inf) > _EQUAL_EIGENVALUES)
    counts = np.diff(first, append=len(values))
    means = np.add.reduceat(values, first) / counts
    return Spectrum(means, counts.astype(float), ("",) * len(first), complete, band)


@eqx.filter_jit
def _weight_hessian(problem: Problem, weights: Weights) -> Float[Array, "n n"]:
    K, d = weights.W.shape
    H, _ = hessian(GradientFlow(), problem, weights)
    return H.reshape(K, d + 1, K, d + 1)[:, :d, :, :d].reshape(K * d, K * d)


def _dense(problem: Problem, weights: Weights, band: float) -> Spectrum:
    H = np.asarray(_weight_hessian(problem, weights))
    return _merged(np.linalg.eigvalsh(H), True, band)


@eqx.filter_jit
def _hessian_times(
    problem: Problem, weights: Weights, u: Float[Array, "K d"]
) -> Float[Array, "K d"]:
    def rates(W):
        return GradientFlow()(0.0, Weights(W, weights.v), problem).W

    return -jax.jvp(rates, (weights.W,), (u,))[1]


def _lanczos(problem: Problem, weights: Weights, band: float) -> Spectrum:
    shape = weights.W.shape

    def product(u: np.ndarray) -> np.ndarray:
        return np.asarray(_hessian_times(problem, weights, jnp.asarray(u.reshape(shape)))).ravel()

    n = weights.W.size
    H = LinearOperator((n, n), matvec=product, dtype=float)  # pyright: ignore
    start = np.random.default_rng(0).standard_normal(n)
    ends = [
        eigsh(H, k=_LANCZOS_EIGENVALUES, which=which, v0=start, return_eigenvectors=False)
        for which in ("SA", "LA")
    ]
    return _merged(np.sort(np.concatenate(ends)), False, band)
