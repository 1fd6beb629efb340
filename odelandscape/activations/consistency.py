"""A user's activation at a few fixed points: whether its moments and properties are those of its values.

Solvers use one or the other; the activations of this package are compared by its tests.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from ..runtime.arguments import shown
from ..runtime.code import forget_changed
from ..runtime.errors import UserError
from ..runtime.registry import is_from_this_package
from . import regularity
from .base import AbstractActivation, GroupedUnits

_TOLERANCE = 1e-3


def check_moments(activation: AbstractActivation) -> None:
    """Raise UserError unless the moments that a user's class gives are those of its σ (to 1e-3, so that kinks
    anywhere are allowed), and finite where two units coincide.

    An activation of this package, and one with traced numbers, is not evaluated.
    """
    if is_from_this_package(activation) or not regularity.is_concrete(activation):
        return
    forget_changed(activation)
    name = type(activation).__name__
    wrong = regularity.wrong_field(activation) or _wrong_form(activation)
    if wrong is not None:
        raise UserError(f"activation {name} contradicts itself: {wrong}")
    values = partial(regularity.evaluate, activation)
    _check_declarations(activation, values)
    with jax.ensure_compile_time_eval():
        for n1, c, n2 in regularity.CASES:
            wanted, scale = regularity.mehler(values, (), n1, c, n2)
            covariance = tuple(map(jnp.asarray, (n1 * n1, c * n1 * n2, n2 * n2)))
            p, s = activation.mixing_scalars(*covariance)
            given = np.array([activation.second_moment(*covariance), s * n1 * n2, p * n1 * n1])
            wrong = ~(np.abs(given - wanted) <= _TOLERANCE * scale)
            if np.isfinite(wanted).all() and wrong[: 3 if activation.continuous else 1].any():
                what = ("second_moment", "s of mixing_scalars", "p of mixing_scalars")[
                    np.argmax(wrong)
                ]
                covariance = ", ".join(f"{x:.3g}" for x in covariance)
                raise UserError(
                    f"activation {name} contradicts itself: {what} at the covariance c11, c12, c22 = "
                    f"{covariance} must be that of its values"
                )
        _check_fourth_moments(activation)
        _check_sums(activation)
        one = jnp.ones(())
        moments = (
            activation.second_moment(one, one, one),
            *activation.mixing_scalars(one, one, one),
        )
    if not np.isfinite(np.array(moments)).all():
        raise UserError(
            f"activation {name} must have finite moments where units coincide, c11 = c12 = c22 (derivatives "
            "of √(1 − c²) and arcsin c are not: define mixing_scalars, or use ol.Quadrature)"
        )


def _wrong_form(activation: AbstractActivation) -> str | None:
    """Say which moment has another form than solvers expect."""
    one = jax.ShapeDtypeStruct((), float)
    forms = {
        "second_moment": ((one, one, one), 1),
        "mixing_scalars": ((one, one, one), 2),
        "I4": ((jax.ShapeDtypeStruct((4, 4), float),), 1),
    }
    for name, (arguments, count) in forms.items():
        if not _overrides(activation, name):
            continue
        found = jax.eval_shape(getattr(activation, name), *arguments)
        numbers = found if count > 1 and isinstance(found, tuple) else (found,)
        if len(numbers) != count or not all(regularity.is_real_array(x, ()) for x in numbers):
            wanted = "one real number" if count == 1 else "(p, s), two real numbers"
            return f"{name} must return {wanted} for numbers; got {shown(found)}"
    return None


def _overrides(activation: AbstractActivation, name: str) -> bool:
    """Return whether a method is a user's: one of this package that is inherited follows from what is, too
    (`AbstractActivation.__init_subclass__`)."""
    return not getattr(type(activation), name).__module__.startswith("odelandscape.")


def _check_sums(activation: AbstractActivation) -> None:
    """Raise UserError if a user's class overrides sums of moments by others than its own."""
    units = jnp.array([[0.8, 0.1, 0.0], [-0.3, 0.6, 0.2], [0.4, 0.0, 1.1], [0.2, 0.5, -0.6]])
    C, a = units @ units.T, jnp.array([1.0, -0.7, 0.4, 1.3])
    # For a method the arguments that it is tried with, and what it sums.
    tried = {
        "quadratic_form": ((a, C), "second_moment"),
        "grouped_quadratic_form": ((_three_pairs(),), "second_moment"),
        "slope_products": ((a[:3], C[:3, :3], 2, 1e-6), "I4"),
    }
    for name, (arguments, summed) in tried.items():
        if not _overrides(activation, name):
            continue
        given = np.asarray(getattr(activation, name)(*arguments))
        wanted = np.asarray(getattr(AbstractActivation, name)(activation, *arguments))
        size = np.abs(wanted).max()
        if (
            given.shape != wanted.shape
            or np.iscomplexobj(given)
            or not (np.abs(given - wanted) <= _TOLERANCE * (size + _TOLERANCE)).all()
        ):
            raise UserError(
                f"activation {type(activation).__name__} contradicts itself: {name} must be that of its "
                f"{summed}"
            )


