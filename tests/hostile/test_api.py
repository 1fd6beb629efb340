"""The library under hostile input: every argument of a public call is refused by name, or it works.

The kind: what is wrong with an argument is said at the entry, in one sentence that names it, and not by an
exception from deep inside.
"""

import concurrent.futures
import importlib
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import odelandscape as ol
from odelandscape.relaxation.catalogue import Catalogue

pytestmark = [
    pytest.mark.usefixtures("unchecked"),
    pytest.mark.filterwarnings("ignore:A JAX array is being set as static"),  # Equinox's own word
]

P, G, KEY = ol.Problem(2, 2), ol.GradientFlow(), jax.random.key(0)
WEIGHTS = ol.Weights(jnp.array([[1.0, 0.2], [0.1, 0.8]]), jnp.ones(2))
STARTS = jax.vmap(ol.Weights)(WEIGHTS.W[None], WEIGHTS.v[None])
NAN = ol.Weights(WEIGHTS.W.at[0, 0].set(jnp.nan), WEIGHTS.v)
INF = ol.Weights(WEIGHTS.W.at[0, 0].set(jnp.inf), WEIGHTS.v)
STATE = ol.OrderParameters(jnp.eye(2), jnp.eye(2), jnp.ones(2))


def raw(like, *parts):
    """Weights or order parameters of anything at all, made without a check."""
    return jax.tree.unflatten(jax.tree.structure(like), parts)


TEXT = raw(WEIGHTS, "abc", "d")
HUGE = 10**5000  # with more digits than Python prints


def sweep(problem=P, flow=G, **more):
    return ol.sweep(problem, flow, **{"seeds": 4, "progress": False, **more})


def share(share=(1, 2), **more):
    return ol.sweep_share(P, G, share, **{"store": "", "progress": False, **more})


def path(problem=P, flow=G, state=WEIGHTS, times=(0.0, 1.0), **more):
    return ol.trajectory(problem, flow, state, times, **more)


def train(problem=P, flow=G, weights=WEIGHTS, times=(0.1,), **more):
    return ol.train_network(problem, flow, weights, times, **more)


def relax(problem=P, flow=G, starts=STARTS, **more):
    return ol.relax(problem, flow, starts, **more)


def perturb(problem=P, flow=G, point=WEIGHTS, sigma=0.1, repeats=2, key=KEY, **more):
    return ol.perturb(problem, flow, point, sigma, repeats, key, **more)


def teacher(key=KEY, teachers=2, dimension=3, **more):
    return ol.random_teacher(key, teachers, dimension, **more)


def problem(students=2, teachers=2, **more):
    return ol.Problem(students, teachers, **more)


def weights(key=KEY, problem=P, **more):
    return ol.random_weights(key, problem, **more)


