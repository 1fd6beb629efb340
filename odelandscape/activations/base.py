r"""What defines an activation: three functions of a 2×2 covariance, and one of a 4×4 for SGD.

Everything that gradient flows need from an activation follows from $I_2$ and two *mixing scalars*, because by
Stein's lemma $E[\sigma'(u)\, x\, \sigma(w)]$ is a combination of the weight vectors behind $u$ and
$w$ alone:

$$E[\sigma'(u)\, v\, \sigma(w)] = p\, c_{uv} + s\, c_{vw}, \qquad
  p = E[\sigma''(u)\sigma(w)] = 2\,\partial I_2/\partial c_{uu}, \quad
  s = E[\sigma'(u)\sigma'(w)] = \partial I_2/\partial c_{uw}.$$

The derivatives on the right are Price's theorem. A new activation is one file with a subclass of
`AbstractActivation` that defines σ, `second_moment` and `mixing_scalars` elementwise, and one line in
`activations.BY_NAME`: all of the flows, losses and Hessians follow. The noise of SGD at a finite learning
rate needs $I_4 = E[\sigma'(u)\sigma'(v)\sigma(s)\sigma(t)]$ as well, which is done by quadrature unless the
activation has a closed form.
"""

import abc
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..runtime.arguments import shown
from ..runtime.errors import UserError
from ..runtime.registry import restore_defaults
from . import regularity
from .quadrature_rules import fourth_moment

_MOMENTS = ("__call__", "second_moment", "mixing_scalars")
_PROPERTIES = ("positively_homogeneous", "even", "odd", "smooth", "smooth_at_zero", "leak")
_DERIVED = {
    "second_moment": ("__call__",),
    "mixing_scalars": ("__call__", "second_moment"),
    "quadratic_form": ("second_moment",),
    "grouped_quadratic_form": ("second_moment",),
    "I4": ("__call__",),
    "I4_error": ("__call__", "I4"),
    "slope_products": ("__call__", "I4"),
    **dict.fromkeys(_PROPERTIES, _MOMENTS),
}
"""What each method follows from: a subclass that overrides the latter does not inherit the former's closed
form, but has the default of `AbstractActivation`."""


def check_continuous(activation: "AbstractActivation") -> None:
    """Raise UserError, naming the argument, for an activation that jumps."""
    if not activation.continuous:
        raise UserError(
            "activation must be continuous: the loss of a σ that jumps has cones where units coincide, which "
            f"no Hessian classifies; got {shown(activation)}"
        )


def fourth_moment_error(
    activation: "AbstractActivation", length: float, breaks: tuple[float, ...]
) -> float:
    """Return the estimate of `AbstractActivation.I4_error`, of a σ that is smooth but at 0 and at `breaks`; 0
    of one with traced numbers."""
    if not regularity.is_concrete(activation):
        return 0.0
    if not activation.continuous:
        return np.inf
    with jax.ensure_compile_time_eval():
        pairs = np.kron(np.eye(2), np.ones((2, 2)))
        covariances = length**2 * jnp.asarray([np.ones((4, 4)), pairs], float)
        found = np.array([activation.I4(C) for C in covariances])
    values = partial(regularity.evaluate, activation)
    wanted = np.array(regularity.fourth_moments(values, breaks, length))
    return float(np.max(np.abs(found - wanted)) / wanted[1])


class GroupedUnits(NamedTuple):
    """Units (students and teachers) in groups whose members are interchangeable, by their overlaps.

    A *type* of unit, one row here, stands for as many units as its group has members: the students
    matched to a block of teachers and these teachers are two types of one group. Sizes are numbers and may
    be real. Differences whose digits would be lost by cancellation are given as such: the norm minus the
    group's reference (a teacher's norm, where the group has teachers), and the squared distance of
    units of one group at the same index.
    """

    a: Float[Array, " U"]  # readouts; the teachers' with a minus
    member: np.ndarray  # (U, G) 1 where the type is in the group
    size: Float[Array, " G"]
    reference: np.ndarray  # (G,) norm that `excess` is measured from
    excess: Float[Array, " U"]  # |w| − reference of its group
    off: Float[Array, "U U"]  # overlaps at different indices
    same: Float[Array, "U U"]  # overlaps at the same index, for types of one group
    gap: Float[Array, "U U"]  # |w_u − w_u'|² at the same index, for types of one group
    total: Float[Array, ""]  # |Σ a_l w_l|² over all units

    @property
    def norm(self) -> Float[Array, " U"]:
        """The norm |w| of each type."""
        return self.excess + self.member @ self.reference

    def pairs(self) -> tuple[Float[Array, "U U"], Float[Array, "U U"]]:
        """Return the numbers of ordered pairs of each two types, at different indices and at equal ones."""
        size = jnp.asarray(self.member) @ self.size
        same = jnp.asarray(self.member @ self.member.T) * size[:, None]
        return size[:, None] * size[None, :] - same, same


