"""Scale: a problem and starts that are scaled together end alike; tolerances follow the problem's size."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.landscape.local_geometry import local_geometry
from odelandscape.relaxation.units import in_natural_units, natural_units, readout_units

CORRELATED = 0.7 * np.eye(3) + 0.3
MIXED = np.array([1.0, 2.0, 0.5])
G = ol.GradientFlow()


class Shrinking(ol.GradientFlow):
    """A user's flow, with a decay of the weights that no rescaling of a package's flow would know."""

    rate: float = 0.02

    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + self.rate * jnp.eye(problem.students))


def starts(problem, count, length=1.0, readout=1.0, dimension=None):
    keys = jax.random.split(jax.random.key(0), count)
    weights = jax.vmap(lambda key: ol.random_weights(key, problem, dimension))(keys)
    return jax.vmap(ol.Weights)(length * weights.W, readout * weights.v)


def scaled(K, M, activation, T, v, length, readout):
    """A problem with teachers `length` and readouts `readout` times those given."""
    T = None if T is None and length == 1 else length**2 * (np.eye(M) if T is None else T)
    v = None if v is None and readout == 1 else readout * (np.ones(M) if v is None else v)
    return ol.Problem(K, M, activation, T, v)


# Activation, flow, K, M, d, T, v*; and how students scale with teachers: lengths, readouts, both alike.
CASES = {
    "lengths, surplus teacher": (ol.ReLU(), G, 3, 4, 4, None, None, "length"),
    "readouts, correlated": (ol.LeakyReLU(0.2), G, 3, 3, 5, CORRELATED, MIXED, "readout"),
    "erf": (ol.Erf(), G, 3, 2, 2, None, None, "readout"),
    "both layers": (ol.ReLU(), ol.TwoLayerFlow(), 3, 3, 3, None, None, "both"),
    "fixed lengths": (ol.ReLU(), ol.NormalisedFlow(), 4, 3, 3, None, None, "readout"),
    "a user's flow": (ol.ReLU(), Shrinking(), 3, 3, 3, CORRELATED, None, "length"),
}


_LONG = {"lengths, surplus teacher", "fixed lengths", "readouts, correlated"}


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, marks=pytest.mark.slow if name in _LONG else ())
        for name, case in CASES.items()
    ],
    ids=CASES,
)
def test_scaled_together_starts_end_alike(case):
    """The kind: absolute tolerances. Lengths, readouts or both times 1e-8 and 1e8."""
    activation, flow, K, M, d, T, v, kind = case
    ends = {}
    for s in (1e-8, 1.0, 1e8):
        length = {"length": s, "readout": 1.0, "both": np.sqrt(s)}[kind]
        readout = {"length": 1.0, "readout": s, "both": np.sqrt(s)}[kind]
        teacher_length, teacher_readout = (s, 1.0) if kind == "length" else (1.0, s)
        problem = scaled(K, M, activation, T, v, teacher_length, teacher_readout)
        # The rates of w fall with the square of the readouts, those of both layers with the output.
        time = {"length": 1.0, "readout": s**2, "both": s}[kind]
        some = starts(ol.Problem(K, M), 8, length, readout, d)
        ends[s] = ol.relax(problem, flow, some, time_limit=20_000 / time)
    for s in (1e-8, 1e8):
        np.testing.assert_array_equal(ends[s].outcome, ends[1.0].outcome)
        np.testing.assert_array_equal(ends[s].anti_aligned, ends[1.0].anti_aligned)
        np.testing.assert_allclose(ends[s].loss / s**2, ends[1.0].loss, rtol=1e-7, atol=1e-12)


@pytest.mark.parametrize("size", [1e-6, 1e6])
@pytest.mark.parametrize("which", ["readout", "length"])
def test_starts_of_length_one_learn_a_teacher_of_another_size(size, which):
    """Three students learn three teachers at any size (at size 1 all starts do: published as 100 %)."""
    v, T = (size * np.ones(3), None) if which == "readout" else (None, size**2 * np.eye(3))
    problem = ol.Problem(3, 3, teacher_overlaps=T, teacher_readout=v)
    ends = ol.relax(problem, G, starts(problem, 12))
    assert set(ends.outcome) == {"global_minimum"}
    # Each student is one teacher, of the teachers' whole output.
    lengths = np.linalg.norm(ends.weights, axis=2)
    np.testing.assert_allclose(lengths, size, rtol=1e-6)


@pytest.mark.parametrize("flow", [G, ol.TwoLayerFlow(), ol.NormalisedFlow(), Shrinking()], ids=repr)
@pytest.mark.parametrize("activation", [ol.ReLU(), ol.Erf()], ids=lambda a: type(a).__name__)
def test_the_flow_in_other_units_is_the_flow(flow, activation):
    """dw'/dt', dv'/dt' and dQ'/dt' from the rates of w, v and Q, and the loss."""
    problem = ol.Problem(3, 2, activation, 1e-4 * CORRELATED[:2, :2], [3.0, 5.0])
    batch = jax.vmap(flow.project_initial)(starts(problem, 1, 0.1, 2.0, 4))
    weights = jax.tree.map(lambda x: x[0], batch)
    units = natural_units(problem, flow, 2.0)
    inner, inner_flow, inner_start = in_natural_units(problem, flow, batch, units)
    there = jax.tree.map(lambda x: x[0], inner_start)
    rates, expected = inner_flow(0.0, there, inner), flow(0.0, weights, problem)
    rate = (units.output / units.length) ** 2
    np.testing.assert_allclose(rates.W * units.length * rate, expected.W, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(rates.v * units.readout * rate, expected.v, rtol=1e-12, atol=1e-15)
    # The same by order parameters, and the loss.
    change = inner_flow(0.0, ol.overlaps(inner, there), inner)
    moved = flow(0.0, ol.overlaps(problem, weights), problem)
    np.testing.assert_allclose(change.Q * units.length**2 * rate, moved.Q, rtol=1e-10, atol=1e-15)
    loss = ol.population_loss(inner, there) * units.output**2
    assert loss == pytest.approx(float(ol.population_loss(problem, weights)), rel=1e-12)


def test_units_of_the_published_setting_are_one():
    for problem in (
        ol.Problem(5, 5),
        ol.Problem(6, 5, ol.Erf()),
        ol.Problem(4, 5, ol.LeakyReLU(0.1)),
    ):
        for flow in (G, ol.NormalisedFlow(), ol.TwoLayerFlow(), ol.OnlineSGD(0.1)):
            assert natural_units(problem, flow, 1.0).trivial


def test_a_starts_unit_of_readout_depends_on_no_other_start():
    v = np.array([[2.0, -2.0], [0.0, 0.0], [np.nan, 1.0], [1e-8, 1e-8], [3.0, 5.0]])
    np.testing.assert_array_equal(readout_units(v), [2.0, 1.0, 1.0, 1e-8, 4.0])
    for row, unit in zip(v, readout_units(v), strict=True):
        np.testing.assert_array_equal(readout_units(row[None]), [unit])


@pytest.mark.parametrize("length", [1e-14, 1e-18, 1e-40, 1e-200])
@pytest.mark.parametrize("flow", [G, ol.NormalisedFlow(), ol.TwoLayerFlow()], ids=repr)
def test_short_starts_end_in_fixed_points(length, flow):
    """The kind: small steps taken for a failure, and squares of lengths that are 0."""
    problem = ol.Problem(2, 2)
    ends = ol.relax(problem, flow, starts(problem, 4, length))
    assert set(ends.outcome) <= {"global_minimum", "saddle"}
    if (
        flow.preserves_norms or length > 1e-20
    ):  # else rounding leaves no difference of the students' directions
        assert set(ends.outcome) == {"global_minimum"}
    assert (ends.gradient_norm <= 1e-10).all()


@pytest.mark.parametrize("length", [1e300])
def test_students_of_any_length_are_put_on_the_sphere(length):
    """Squares of the lengths would be infinite: a direction has none."""
    problem = ol.Problem(3, 3)
    long, one = starts(problem, 4, length), starts(problem, 4, 1.0)
    for flow in (ol.NormalisedFlow(), ol.OrthonormalFlow()):
        there, wanted = (jax.vmap(flow.project_initial)(w).W for w in (long, one))
        np.testing.assert_allclose(there, wanted, atol=1e-12)
        ends = ol.relax(problem, flow, long)
        assert set(ends.outcome) == {"global_minimum"}


@pytest.mark.parametrize("slope", [0.999999, 0.9999, 0.99999999])
def test_the_linear_part_alone_is_not_the_teacher(slope):
    """Students that agree with a leaky teacher of slope near 1 in Σ w alone have not learned it."""
    problem = ol.Problem(3, 3, ol.LeakyReLU(slope))
    ends = ol.relax(problem, G, starts(problem, 6))
    away = [np.abs(W[:, None] - np.eye(3)).max(2).min(1).max() for W in ends.weights]
    assert min(away) > 0.1
    assert not set(ends.outcome) & {"global_minimum", "local_minimum"}


def test_short_sigmoidal_teachers_are_not_learned_by_their_linear_part():
    """The same kind, of another activation: Σ w is right, the students are not the teachers."""
    problem = ol.Problem(2, 2, ol.Erf(), 1e-12 * np.eye(2))
    ends = ol.relax(problem, G, starts(problem, 4, 1e-6))
    np.testing.assert_allclose(ends.weights.sum(1), 1e-6 * np.ones((4, 2)), rtol=1e-4)
    assert not set(ends.outcome) & {"global_minimum", "local_minimum"}


@pytest.mark.parametrize(
    ("sigma", "flow"),
    [
        (ol.LeakyReLU(-0.9999), G),
        (ol.LeakyReLU(-0.999999), G),
        (ol.LeakyReLU(-0.99999999), G),
        pytest.param(
            ol.Quadrature(lambda x: jnp.tanh(x) + 1e-6 * x**2),
            ol.TwoLayerFlow(),
            marks=pytest.mark.slow,
        ),
        pytest.param(ol.Quadrature(lambda x: x**2 + 1e-6 * x**3), G, marks=pytest.mark.slow),
    ],
    ids=["-0.9999", "-0.999999", "-0.99999999", "tanh + even", "x² + odd"],
)
def test_a_weak_part_alone_tells_a_student_from_the_teacher(sigma, flow):
    """The same kind: σ is nearly even (w ~ −w), nearly odd ((w, v) ~ (−w, −v)), nearly quadratic (rotations).

    A student that is turned round has the loss 2 v² E[part²] of the weak part: (1 + slope)²/2 of each leaky
    one, 2·3·10⁻¹² of 10⁻⁶ x². That of slope −0.99999999, 5e-17, is lost in rounding.
    """
    problem = ol.Problem(2, 2, sigma)
    ends = ol.relax(problem, flow, starts(problem, 12))
    students = np.concatenate([ends.weights, ends.readout[:, :, None]], axis=2)
    teachers = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    learned = np.array(
        [(np.abs(x[:, None] - teachers).max(2).min(0) < 1e-6).all() for x in students]
    )
    np.testing.assert_array_equal(ends.outcome == "global_minimum", learned)
    assert not learned.all()
    turned = ends.outcome == "local_minimum"
    unit = {-0.9999: 5e-9, -0.999999: 5e-13}.get(getattr(sigma, "slope", None), 6e-12)
    np.testing.assert_allclose(ends.loss[turned], ends.anti_aligned[turned] * unit, rtol=1e-2)
    assert set(ends.outcome[~turned & ~learned]) <= {"marginal"}


def test_a_linear_teacher_is_learned_by_its_linear_part():
    problem = ol.Problem(3, 2, ol.LeakyReLU(1.0))
    ends = ol.relax(problem, G, starts(problem, 4))
    assert set(ends.outcome) == {"global_minimum"}


def test_the_geometry_of_a_point_without_directions_is_not_flat():
    """One student of fixed length in one dimension cannot move."""
    y = np.array([[-1.0, 1.0]])
    assert not local_geometry(ol.NormalisedFlow(), ol.Problem(1, 1), y).movable