REFUSED = [
    # problem and flow
    *[(call, {"flow": "gd"}, "flow must be a flow.*; got 'gd'") for call in (sweep, path, relax)],
    *[
        (call, {"flow": ol.GradientFlow}, "flow must be a flow .*got the class GradientFlow")
        for call in (sweep, path, train, relax, perturb)
    ],
    *[
        (call, {"problem": G, "flow": P}, r"problem must be a problem such as .*got GradientFlow")
        for call in (sweep, path, relax, perturb)
    ],
    (train, {"problem": G}, "problem must be"),
    (train, {"flow": "gd"}, "flow must be a flow such as .* optax"),
    (weights, {"problem": ol.Problem}, "problem must be .*; got the class Problem"),
    (partial(ol.largest_learning_rate, G), {}, "problem must be"),
    (partial(ol.largest_learning_rate, P), {"weights": 1}, "weights must be Weights"),
    # weights and states
    *[(path, {"state": x}, "state must") for x in (None, 1, WEIGHTS.W, STARTS, TEXT, NAN, INF)],
    *[(train, {"weights": x}, "weights must") for x in (None, STATE, WEIGHTS.W, TEXT, NAN)],
    *[(relax, {"starts": x}, "starts must") for x in (None, STARTS.W, WEIGHTS, TEXT, ol.Weights)],
    *[(perturb, {"point": x}, "point must") for x in (None, WEIGHTS.W, STARTS, TEXT, NAN, STATE)],
    (path, {"state": raw(STATE, jnp.eye(3), jnp.eye(2), jnp.ones(2))}, "state must have Q"),
    (path, {"state": raw(STATE, "a", "b", "c")}, "state must be made of arrays"),
    (path, {"state": ol.OrderParameters(jnp.eye(2) * jnp.nan, jnp.eye(2), jnp.ones(2))}, "state m"),
    (
        path,
        {"state": raw(WEIGHTS, WEIGHTS.W.astype(complex), WEIGHTS.v)},
        "state must be made of arrays of real",
    ),
    (relax, {"starts": raw(STARTS, STARTS.W[:0], STARTS.v[:0])}, "starts must .* N ≥ 1"),
    # times
    *[
        (call, {"times": x}, "times must")
        for call in (path, train)
        for x in (
            [],
            [2, 1],
            [-1.0],
            [np.nan],
            [np.inf],
            "abc",
            None,
            3.0,
            [[1.0]],
            [1j],
            {},
            [[1], 2],
        )
    ],
    # keys
    *[
        (call, {"key": x}, "key must be one key such as jax.random.key")
        for call in (weights, teacher, perturb)
        for x in (0, None, "key", 1.5, jax.random.split(KEY, 2), np.zeros(2), HUGE)
    ],
    (train, {"flow": ol.OnlineSGD(0.1), "key": 3}, "key must be one key"),
    # whole numbers
    *[
        (sweep, {"seeds": x}, "seeds must be")
        for x in (0, -1, 1.5, True, "5", None, 2**40, HUGE, np.nan, [4])
    ],
    *[
        (sweep, {"seed": x}, "seed must be a whole number from 0 to 9223372036854775807")
        for x in (-1, 0.0, 2**63, 2**64, "1", None, HUGE)
    ],
    *[(sweep, {"dimension": x}, "dimension must") for x in (1, 2.0, "3", -1, 10**30, HUGE)],
    *[(weights, {"dimension": x}, "dimension must|students and d") for x in (1, 2.5, 10**30, HUGE)],
    *[(perturb, {"repeats": x}, "repeats must") for x in (0, 1.0, True, "2", None, 10**30)],
    *[(teacher, {"teachers": x}, "teachers") for x in (0, 1.5, "2", 10**30, None)],
    *[(teacher, {"dimension": x}, "dimension") for x in (1, 2.5, "2", 10**30)],
    *[(path, {"max_steps": x}, "max_steps must") for x in (0, 1.5, "1", None, HUGE)],
    *[(relax, {"batch": x}, "batch must") for x in (0, 1.5, "1", HUGE - HUGE)],
    *[(ol.Workers, {"count": x}, "count must") for x in (0, 1.5, "2", None)],
    # shares
    *[
        (share, {"share": x}, r"share must be \(i, n\)")
        for x in (
            (1.5, 2),
            (0, 2),
            (3, 2),
            (1,),
            (1, 2, 3),
            "1/2",
            "12",
            None,
            3,
            (True, 2),
            (1, np.nan),
        )
    ],
    # numbers
    *[(path, {"rtol": x}, "rtol must") for x in (0, -1, np.nan, "1e-8", None, 1e-30, 0.5, HUGE)],
    *[(path, {"atol": x}, "atol must") for x in (0, -1, np.nan, "1e-8", None, 1)],
    *[(relax, {"rtol": x}, "rtol must") for x in (0, np.nan, "1", [1e-3])],
    *[(relax, {"time_limit": x}, "time_limit must") for x in (0, -5, np.nan, "1")],
    *[(train, {"step": x}, "step must") for x in (0, np.nan, "1", [0.1])],
    *[(perturb, {"sigma": x}, "sigma must") for x in (-1, np.nan, "1", [], [[1.0]], None, 1j)],
    *[
        (ol.OnlineSGD, {"learning_rate": x}, "learning_rate must be a finite number above 0")
        for x in (0, -1, np.nan, np.inf, "0.1", None, [0.1, 0.2], True, HUGE)
    ],
    *[(ol.OnlineSGD, {"tolerance": x}, "tolerance must") for x in (0, np.nan, "a")],
    (ol.OnlineSGD, {"train_readout": "yes"}, "train_readout must be True or False"),
    *[(ol.OrthonormalFlow, {"metric": x}, "metric must") for x in (None, 1, "polar", [])],
    # other kinds
    *[(sweep, {"executor": x}, "executor must") for x in ("two", 4, concurrent.futures.Executor)],
    *[(sweep, {"store": x}, "store must be the path") for x in (3, "", b"x", "a\0b", object())],
    *[(share, {"store": x}, "store must be the path") for x in (3, None, "")],
    *[(sweep, {"progress": x}, "progress must be True or F") for x in (1, "yes", None, print)],
    *[(relax, {"progress": x}, "progress must be a function") for x in (True, "yes")],
    *[(relax, {"catalogue": x}, "catalogue must be a Catalogue") for x in (True, "c", Catalogue)],
    *[(perturb, {"embedding": x}, "embedding must") for x in ("one", 1, np.ones(2))],
    *[(perturb, {"student": x, "embedding": "split"}, "student must") for x in (1.5, 9, "a", -1)],
    (train, {"train_readout": 1}, "train_readout must be True or False"),
    *[(ol.open_sweep, {"folder": x}, "folder must be the path") for x in (None, 3, "")],
    *[(ol.read_sweep, {"folder": x}, "folder must be the path") for x in (None, 3, "")],
    # problems
    *[(problem, {"students": x}, "students must") for x in (0, -1, 1.5, True, "3", None)],
    *[(problem, {"activation": x}, "activation must be") for x in ("relu", ol.ReLU, jnp.tanh)],
    *[
        (problem, {"teacher_overlaps": x}, "teacher_overlaps must")
        for x in (
            "ab",
            1.0,
            [[1, 2], [3]],
            [[1, 2], [2, 1]],
            np.eye(3),
            [["1", "0"]],
            {},
            1j * np.eye(2),
        )
    ],
    *[
        (problem, {"teacher_readout": x}, "teacher_readout must")
        for x in ("ab", 1.0, ["a", "b"], [1, np.nan], [1, 2, 3], {}, [1j, 2])
    ],
]


