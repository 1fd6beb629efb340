"""Branches against full gradients and Hessians in NumPy, around folds, and their critical values."""

from dataclasses import replace

import equinox as eqx
import jax.numpy as jnp
import numpy as np
import pytest
from systems import linear_loss, relu_gradient, relu_loss

import odelandscape as ol
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.branches.continuation import continue_family
from odelandscape.branches.critical import critical_value
from odelandscape.branches.line import SMALLEST_BLOCK
from odelandscape.landscape.fixed_points import solve

# Leaky ReLU of slope 0 is ReLU, and serves the tests of all parameters with one program.
TEN, TWENTY = (ol.Problem(n, n, ol.LeakyReLU(slope=0.0)) for n in (10, 20))


@pytest.fixture(scope="module")
def two():
    """K = M = 10, two anti-aligned students."""
    z = jnp.asarray([0.9976, -0.7298, -0.0374, 0.1910, 0.1355, 0.1533])
    return solve(BlockAnsatz(TEN, (8, 2), (0, 1)), z)


@pytest.fixture(scope="module")
def six(two):
    """K = M = 20, six anti-aligned students."""
    point = last(TEN, two, "anti_aligned", 6.0).point
    return last(TEN, point, "teachers", 20.0).point


@pytest.fixture(scope="module")
def folded(six):
    """The branch of `six` in the correlation, which turns at c = 0.931."""
    return list(continue_family(TWENTY, six, "correlation", 0.95))


def in_ansatz(point, ansatz):
    """The point with another ansatz, whether its parameters fit or not."""
    return eqx.tree_at(lambda p: p.ansatz, point, ansatz)


def last(*arguments, **options):
    *_, point = continue_family(*arguments, **options)
    return point


# --- truth in NumPy -----------------------------------------------------------------------------


def network(point):
    """W, v, W*, v* and the slope of σ written out."""
    weights, M = point.weights, round(float(jnp.sum(point.ansatz.sizes)))
    c = float(point.ansatz.correlation)
    Wt = np.linalg.cholesky((1 - c) * np.eye(M) + c)
    slope = float(getattr(point.ansatz.activation, "slope", 0.0))
    return np.asarray(weights.W), np.asarray(weights.v), Wt, np.ones(M), slope


def gradient(W, v, Wt, vt, slope):
    """∂L/∂W of leaky ReLU: the loss is `slope` of the linear one and (1 − slope)² of ReLU's."""
    linear = v[:, None] * (v @ W - vt @ Wt)[..., None, :]
    return slope * linear + (1 - slope) ** 2 * relu_gradient(W, v, Wt, vt)


def smallest_eigenvalue(point):
    """Of the dense Hessian, by central differences of the gradient."""
    W, v, Wt, vt, slope = network(point)
    h, n = 1e-5, W.size
    shifts = h * np.eye(n).reshape(n, *W.shape)
    plus, minus = (
        np.array([gradient(W + sign * shift, v, Wt, vt, slope) for shift in shifts])
        for sign in (1, -1)
    )
    H = (plus - minus).reshape(n, n) / (2 * h)
    return np.linalg.eigvalsh((H + H.T) / 2)[0]


# --- points -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameter", "stop"),
    [
        pytest.param("teachers", 13.0, marks=pytest.mark.slow),
        ("anti_aligned", 3.0),
        ("correlation", 0.3),
        ("slope", 0.2),
    ],
)
def test_the_last_point_is_a_fixed_point_of_the_full_problem_at_stop(two, parameter, stop):
    end = last(TEN, two, parameter, stop)
    assert (end.value, end.event) == (stop, "end")
    assert end.point.result == "converged"
    parts = network(end.point)
    np.testing.assert_allclose(gradient(*parts), 0, atol=1e-13)
    slope = parts[-1]
    loss = slope * linear_loss(*parts[:-1]) + (1 - slope) ** 2 * relu_loss(*parts[:-1])
    assert end.loss == pytest.approx(loss, abs=1e-12)
    assert end.smallest_eigenvalue == pytest.approx(smallest_eigenvalue(end.point), abs=1e-7)
    assert list(end.parameters.values()) == pytest.approx(np.asarray(end.point.z).tolist())


def test_newtons_method_from_elsewhere_finds_the_same_point(two):
    end = last(TEN, two, "teachers", 12)
    again = solve(two.ansatz.replace(sizes=jnp.asarray([10.0, 2.0])), two.z)
    np.testing.assert_allclose(end.point.z, again.z, atol=1e-12)


def test_published_levels_and_eigenvalues_come_one_after_the_other(two):
    three = last(TEN, two, "anti_aligned", 3.0)
    four = last(TEN, three.point, "anti_aligned", 4.0)
    assert three.loss == pytest.approx(0.050240, abs=1e-6)
    assert three.smallest_eigenvalue == pytest.approx(0.0040, abs=1e-4)
    assert four.smallest_eigenvalue == pytest.approx(-0.0053, abs=1e-4)


