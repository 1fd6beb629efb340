"""States and points that are none of the problem's: one sentence that names the argument, at the entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol

THREE = ol.Problem(3, 3)
# Shapes of W and v, and of Q, R and v: other K, flat, d < M, a batch, other readouts.
WEIGHTS = [
    ((4, 3), (4,)),
    ((9,), (3,)),
    ((3, 2), (3,)),
    ((5, 3, 3), (5, 3)),
    ((3, 3), (2,)),
]
ORDER = [((4, 4), (4, 3), (4,)), ((3, 3), (3, 2), (3,)), ((3, 3), (3, 3), (4,))]


def state_of(shapes):
    """Weights or order parameters of these shapes."""
    kind = ol.Weights if len(shapes) == 2 else ol.OrderParameters
    return kind(*map(jnp.ones, shapes))


def rates(problem, state):
    return ol.GradientFlow()(0.0, state, problem)


def hessian(problem, state):
    return ol.hessian(ol.GradientFlow(), problem, state)


@pytest.mark.parametrize("shapes", [*WEIGHTS, *ORDER], ids=str)
@pytest.mark.parametrize("function", [ol.population_loss, rates])
def test_states_of_another_problem_are_refused(unchecked, function, shapes):
    with pytest.raises(ol.UserError, match=r"state must have .*\(?3.* got .*\("):
        function(THREE, state_of(shapes))


@pytest.mark.parametrize("shapes", WEIGHTS, ids=str)
@pytest.mark.parametrize(
    "function", [ol.overlaps, ol.spectrum, ol.block_structure, hessian], ids=lambda f: f.__name__
)
def test_weights_of_another_problem_are_refused(unchecked, function, shapes):
    with pytest.raises(
        ol.UserError, match=r"(weights|point) must have weights W \(K = 3, d ≥ M = 3\)"
    ):
        function(THREE, state_of(shapes))


POINT = ol.family(ol.Problem(10, 10), 1)
ARRAY = np.eye(3)
OTHER = ol.Weights(jnp.eye(4, 3), jnp.ones(4))
ORDER_OF_FOUR = ol.OrderParameters(jnp.eye(4), jnp.eye(4, 3), jnp.ones(4))


@pytest.mark.parametrize(
    ("function", "argument", "message"),
    [
        (ol.population_loss, ARRAY, r"state must be Weights, such as .* got an array of shape \(3, 3\)"),
        (ol.population_loss, POINT, r"state must be Weights, .* or the \.weights of a point.*; got Ansatz"),
        (rates, ARRAY, r"state must be Weights"),
        (ol.spectrum, ARRAY, r"point must be a point .*, or Weights such as ol\.Weights.*; got an array"),
        (ol.spectrum, ORDER_OF_FOUR, r"point must be a point .* got OrderParameters"),
        (ol.block_structure, ARRAY, r"weights must be Weights such as ol\.Weights\(W, v\).*; got an array"),
        (ol.block_structure, POINT, r"weights must be Weights .* or the \.weights of a point; got Ansatz"),
        (ol.continue_family, POINT, r"point must be a fixed point, from ol\.fixed_point.*; got AnsatzPoint"),
        (ol.continue_family, OTHER, r"point must be a fixed point, .*; got Weights"),
        (ol.continue_family, ARRAY, r"point must be a fixed point, .*; got an array"),
        (ol.fixed_point, ARRAY, r"ansatz must be a point such as .*; got an array"),
        (ol.fixed_point, OTHER, r"ansatz must be a point such as .*; got Weights"),
        (ol.fixed_point, ol.BlockAnsatz, r"ansatz must be .*; got the class BlockAnsatz"),
        (ol.family, 1.5, r"anti_aligned must be a whole number .*; got 1.5"),
        (ol.family, "1", r"anti_aligned must be a whole number .*; got '1'"),
        (ol.family, -1, r"anti_aligned must be a whole number .*; got -1"),
    ],
)  # fmt: skip
def test_what_is_of_another_kind_is_refused(unchecked, function, argument, message):
    with pytest.raises(ol.UserError, match=message) as refused:
        function(THREE, argument)
    assert len(str(refused.value).splitlines()) == 1


@pytest.mark.parametrize(
    "function", [ol.population_loss, ol.overlaps, ol.spectrum, ol.continue_family, ol.fixed_point]
)
def test_what_is_no_problem_is_refused(unchecked, function):
    with pytest.raises(ol.UserError, match=r"problem must be a problem such as ol.Problem\(3, 3\)"):
        function((3, 3), POINT)
    with pytest.raises(ol.UserError, match=r"problem must be a problem such as ol.Problem\(3, 3\)"):
        ol.family(3, 1)


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (np.ones(9), r"start must have 5 numbers .*; got 9"),
        (np.full(5, np.nan), r"start must have finite numbers; got"),
        (np.ones((5, 1)), r"start must have 5 numbers .*; got 5×1"),
        ([], r"start must have 5 numbers .*; got 0"),
    ],
)
def test_starts_of_another_length_are_refused(unchecked, start, message):
    problem = ol.Problem(6, 6)
    with pytest.raises(ol.UserError, match=message):
        ol.fixed_point(problem, ol.family(problem, 1), start=start)


def test_shapes_are_checked_inside_transformations_and_cost_nothing():
    batch = jax.vmap(lambda W: ol.population_loss(THREE, ol.Weights(W, jnp.ones(3))))
    assert batch(jnp.ones((5, 3, 4))).shape == (5,)
    loss = lambda W: ol.population_loss(THREE, ol.Weights(W, jnp.ones(len(W))))  # noqa: E731
    grad = jax.jit(jax.grad(loss))
    assert grad(jnp.ones((3, 4))).shape == (3, 4)
    with pytest.raises(ol.UserError, match=r"got \(4, 4\) and \(4,\)"):
        grad(jnp.ones((4, 4)))


@pytest.mark.parametrize(
    ("K", "M", "message"),
    [
        (10**15, 10**15, r"at most 1e\+12 students and teachers: .*rounding.*; got 1000000000000000 and"),
        (10**400, 10**400, r"at most 1e\+12 .* got more than 1e400 and more than 1e400"),
        (10**13 + 1, 10**13, r"at most 1e\+12"),
    ],
)  # fmt: skip
def test_widths_with_too_few_digits_are_refused(K, M, message):
    for branch in (None, "hidden"):
        with pytest.raises(ol.UserError, match=message):
            ol.family(ol.Problem(K, M), 1, branch)


@pytest.mark.parametrize(
    "state", [[[1.0, 0.0], [0.0, 1.0]], np.eye(2), np.eye(2, dtype=int)], ids=str
)
def test_lists_and_integers_are_weights_too(unchecked, state):
    problem = ol.Problem(2, 2)
    assert float(ol.population_loss(problem, ol.Weights(state, [1, 1]))) == 0
    assert ol.overlaps(problem, ol.Weights(state, [1, 1])).Q.dtype == jnp.zeros(1).dtype


@pytest.mark.parametrize(
    "call",
    [
        lambda: ol.population_loss(ol.Problem(2, 2), ol.Weights(1j * np.eye(2), np.ones(2))),
        lambda: ol.population_loss(ol.Problem(1, 1), ol.Weights([["a"]], [1.0])),
        lambda: ol.pack(3),
        lambda: ol.unpack("x"),
        lambda: ol.describe(3),
    ],
    ids=["complex", "text", "pack", "unpack", "describe"],
)
def test_what_is_no_state_is_refused_where_it_enters(unchecked, call):
    """The kind: an error from deep inside for an argument of another type."""
    with pytest.raises(ol.UserError, match=r"^\w+ must be"):
        call()


@pytest.mark.parametrize(
    ("Q", "message"),
    [([[1.0, 0.9], [0.1, 1.0]], "symmetric Q"), ([[0.5, 0.0], [0.0, 0.5]], "no weights have")],
)
def test_order_parameters_of_no_weights_have_no_loss(Q, message):
    """R = 1 needs Q ≥ 1; the loss was −0.011."""
    state = ol.OrderParameters(jnp.array(Q), jnp.eye(2), jnp.ones(2))
    with pytest.raises(ol.UserError, match=message):
        ol.population_loss(ol.Problem(2, 2), state)
    with pytest.raises(ol.UserError, match=message):
        ol.trajectory(ol.Problem(2, 2), ol.GradientFlow(), state, [0.0, 1.0])


@pytest.mark.parametrize("W", [np.zeros((2, 2)), [[1, 0], [1, 0]], [[0, 0], [0.6, 0.8]]], ids=str)
def test_dependent_students_have_no_orthonormal_start(W):
    """The kind: a projection that is not unique. Singular vectors chose one: W = 0 became the teacher."""
    problem, flow = ol.Problem(2, 2), ol.OrthonormalFlow()
    weights = ol.Weights(jnp.asarray(W, float), jnp.ones(2))
    for follow in (ol.trajectory, ol.train_network):
        with pytest.raises(ol.UserError, match="must have a projection onto the constraint"):
            follow(problem, flow, weights, [0.0, 1.0])
    both = jnp.stack([weights.W, jnp.array([[1.0, 0.2], [0.3, 1.0]])])
    ends = ol.relax(problem, flow, jax.vmap(ol.Weights)(both, jnp.ones((2, 2))))
    assert list(ends.outcome) == ["failed", "global_minimum"]