@pytest.mark.parametrize(
    ("call", "arguments", "message"),
    REFUSED,
    ids=[
        f"{getattr(c, '__name__', 'call')}-{next(iter(a), '')}-{i}"
        for i, (c, a, _) in enumerate(REFUSED)
    ],
)
def test_a_bad_argument_is_refused_by_name(call, arguments, message):
    with pytest.raises(ol.UserError, match=message) as refusal:
        call(**arguments)
    assert len(str(refusal.value)) < 500


@pytest.mark.parametrize("size", [10**6, 10**9, 10**400])
def test_sizes_beyond_the_machine_s_memory_are_refused_before_anything_is_made(size):
    """K = 10⁹ in a sweep: one line, no MemoryError."""
    for large in (ol.Problem(size, 2), ol.Problem(2, size)):
        with pytest.raises(ol.UserError, match=r"dimension must be smaller: .* of memory"):
            sweep(problem=large)
    with pytest.raises(ol.UserError, match="must be smaller"):
        weights(problem=ol.Problem(size, size))


def test_traced_times_are_refused_and_traced_numbers_pass():
    with pytest.raises(ol.UserError, match="times must be a list of finite numbers; got"):
        jax.jit(lambda t: path(times=t).loss)(jnp.array([0.0, 1.0]))

    def loss(x):
        traced = ol.Problem(
            2, 2, teacher_readout=[x, 1.0], teacher_overlaps=[[1, x / 9], [x / 9, 1]]
        )
        return ol.trajectory(traced, G, ol.Weights(WEIGHTS.W * x, WEIGHTS.v), [0.0, 1.0]).loss[0]

    assert np.isfinite(jax.jit(jax.grad(loss))(1.0))


@pytest.mark.parametrize(
    "given",
    [
        lambda x: x.astype(jnp.float32),
        lambda x: jnp.round(x).astype(int),
        np.asarray,
        lambda x: x.tolist(),
    ],
)
def test_other_real_numbers_than_float64_are_taken(given):
    starts = raw(WEIGHTS, given(STARTS.W), given(STARTS.v))
    ends = ol.relax(P, G, starts, time_limit=10.0)
    assert ends.weights.dtype == np.float64
    state = raw(WEIGHTS, given(WEIGHTS.W), given(WEIGHTS.v))
    assert path(state=state).loss.dtype == np.float64