def test_a_block_shrinks_to_one_unit_and_becomes_that_of_a_free_student(two):
    end = last(TEN, two, "anti_aligned", SMALLEST_BLOCK)
    assert end.event == "end"
    assert end.loss == pytest.approx(0.018702, abs=2e-6)
    assert end.parameters["block 1, diagonal"] == pytest.approx(-0.6990, abs=1e-4)


def test_a_branch_is_followed_to_a_million_units(two):
    points = list(continue_family(TEN, two, "teachers", 1e6))
    end = points[-1]
    assert len(points) < 150
    assert end.event == "end"
    # K L / α → 1/2 − 2/π², with corrections of order 1/√K.
    assert end.value * end.loss / 2 == pytest.approx(1 / 2 - 2 / np.pi**2, rel=1e-2)


def test_relu_becomes_leaky_relu(two):
    relu = in_ansatz(two, two.ansatz.replace(activation=ol.ReLU()))
    one, other = (last(TEN, point, "slope", 0.05) for point in (relu, two))
    assert one.loss == other.loss


@pytest.mark.slow
def test_the_loss_changes_with_the_slope_as_at_fixed_weights(two):
    middle = last(TEN, two, "slope", 0.1).point
    h = 1e-3
    above, below = (last(TEN, middle, "slope", 0.1 + s * h).loss for s in (1, -1))
    parts = network(middle)[:-1]
    assert (above - below) / (2 * h) == pytest.approx(
        linear_loss(*parts) - 2 * 0.9 * relu_loss(*parts), abs=1e-6
    )


@pytest.mark.parametrize("step", [0.03, 3.0])
def test_the_branch_does_not_depend_on_the_step(folded, six, step):
    """Long steps are refused before they reach another branch."""
    other = list(continue_family(TWENTY, six, "correlation", 0.95, step=step))
    found, wanted = ([p for p in points if p.event] for points in (other, folded))
    assert [p.event for p in found] == [p.event for p in wanted]
    for a, b in zip(found, wanted, strict=True):
        assert a.value == pytest.approx(b.value, abs=1e-9)
        assert a.loss == pytest.approx(b.loss, abs=1e-9)


def test_one_program_serves_all_parameters_and_sizes(two, monkeypatch):
    last(TEN, two, "teachers", 10.1)
    # Which only the tracing of a program would call.
    monkeypatch.delattr("odelandscape.branches.corrector.gradient_norm")
    for parameter, stop in (("teachers", 1e3), ("anti_aligned", 2.5), ("correlation", 0.01)):
        assert last(TEN, two, parameter, stop).event == "end"


# --- stability ----------------------------------------------------------------------------------


def test_stability_changes_once_between_three_and_four(two):
    three = last(TEN, two, "anti_aligned", 3.0).point
    points = list(continue_family(TEN, three, "anti_aligned", 4.0))
    values = [p.value for p in points]
    (change,) = (p for p in points if p.event == "stability")
    assert values == sorted(values)
    assert abs(change.smallest_eigenvalue) < 1e-12
    around = [
        last(TEN, change.point, "anti_aligned", change.value + shift).smallest_eigenvalue
        for shift in (-1e-7, 1e-7)
    ]
    assert around[0] > 0 > around[1]


def test_the_critical_width_lies_between_whole_widths_of_opposite_stability(two):
    """7.5611905 for α = 2: stable from 8 units on."""
    critical = critical_value(TEN, two, "teachers", 5.0)
    assert 7 < critical < 8
    stable, unstable = (last(TEN, two, "teachers", M).point for M in (8, 7))
    assert smallest_eigenvalue(stable) > 0 > smallest_eigenvalue(unstable)
    for shift, sign in ((1e-8, 1), (-1e-8, -1)):
        point = last(TEN, two, "teachers", critical + shift)
        assert np.sign(point.smallest_eigenvalue) == sign


def test_no_critical_value_where_nothing_changes(two):
    assert critical_value(TEN, two, "teachers", 40.0) is None


def test_without_locating_only_steps_are_returned(two):
    options = dict(parameter="teachers", stop=7.0)
    found = list(continue_family(TEN, two, **options))
    steps = list(continue_family(TEN, two, locate=False, **options))
    assert [p.value for p in found if p.event != "stability"] == [p.value for p in steps]
    assert len(found) == len(steps) + 1


# --- folds --------------------------------------------------------------------------------------


def test_the_parameter_turns_at_the_fold_only(folded):
    events = [p.event for p in folded if p.event]
    assert events == [
        "stability",
        "fold",
        "domain",
    ]  # T is singular at −1/19, where the branch ends
    assert folded[-1].value == pytest.approx(-0.999 / 19)
    turns = np.flatnonzero(np.diff(np.sign(np.diff([p.value for p in folded])))) + 1
    assert [folded[i].event for i in turns] == ["fold"]