class AbstractActivation(eqx.Module):
    """The Gaussian integrals of one scalar function σ. Source: paper, Appendices A and E.

    A subclass of another activation that overrides one of its methods has what follows from it by default,
    and not the closed forms of the other activation.
    """

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        restore_defaults(cls, AbstractActivation, _DERIVED)

    @abc.abstractmethod
    def __call__(self, x: Float[Array, "..."]) -> Float[Array, "..."]:
        """Return σ(x), elementwise."""

    @property
    def positively_homogeneous(self) -> bool:
        """Whether σ(a x) = a σ(x) for a > 0: then (w, v) → (a w, v / a) leaves the network unchanged.

        False unless overridden, as is `smooth`: False makes no claim.
        """
        return False

    @property
    def even(self) -> bool:
        """Whether σ(−x) = σ(x): then w → −w leaves the network unchanged.

        Decided from values of σ unless overridden, as are `odd` and `smooth_at_zero` (`regularity`): a bool
        inside `jit`, too. False, without a claim, where σ depends on traced numbers.
        """
        return self._shows(regularity.is_even)

    @property
    def odd(self) -> bool:
        """Whether σ(−x) = −σ(x): then (w, v) → (−w, −v) leaves the network unchanged."""
        return self._shows(regularity.is_odd)

    @property
    def smooth_at_zero(self) -> bool:
        """Whether σ is twice differentiable at 0: then the loss has a Hessian where units have length 0."""
        return self.smooth or self._shows(regularity.is_twice_differentiable_at_zero)

    @property
    def continuous(self) -> bool:
        """Whether σ has no jump: where it has one the loss has cones at units that coincide, and no gradient.

        Decided from values between −8 and 8 unless overridden.
        """
        return self.smooth or not self._shows(regularity.jumps_anywhere)

    def accurate_at(self, length: float) -> bool:
        """Return whether the moments of units of this length are as accurate as of shorter ones.

        True unless overridden, as it is by what integrates numerically.
        """
        return True

    @property
    def nodes(self) -> int:
        """How many nodes the integrals of two units are sums over, 1 unless overridden: a closed form."""
        return 1

    def _shows(self, property_of: Callable[[regularity.Values], bool]) -> bool:
        return regularity.is_concrete(self) and property_of(partial(regularity.evaluate, self))

    @property
    def smooth(self) -> bool:
        """Whether σ is twice differentiable everywhere: then the loss is twice differentiable in the weights
        at coincident units and at units of length 0, too."""
        return False

    @property
    def leak(self) -> float | Float[Array, ""] | None:
        """The slope a for which σ(x) = a x + (1 − a) max(x, 0), 0 for ReLU; None unless overridden: for any
        other function."""
        return None

    @abc.abstractmethod
    def second_moment(
        self, c11: Float[Array, "..."], c12: Float[Array, "..."], c22: Float[Array, "..."]
    ) -> Float[Array, "..."]:
        """Return I2 = E[σ(u) σ(w)] elementwise, for covariances that broadcast against each other."""

    def mixing_scalars(
        self, c11: Float[Array, "..."], c12: Float[Array, "..."], c22: Float[Array, "..."]
    ) -> tuple[Float[Array, "..."], Float[Array, "..."]]:
        """Return (p, s) elementwise; where `c11` is 0, p is finite (it multiplies a weight that is 0).

        Unless an activation overrides it, the derivatives of `second_moment` (Price's theorem).
        """
        c11, c12, c22 = jnp.broadcast_arrays(c11, c12, c22)
        one = jnp.ones_like(c11)
        _, half_p = jax.jvp(lambda c: self.second_moment(c, c12, c22), (c11,), (one,))
        _, s = jax.jvp(lambda c: self.second_moment(c11, c, c22), (c12,), (one,))
        return 2 * half_p, s

    def quadratic_form(
        self, a: Float[Array, " n"], covariance: Float[Array, "n n"]
    ) -> Float[Array, ""]:
        r"""Return $E[(\sum_k a_k \sigma(\lambda_k))^2] = \sum_{kl} a_k a_l I_2(k, l)$.

        Twice the population loss, where `a` holds the students' and minus the teachers' readouts. An
        activation overrides it where the sum can be arranged to lose fewer digits by cancellation.
        """
        c = jnp.diagonal(covariance)
        return a @ self.second_moment(c[:, None], covariance, c[None, :]) @ a

    def grouped_quadratic_form(self, units: GroupedUnits) -> Float[Array, ""]:
        """Return `quadratic_form` of all units that the types stand for, at a cost independent of the sizes.

        An activation overrides it where differences can be taken before digits are lost by cancellation.
        """
        off, same = units.pairs()
        q = jnp.diagonal(units.same)
        a = units.a[:, None] * units.a[None, :]
        apart = self.second_moment(q[:, None], units.off, q[None, :])
        # Types of different groups have no pairs at the same index; any covariance does there.
        together = jnp.where(units.member @ units.member.T > 0, units.same, units.off)
        together = self.second_moment(q[:, None], together, q[None, :])
        return jnp.sum(a * (off * apart + same * together))

    def I4(self, C: Float[Array, "4 4"]) -> Float[Array, ""]:
        """Return E[σ'(u) σ'(v) σ(s) σ(t)] of zero-mean Gaussians (u, v, s, t) with covariance C (paper, A.6).

        Unless an activation overrides it, a sum over a grid in four dimensions (`quadrature_rules`): 2.7
        million evaluations of σ, 10 to 30 ms. `I4_error` has its error: of tanh 4e-11 for units of length 1,
        1e-4 at 2 and 1e-2 at 3, some 1e-3 for a kink at 0 and a tenth for kinks elsewhere.
        """
        return fourth_moment(self, C)

    def I4_error(self, length: float) -> float:
        """Return the estimated error of I4 of units of this length, relative to E[σ'²] E[σ²].

        The larger of two: four units that coincide, and two pairs that do and are independent, against
        integrals along lines of values of σ. 0 for closed forms, infinite where σ jumps, and so E[σ'²] is.
        """
        return fourth_moment_error(self, length, ())

    def slope_products(
        self,
        a: Float[Array, " n"],
        covariance: Float[Array, "n n"],
        students: int,
        tolerance: float,
    ) -> Float[Array, "{students} {students}"]:
        r"""Return $E[\sigma'(\lambda_i)\sigma'(\lambda_j)(\sum_l a_l\sigma(\lambda_l))^2]$ of students.

        The noise of online SGD is proportional to it: $\sum_{lm} a_l a_m I_4(i, j, l, m)$. I4 is symmetric in
        (i, j) and in (l, m), so this takes K(K+1)/2 · n(n+1)/2 of them. An activation overrides it where the
        sums can be done in closed form; `tolerance` is the absolute error of an integral that is done
        numerically.

        - `a` (n,), `covariance` (n, n): readouts and overlaps of all units, the students first;
        - `students`: K, the number of students.
        """
        del tolerance
        pairs, others = (np.stack(np.triu_indices(n), 1) for n in (students, len(a)))
        index = np.concatenate(
            [np.repeat(pairs, len(others), 0), np.tile(others, (len(pairs), 1))], axis=1
        )
        moments = jax.vmap(self.I4)(covariance[index[:, :, None], index[:, None, :]])
        twice = np.where(others[:, 0] == others[:, 1], 1.0, 2.0)
        sums = moments.reshape(len(pairs), -1) @ (twice * a[others[:, 0]] * a[others[:, 1]])
        products = jnp.zeros((students, students), sums.dtype)
        products = products.at[pairs[:, 0], pairs[:, 1]].set(sums)
        return products.at[pairs[:, 1], pairs[:, 0]].set(sums)

    def I2(self, C: Float[Array, "2 2"]) -> Float[Array, ""]:
        """Return E[σ(u) σ(v)] of two zero-mean Gaussians with covariance C (paper, Eq. 23)."""
        return self.second_moment(C[0, 0], C[0, 1], C[1, 1])

    def I3(self, C: Float[Array, "3 3"]) -> Float[Array, ""]:
        """Return E[σ'(u) v σ(w)] of three zero-mean Gaussians (u, v, w) with covariance C (paper, Eq. 25)."""
        p, s = self.mixing_scalars(C[0, 0], C[0, 2], C[2, 2])
        return p * C[0, 1] + s * C[1, 2]