def _three_pairs() -> GroupedUnits:
    """Return three students 0.7 e_i + 0.2 (1, 1, 1) and their teachers e_i, as two types of one group."""
    teachers = np.eye(3)
    students = 0.7 * teachers + 0.2
    types = np.stack([students, teachers])
    same, off = types[:, 0] @ types[:, 0].T, types[:, 0] @ types[:, 1].T
    square = np.diagonal(same)
    return GroupedUnits(
        a=jnp.array([1.0, -1.0]),
        member=np.ones((2, 1)),
        size=jnp.array([3.0]),
        reference=np.ones(1),
        excess=jnp.asarray(np.sqrt(square) - 1),
        off=jnp.asarray(off),
        same=jnp.asarray(same),
        gap=jnp.asarray(square[:, None] + square[None, :] - 2 * same),
        total=jnp.sum(jnp.asarray(students - teachers).sum(axis=0) ** 2),
    )


def _check_fourth_moments(activation: AbstractActivation) -> None:
    """Raise UserError if a user's class overrides fourth moments by others than those of its values.

    The nodes that these are summed over don't know of kinks: with one, an error of 5 % is allowed of four
    units, and of 1 % of two, E[σ'(u)² σ(s)²].
    """
    if not _overrides(activation, "I4"):
        return
    units = jnp.array([[0.8, 0.1, 0.0], [0.7, 0.3, 0.1], [0.4, 0.0, 1.1], [0.1, 0.2, 0.9]])
    C = units @ units.T

    def of(I4, *index):
        return I4(C[jnp.array(index)[:, None], jnp.array(index)[None, :]])

    nodes = partial(AbstractActivation.I4, activation)
    size = jnp.sqrt(of(nodes, 0, 0, 2, 2) * of(nodes, 1, 1, 3, 3))  # Cauchy and Schwarz
    kinks = (0.01, 0.05)
    for index, tolerance in zip(((0, 0, 2, 2), (0, 1, 2, 3)), kinks, strict=True):
        allowed = _TOLERANCE if activation.smooth else tolerance
        if not abs(of(activation.I4, *index) - of(nodes, *index)) <= allowed * size:
            raise UserError(
                f"activation {type(activation).__name__} contradicts itself: I4 must be that of its values"
            )


def _check_declarations(activation: AbstractActivation, values: regularity.Values) -> None:
    """Raise UserError if a property that a user's class declares is not one of its values."""
    x = np.concatenate([-regularity.PARITY_POINTS, regularity.PARITY_POINTS])
    leak = None if activation.leak is None else float(activation.leak)
    false = {
        "even": activation.even and not regularity.is_even(values),
        "odd": activation.odd and not regularity.is_odd(values),
        "positively_homogeneous": (
            activation.positively_homogeneous and not regularity.is_homogeneous(values)
        ),
        "smooth": activation.smooth and not regularity.is_twice_differentiable_at_zero(values),
        "smooth_at_zero": (
            activation.smooth_at_zero and not regularity.is_twice_differentiable_at_zero(values)
        ),
        "continuous": activation.continuous and regularity.jumps_anywhere(values),
        "leak": (
            leak is not None
            and not np.allclose(values(x), np.maximum(x, 0) + leak * np.minimum(x, 0))
        ),
    }
    for name, wrong in false.items():
        if wrong:
            raise UserError(
                f"activation {type(activation).__name__} contradicts itself: {name} is "
                f"{getattr(activation, name)!r}, and its values are not so"
            )