def test_two_fixed_points_meet_at_a_fold(folded):
    """Their distance goes with the root of what is left to the fold; beyond it there is neither."""
    at = next(i for i, p in enumerate(folded) if p.event == "fold")
    fold = folded[at]

    def pair(left):
        value = fold.value - left
        return [
            last(TWENTY, folded[at + side].point, "correlation", value).point for side in (-1, 1)
        ]

    def distance(left):
        one, other = pair(left)
        return float(jnp.linalg.norm(one.z - other.z))

    for point in pair(1e-2):
        again = solve(point.ansatz, point.z + 1e-6)
        np.testing.assert_allclose(again.z, point.z, atol=1e-11)
        np.testing.assert_allclose(gradient(*network(point)), 0, atol=1e-12)
    # A fold that is off by δ moves the second distance by δ/2e-6 of itself.
    assert distance(1e-4) / distance(1e-6) == pytest.approx(10, rel=5e-3)
    c = jnp.asarray(fold.value + 1e-3)
    beyond = solve(fold.point.ansatz.replace(correlation=c), fold.point.z)
    assert beyond.result != "converged" or float(jnp.linalg.norm(beyond.z - fold.point.z)) > 0.1


def test_a_fold_is_no_point_to_begin_at(folded):
    (fold,) = (p for p in folded if p.event == "fold")
    with pytest.raises(ValueError, match="point must not be at a fold"):
        next(continue_family(TWENTY, fold.point, "correlation", 0.5))


# --- ends and errors ----------------------------------------------------------------------------


def test_a_branch_that_starts_at_stop_has_one_point(two):
    assert [p.event for p in continue_family(TEN, two, "teachers", 10.0)] == ["end"]


def test_the_number_of_points_is_bounded(two):
    points = list(continue_family(TEN, two, "teachers", 1e6, most=4))
    assert [p.event for p in points] == ["", "", "", "most"]


def test_a_branch_that_ends_where_a_student_vanishes_is_stuck(two):
    """Between aligned blocks of two and one unit the branch turns, and a student's norm goes to 0."""
    end, *before = reversed(list(continue_family(TEN, two, "anti_aligned", 8.9)))
    assert end.event == "stuck"
    assert end.value == before[0].value
    assert end.point.result == "converged"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(parameter="width"), "parameter must be one of teachers, .*; got 'width'"),
        (dict(stop=1.0), "stop must have teachers between 3.000001 and .*; got 1.0"),
        (dict(parameter="slope", stop=1.0), "stop must have slope between -inf and 0.999"),
        (dict(parameter="correlation", stop=-0.2), "stop must have correlation between -0.111"),
        (dict(stop=np.nan), "stop must have teachers"),
        (dict(step=0.0), "step must be a finite number above 0; got 0.0"),
        (dict(most=0), "most must be a whole number of at least 1; got 0"),
    ],
)
def test_bad_arguments_are_refused(two, options, message):
    with pytest.raises(ValueError, match=message):
        continue_family(TEN, two, **options)


def test_bad_points_are_refused(two):
    with pytest.raises(ValueError, match=r"point must have the problem's K = 20 .*; got 10 and 10"):
        continue_family(TWENTY, two)
    with pytest.raises(ValueError, match=r"point must be converged; its gradient has norm 0\.1"):
        continue_family(TEN, replace(two, residual=jnp.asarray(0.1)))


def test_a_structure_without_the_parameter_is_refused(two):
    one = in_ansatz(two, BlockAnsatz(TEN, (9, 1), (0,), 1))
    with pytest.raises(ValueError, match=r"two blocks of teachers of sizes \(M − α, α\)"):
        continue_family(TEN, one, "anti_aligned", 3.0)
    free = in_ansatz(two, BlockAnsatz(ol.Problem(2, 10), (10,), (), 2))
    with pytest.raises(ValueError, match="'teachers' needs a block of teachers matched by one"):
        continue_family(ol.Problem(2, 10), free)
    # Where two blocks of students match the first block of teachers, the other one grows.
    wider = ol.Problem(12, 10)
    twice = in_ansatz(two, BlockAnsatz(wider, (2, 8), (0, 0, 1)))
    with pytest.raises(ValueError, match=r"stop must have teachers between 3\.000001 and 1e\+08"):
        continue_family(wider, twice, stop=2.0)
    smooth = in_ansatz(two, two.ansatz.replace(activation=ol.Erf()))
    with pytest.raises(ValueError, match="'slope' needs activation ReLU or LeakyReLU; got Erf"):
        continue_family(ol.Problem(10, 10, ol.Erf()), smooth, "slope", 0.5)
