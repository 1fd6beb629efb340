"""Calls without a sampling under hostile input: arguments of other types, points of another problem.

The kind: an object of one problem used with another one, whose numbers would be taken without a word.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol

pytestmark = pytest.mark.usefixtures("unchecked")

P, G, KEY = ol.Problem(6, 6), ol.GradientFlow(), jax.random.key(0)


def kind(value) -> str:
    """What a value is called, alike in all processes."""
    return "object" if type(value) is object else str(value)


WORDS = [None, "x", 1.5, -1, [1], float("nan"), jnp.ones(2), object()]


@pytest.fixture(scope="module")
def point():
    return ol.fixed_point(P, ol.family(P, 1))


@pytest.mark.parametrize("value", WORDS, ids=kind)
@pytest.mark.parametrize(
    "name",
    [
        "spectrum problem",
        "spectrum point",
        "hessian flow",
        "hessian problem",
        "hessian weights",
        "family problem",
        "family anti_aligned",
        "family branch",
        "families problem",
        "families anti_aligned",
        "families seed",
        "families progress",
        "continue_family parameter",
        "continue_family stop",
        "continue_family most",
        "continue_family problem",
        "critical_value parameter",
        "block_structure problem",
        "block_structure weights",
        "explore key",
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name, value, point):
    call, argument = name.split()
    given = {
        "spectrum": {"problem": P, "point": point},
        "hessian": {"flow": G, "problem": P, "weights": point.weights},
        "family": {"problem": P, "anti_aligned": 1},
        "families": {"problem": P, "starts": 1},
        "continue_family": {"problem": P, "point": point},
        "critical_value": {"problem": P, "point": point},
        "block_structure": {"problem": P, "weights": point.weights},
        "explore": {"problem": P, "ansatz": point.ansatz, "key": KEY},
    }[call]
    allowed = {"families anti_aligned", "families progress", "family branch"}
    if (value is None and name in allowed) or (value is WORDS[2] and argument == "stop"):
        return
    with pytest.raises(ol.UserError, match=argument):
        getattr(ol, call)(**{**given, argument: value})


@pytest.mark.parametrize("value", ["x", -1, [1], float("nan"), jnp.ones(2), object()], ids=kind)
def test_widths_of_bands_and_steps_are_numbers(value, point):
    for refused, argument in (
        (lambda: ol.spectrum(P, point, band=value), "band"),
        (lambda: ol.continue_family(P, point, step=value), "step"),
        (lambda: ol.block_structure(P, point.weights, value), "tolerance"),
    ):
        with pytest.raises(ol.UserError, match=argument):
            refused()


OTHERS = {
    "activation": ol.Problem(6, 6, ol.Erf()),
    "slope": ol.Problem(6, 6, ol.LeakyReLU(0.2)),
    "correlation": ol.Problem(6, 6, None, 0.1 + 0.9 * jnp.eye(6)),
    "readout": ol.Problem(6, 6, None, None, 2 * jnp.ones(6)),
    "sizes": ol.Problem(7, 7),
}


@pytest.mark.parametrize("problem", OTHERS.values(), ids=OTHERS)
def test_a_point_of_another_problem_is_refused(problem, point):
    """It is no fixed point there, and was called stable."""
    for call in (ol.spectrum, ol.continue_family, ol.critical_value):
        with pytest.raises(ol.UserError, match=r"must (be one of this problem|have the problem's)"):
            call(problem, point)


def test_the_same_function_under_another_name_is_the_same_problem(point):
    same = ol.Problem(6, 6, ol.LeakyReLU(0.0), jnp.eye(6), jnp.ones(6))
    assert ol.spectrum(same, point).verdict == ol.spectrum(P, point).verdict == "stable"


def test_single_precision_is_refused_by_its_name():
    """The family was said not to exist."""
    with jax.enable_x64(False):
        problem = ol.Problem(6, 6)
        for call in (lambda: ol.family(problem, 1), lambda: ol.families(problem)):
            with pytest.raises(ol.UserError, match="float32"):
                call()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"problem": (3,)}, "problem"),
        ({"teachers": "x"}, "teachers"),
        ({"teachers": (float("nan"), 1), "free": 1}, "teachers"),
        ({"teachers": None}, "teachers"),
        ({"teachers": (5, 1), "matched": "a"}, "matched"),
        ({"teachers": (5, 1), "matched": (7,), "free": 1}, "matched"),
        ({"teachers": (5, 1), "free": "a"}, "free"),
        ({"teachers": (5, 1), "free": -1}, "free"),
        ({"teachers": (5, 1), "free": 1, "readout": "a"}, "readout"),
        ({"teachers": (5, 1), "free": 1, "readout": [1, float("nan")]}, "readout"),
        ({"teachers": (5, 1), "free": 1, "readout": [1.0]}, "readout"),
    ],
    ids=str,
)
def test_blocks_that_are_none_are_refused_by_name(arguments, named):
    with pytest.raises(ol.UserError, match=named):
        ol.BlockAnsatz(**{"problem": P, **arguments})


def test_weights_that_are_no_fixed_point_are_not_called_stable():
    """A positive definite Hessian says nothing of a point with a gradient."""
    weights = ol.Weights(jnp.array([[1.2, 0.1], [0.0, 0.9]]), jnp.ones(2))
    found = ol.spectrum(ol.Problem(2, 2), weights)
    assert found.smallest > 0.05
    assert found.verdict == "marginal"
    assert "gradient norm" in repr(found)


@pytest.mark.parametrize(
    "call",
    [
        lambda W: ol.relax(P, G, ol.Weights(W[None], jnp.ones((1, 6)))).loss,
        lambda W: ol.spectrum(P, ol.Weights(W, jnp.ones(6))).smallest,
        lambda W: ol.block_structure(P, ol.Weights(W, jnp.ones(6))).point.parameters,
        lambda W: ol.perturb(P, G, ol.Weights(W, jnp.ones(6)), 0.1, 2, KEY).loss,
        lambda W: ol.families(ol.Problem(6, 6, None, W))[0].loss,
        lambda W: ol.largest_learning_rate(ol.Problem(6, 6, None, W)),
        lambda W: ol.sweep(P, ol.OnlineSGD(W[0, 0]), seeds=4, progress=False).loss,
    ],
)
def test_traced_numbers_are_refused_where_they_cannot_be(call):
    with pytest.raises(ol.UserError, match="traced by jit, vmap or grad"):
        jax.jit(call)(jnp.eye(6))


@pytest.mark.parametrize(
    "call",
    [
        lambda point, x: ol.prove(eqx.tree_at(lambda point: point.loss, point, x)).verdict,
        lambda point, x: ol.prove_between(point, eqx.tree_at(lambda point: point.loss, point, x)),
        lambda point, x: ol.explore(ol.Problem(6, 6, ol.LeakyReLU(x)), point.ansatz_point, KEY, 4),
        lambda point, x: ol.explore(P, point.ansatz_point, jax.random.fold_in(KEY, jnp.int32(x))),
        lambda point, x: ol.continue_family(P, point, "teachers", stop=5 + x),
        lambda point, x: ol.walk_branch(P, point, "teachers", stop=5 + x),
    ],
)
def test_traced_numbers_are_refused_beside_a_point(point, call):
    with pytest.raises(ol.UserError, match="traced by jit, vmap or grad"):
        jax.jit(lambda x: call(point, x))(0.1)


@pytest.mark.parametrize(
    "read",
    [
        lambda point: point.weights.W,
        lambda point: point.overlaps.Q,
        lambda point: point.anti_aligned,
        lambda point: len(repr(point)),
        lambda point: ol.spectrum(P, point).smallest,
        lambda point: ol.fixed_point(P, point).weights.W,
        lambda point: ol.explore(P, point.ansatz_point, KEY, 4)[0].loss,
        lambda point: ol.perturb(P, G, point, 0.01, 1, KEY).gaps,
        lambda point: ol.families(ol.Problem(1, 1))[0].loss,
        lambda point: ol.sweep(ol.Problem(1, 1), G, seeds=2, progress=False).loss,
        lambda point: ol.largest_learning_rate(ol.Problem(1, 1)),
    ],
)
def test_a_known_point_is_read_inside_a_compiled_program(point, read):
    """The kind: operations of JAX on known numbers, which have no numbers inside `jit`."""
    found = jax.jit(lambda x: x * read(point))(1.0)
    np.testing.assert_allclose(found, read(point), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("students", "T"), [(1, [[4.0]]), (2, [[0.25]]), (2, 4 * np.eye(2))])
def test_blocks_of_teachers_that_are_not_of_length_one_are_refused_by_name(students, T):
    """The kind: a condition on T that is checked between teachers, of which one alone has none."""
    problem = ol.Problem(students, len(T), None, T)
    weights = ol.Weights(jnp.ones((students, len(T))), jnp.ones(students))
    for call in (
        lambda: ol.families(problem),
        lambda: ol.fixed_point(problem, ol.family(problem, 0)),
        lambda: ol.block_structure(problem, weights),
        lambda: ol.BlockAnsatz(problem, (float(len(T)),), (), students),
    ):
        with pytest.raises(ol.UserError, match=r"teacher_overlaps must be .*teachers of length 1"):
            call()