def test_a_catalogue_is_refused_for_another_problem_flow_or_dimension():
    """A known minimum has the coordinates, and is a minimum, of what it was found in."""
    known = Catalogue(P, G)
    ol.relax(P, G, STARTS, catalogue=known)
    ol.relax(ol.Problem(2, 2, ol.ReLU()), G, STARTS, catalogue=known)
    wider = jax.tree.map(lambda x: x, STARTS)
    wider = jax.vmap(ol.Weights)(jnp.pad(wider.W, ((0, 0), (0, 0), (0, 3))), wider.v)
    with pytest.raises(
        ol.UserError, match=r"catalogue must be one of the same dimension: .* 2, .* 5"
    ):
        ol.relax(P, G, wider, catalogue=known)
    other = ol.Problem(2, 2, ol.LeakyReLU(0.1))
    with pytest.raises(ol.UserError, match="catalogue must be one of the same problem"):
        ol.relax(other, G, STARTS, catalogue=known)
    slope = Catalogue(other, G)
    with pytest.raises(ol.UserError, match="catalogue must be one of the same problem"):
        ol.relax(ol.Problem(2, 2, ol.LeakyReLU(0.2)), G, STARTS, catalogue=slope)
    with pytest.raises(ol.UserError, match="catalogue must be one of the same flow"):
        ol.relax(P, ol.NormalisedFlow(), STARTS, catalogue=known)


# --- any value at all -----------------------------------------------------------------------------

ARRAYS = st.sampled_from(
    [
        np.zeros(0),
        np.ones(2),
        np.ones((2, 2), bool),
        np.array("text"),
        np.array([None]),
        jnp.ones((1, 2, 2)),
    ]
)
ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(max_value=500),
    st.integers(min_value=2**62),
    st.floats(),
    st.complex_numbers(),
    st.text(max_size=3),
    st.binary(max_size=3),
    st.lists(st.one_of(st.floats(), st.integers(), st.text(max_size=1), st.none()), max_size=3),
    st.dictionaries(st.text(max_size=1), st.integers(), max_size=2),
    st.sampled_from([object(), print, int, P, G, WEIGHTS, STATE, KEY, ol.ReLU(), ol.Problem, HUGE]),
    ARRAYS,
)
ARGUMENTS = [
    (problem, ("students", "teachers", "activation", "teacher_overlaps", "teacher_readout")),
    (weights, ("key", "problem", "dimension")),
    (teacher, ("key", "teachers", "dimension", "activation", "students")),
    (ol.OnlineSGD, ("learning_rate", "train_readout", "tolerance")),
    (ol.OrthonormalFlow, ("metric",)),
]
SOLVERS = [
    (sweep, ("problem", "flow", "seeds", "seed", "dimension", "executor", "store", "progress")),
    (share, ("share", "store", "seeds")),
    (path, ("problem", "flow", "state", "times", "rtol", "atol", "max_steps")),
    (train, ("problem", "flow", "weights", "times", "key", "step", "train_readout")),
    (relax, ("problem", "flow", "starts", "batch", "rtol", "time_limit", "catalogue", "progress")),
    (perturb, ("problem", "flow", "point", "sigma", "repeats", "key", "embedding", "student")),
]
quick = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)


class EnteredError(Exception):
    """All arguments have been taken, and the computation would begin."""


@pytest.fixture
def entries_only(monkeypatch, tmp_path):
    """Solvers that end where they would begin to compute."""

    def enter(*args, **kwargs):
        raise EnteredError

    for place in (
        *("sweeps.sweep.blank", "sweeps.sweep.run_local", "sweeps.sweep.run_on_executor"),
        *("dynamics.trajectory._solve", "dynamics.networks._train"),
        *("relaxation.relax._relax_on", "relaxation.perturb._noisy"),
    ):
        module, _, name = place.rpartition(".")
        monkeypatch.setattr(importlib.import_module(f"odelandscape.{module}"), name, enter)
    monkeypatch.chdir(tmp_path)


PAIRS = [(call, name) for call, names in (*ARGUMENTS, *SOLVERS) for name in names]


@pytest.mark.usefixtures("entries_only")
@pytest.mark.parametrize(
    ("call", "name"), PAIRS, ids=[f"{call.__name__}-{name}" for call, name in PAIRS]
)
@quick
@given(value=ANYTHING)
def test_any_value_of_an_argument_is_refused_by_name_or_works(call, name, value):
    try:
        call(**{name: value})
    except ol.UserError as error:
        refusal = str(error)
    except EnteredError:
        return
    else:
        return
    assert name in refusal
    assert len(refusal.splitlines()) == 1
