r"""Fixed points in as many digits as their width needs, for ReLU and leaky ReLU.

The loss of a wide network is a small difference of large sums: of order $1/K$ where terms of order $K^2$
cancel. And parameters in float64 are too coarse themselves: K students whose diagonal of 1 + 2.4/K² is
rounded have together a gradient of $\epsilon K^{3/2}$. So a point that is found in float64 is refined here,
by Newton's method on numbers of mpmath. That costs some hundredths of a second at any width.
"""

from typing import Any, NamedTuple

import mpmath as mp
import numpy as np
from jaxtyping import Float

from ..activations.relu import as_leaky_relu
from .block_ansatz import AbstractBlocks
from .block_matrix import BlockMatrix

_STEPS = 8
_RESIDUAL = (
    1e-35  # of the gradient: at K = 10¹² the smallest parameters have all digits of a float64 then
)
_FARTHEST = 1e-3  # that Newton's method may go, as a part of the weights' norm


class ManyDigits(NamedTuple):
    """A fixed point: its parameters, its loss and the norm of its gradient ∂L/∂W, all rounded to float64
    after they were computed."""

    z: Float[np.ndarray, " P"]
    loss: float
    residual: float


def refined_in_digits(blocks: AbstractBlocks, z: Float[np.ndarray, " P"]) -> ManyDigits | None:
    """Return the fixed point next to z. None if there is none that Newton's method finds, students of length
    0, or another activation."""
    if as_leaky_relu(blocks.activation) is None:
        return None
    width = float(np.sum(np.asarray(blocks.sizes))) + blocks.free
    with mp.workdps(50 + 5 * round(np.log10(1 + width))):
        try:
            return _refined(BlocksInDigits(blocks), _numbers(z))
        except ZeroDivisionError:  # a student of length 0, or a singular Jacobian
            return None


def _refined(blocks: "BlocksInDigits", z: np.ndarray) -> ManyDigits | None:
    start, norm = z, blocks.norm(z)
    for _ in range(_STEPS):
        rates = blocks.rates(z)
        residual = blocks.norm(rates)
        if residual <= _RESIDUAL:
            return ManyDigits(z.astype(float), float(blocks.loss(z)), float(residual))
        h = mp.mpf(10) ** (
            -mp.mp.dps // 3
        )  # of one-sided differences, exact to a third of the digits
        columns = [(blocks.rates(z + h * e) - rates) / h for e in np.eye(len(z), dtype=int)]
        J = mp.matrix(np.stack(columns, axis=1).tolist())
        z = z - np.array(list(mp.lu_solve(J, mp.matrix(rates.tolist()))), dtype=object)
        if blocks.norm(z - start) > _FARTHEST * norm:
            return None
    return None


def _numbers(x) -> np.ndarray:
    """Return numbers as those of mpmath."""
    x = np.asarray(x, dtype=float)
    return np.array([mp.mpf(value) for value in x.ravel().tolist()], dtype=object).reshape(x.shape)


class _Kernel(NamedTuple):
    """Of pairs of units: I2, and the mixing scalars p (times |w|²) and s (`AbstractActivation`)."""

    moment: np.ndarray
    stretch: np.ndarray
    slope: np.ndarray


class BlocksInDigits:
    """The blocks of an ansatz, in numbers of mpmath. See `reduced_loss` for the formulas.

    Parameters z (P,) are arrays of NumPy of such numbers.
    """

    def __init__(self, blocks: AbstractBlocks):
        leaky = as_leaky_relu(blocks.activation)
        self.leak = mp.mpf(float(leaky.slope if leaky is not None else 0))
        self.own = blocks.own.astype(int)
        S, B = self.own.shape
        self.matched = list(blocks.matched)
        self.sizes = _numbers(blocks.sizes)
        self.students = self.own @ self.sizes + (1 - self.own.sum(axis=1))
        c = mp.mpf(float(blocks.correlation))
        self.T = BlockMatrix(np.full((B, B), c), (1 - c) * np.eye(B, dtype=int))
        self.v = _numbers(blocks.readout)
        self.a = np.concatenate([self.v, -_numbers(blocks.teacher_readout)])
        self.counts = np.concatenate([self.students, self.sizes])
        # Types of units that share an index: equal ones, and those of one group.
        groups = np.concatenate([self.own, np.eye(B, dtype=int)])
        self.shared = np.maximum(groups @ groups.T, np.eye(S + B, dtype=int))

    def coefficients(self, z: np.ndarray) -> BlockMatrix:
        S, B = self.own.shape
        n = len(self.matched)
        const = z[n:].reshape(S, B)
        diagonal = np.concatenate([z[:n], np.zeros(S - n, dtype=int)])
        return BlockMatrix(const, self.own * (diagonal[:, None] - const))

    def norm(self, z: np.ndarray) -> Any:
        """Return the Frobenius norm of the weights with these parameters."""
        A = self.coefficients(z)
        Q = A.times(self.T, self.sizes).times(A.T, self.sizes)
        return mp.sqrt(self.students @ np.diagonal(Q.diagonal))

    def _kernels(self, z: np.ndarray) -> tuple[np.ndarray, _Kernel, _Kernel]:
        """Return the squared norms of all types of units, and the kernels of pairs at different indices
        and at equal ones."""
        A, B = self.coefficients(z), len(self.sizes)
        units = BlockMatrix(
            np.concatenate([A.const, np.zeros((B, B), dtype=int)]),
            np.concatenate([A.same, np.eye(B, dtype=int)]),
        )
        Q = units.times(self.T, self.sizes).times(units.T, self.sizes)
        squares = np.diagonal(Q.diagonal)
        together = np.where(self.shared > 0, Q.diagonal, Q.const)
        return squares, self._kernel(squares, Q.const), self._kernel(squares, together)

    def _kernel(self, squares: np.ndarray, products: np.ndarray) -> _Kernel:
        a, bend = self.leak, (1 - self.leak) ** 2 / (2 * mp.pi)
        found = np.empty((3, *products.shape), dtype=object)
        for (i, j), product in np.ndenumerate(products):
            area = mp.sqrt(max(squares[i] * squares[j] - product**2, mp.mpf(0)))  # |w||w'| sin θ
            rest = mp.pi - mp.atan2(area, product)
            found[:, i, j] = (
                bend * (area + rest * product) + a * product,
                bend * area,
                bend * rest + a,
            )
        return _Kernel(*found)

    def loss(self, z: np.ndarray) -> Any:
        _, apart, together = self._kernels(z)
        same = self.shared * self.counts[:, None]
        off = self.counts[:, None] * self.counts[None, :] - same
        return self.a @ (off * apart.moment + same * together.moment) @ self.a / 2

    def rates(self, z: np.ndarray) -> np.ndarray:
        """Return the rates of z under gradient flow, Ẇ = −X W − Y W*."""
        S = len(self.own)
        squares, apart, together = self._kernels(z)
        shared = self.shared[:S]
        more = together.stretch[:S] - apart.stretch[:S]
        stretch = (apart.stretch[:S] * self.counts[None, :] + shared * more) @ self.a / squares[:S]
        weights = self.v[:, None] * self.a[None, :]
        const = weights * apart.slope[:S]
        same = weights * shared * (together.slope[:S] - apart.slope[:S])
        same[np.arange(S), np.arange(S)] += self.v * stretch
        X = BlockMatrix(const[:, :S], same[:, :S])
        Y = BlockMatrix(const[:, S:], same[:, S:])
        rates = X.times(self.coefficients(z), self.students).plus(Y)
        diagonal = rates.diagonal[np.arange(len(self.matched)), self.matched]
        return -np.concatenate([diagonal, rates.const.ravel()])
