"""A store knows the code of a user's flow and activation by values, and the package's own by name.

The kind: two programs of one name are two programs.
"""

import functools
import importlib
import json
import pickle
import sys

import equinox as eqx
import jax
import jax.numpy as jnp
import pytest

import odelandscape as ol
from odelandscape.runtime.code import PYTHON
from odelandscape.runtime.registry import packed
from odelandscape.sweeps import tasks
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.manifest import configuration_hash, difference
from odelandscape.sweeps.store import StoreWriter

P = ol.Problem(2, 3)

FLOW = """
import equinox as eqx
import jax.numpy as jnp
import odelandscape as ol
from odelandscape.flows.gradient import gradient_mixing

class Mine(ol.{parent}):
{body}
"""
PLAIN = "    pass"
CHANGES = {
    "mixing": """
    def mixing(self, state, problem):
        m = super().mixing(state, problem)
        return m._replace(X=m.X + 1e-3 * jnp.eye(problem.students))
""",
    "mixing at correlated students": """
    def mixing(self, state, problem):
        m = super().mixing(state, problem)
        return m._replace(Y=m.Y * (1 + 1e-6 * state.Q[0, 1]))
""",
    "mixing at other readouts": """
    def mixing(self, state, problem):
        m = super().mixing(state, problem)
        return m._replace(X=m.X * (1 + 1e-6 * (state.v[0] - 1)))
""",
    "call": """
    def __call__(self, t, state, problem):
        rates = super().__call__(t, state, problem)
        return ol.Weights(1.001 * rates.W, rates.v)
""",
    "project_initial": """
    def project_initial(self, weights):
        return ol.Weights(jnp.minimum(weights.W, 0.9), weights.v)
""",
    "neutral_directions": """
    def neutral_directions(self, weights, problem):
        return super().neutral_directions(weights, problem)[:1]
""",
    "properties": """
    @property
    def permutation_equivariant(self):
        return False
""",
}


@pytest.fixture
def module(tmp_path, monkeypatch):
    """A module `its_code` that is written anew, as a user edits a file."""
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(text):
        (folder / "its_code.py").write_text(text)
        sys.modules.pop("its_code", None)
        importlib.invalidate_caches()
        return importlib.import_module("its_code").Mine()

    yield write
    sys.modules.pop("its_code", None)


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_flow_of_the_same_name_is_another_sweep(change, module, tmp_path):
    before = module(FLOW.format(parent="GradientFlow", body=PLAIN))
    StoreWriter(tmp_path / "store", configuration(P, before, 0, 3))
    again = module(FLOW.format(parent="GradientFlow", body=PLAIN))
    StoreWriter(tmp_path / "store", configuration(P, again, 0, 3))
    after = module(FLOW.format(parent="GradientFlow", body=CHANGES[change]))
    with pytest.raises(ol.UserError, match=r"flow_values .*the code of its_code:Mine has changed"):
        StoreWriter(tmp_path / "store", configuration(P, after, 0, 3))
    with pytest.raises(ol.UserError, match=r"made by other code .*its_code:Mine has changed"):
        ol.read_sweep(tmp_path / "store")


def test_another_activation_does_not_accuse_the_flow(module, tmp_path):
    """Its values are others, and its code is not."""
    flow = module(FLOW.format(parent="GradientFlow", body=PLAIN))
    there, here = (
        configuration(ol.Problem(3, 3, ol.LeakyReLU(slope)), flow, 0, 3) for slope in (0.1, 0.2)
    )
    StoreWriter(tmp_path / "store", there)
    with pytest.raises(ol.UserError, match="slope") as refused:
        StoreWriter(tmp_path / "store", here)
    assert "flow_values" not in str(refused.value)


ACTIVATION = """
import equinox as eqx
import jax.numpy as jnp
import odelandscape as ol

class Mine(ol.AbstractActivation):
    def __call__(self, x):
        return {sigma}

    def second_moment(self, c11, c12, c22):
        return {I2}

    def mixing_scalars(self, c11, c12, c22):
        return {p}, 4 * c12

    @property
    def smooth(self):
        return {smooth}
"""
SQUARE = {
    "sigma": "x * x",
    "I2": "c11 * c22 + 2 * c12 * c12",
    "p": "2 * c22 + 0 * c11",
    "smooth": "True",
}


@pytest.mark.parametrize(
    "change",
    [
        {"sigma": "jnp.minimum(x * x, 30.0)"},
        {"I2": "c11 * c22 + 2.000001 * c12 * c12"},
        {"p": "2 * c22 + 1e-6 * c11"},
        {"smooth": "False"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_changed_activation_of_the_same_name_is_another_sweep(change, module, tmp_path):
    def recorded(text):
        return configuration(ol.Problem(2, 3, module(text)), ol.GradientFlow(), 0, 3)

    there = recorded(ACTIVATION.format(**SQUARE))
    assert not difference(there, recorded(ACTIVATION.format(**SQUARE)))
    differing = difference(there, recorded(ACTIVATION.format(**SQUARE | change)))
    assert differing.startswith("activation_code differ: the code of its_code:Mine has changed")


def test_functions_of_one_name_that_differ_far_out_are_two():
    one, two = (
        ol.Quadrature(f, breaks=(-5, 5)) for f in (lambda x: x, lambda x: jnp.clip(x, -5, 5))
    )
    a, b = (configuration(ol.Problem(1, 1, act), ol.GradientFlow(), 0, 1) for act in (one, two))
    assert "activation_code differ" in difference(a, b)


def test_stores_of_the_package_s_own_classes_keep_their_hash():
    """What older versions have written can be resumed: these are their hashes."""
    kept = {
        "235b5d0931": (ol.Problem(3, 3), ol.GradientFlow()),
        "7c6d5b43d3": (ol.Problem(3, 3, ol.Erf()), ol.OnlineSGD(0.1)),
    }
    for begins, (problem, flow) in kept.items():
        assert configuration_hash(configuration(problem, flow, 0, 3)).startswith(begins)


FIELDS = """
import equinox as eqx
import jax
import equinox as eqx
import jax.numpy as jnp
import odelandscape as ol

class Inner(ol.AbstractActivation):
    scale: float = 1.5
    def __call__(self, x):
        return self.scale * ol.Erf()(x)
    def second_moment(self, c11, c12, c22):
        return self.scale**2 * ol.Erf().second_moment(c11, c12, c22)

class Outer(ol.AbstractActivation):
    inner: Inner
    weights: tuple
    words: tuple = eqx.field(static=True)
    def __call__(self, x):
        return self.weights[0] * self.inner(x)
    def second_moment(self, c11, c12, c22):
        return self.weights[0] ** 2 * self.inner.second_moment(c11, c12, c22)

class Mine(ol.AbstractFlow):
    base: ol.AbstractFlow = ol.TwoLayerFlow()
    rates: jax.Array = eqx.field(default_factory=lambda: jnp.array([0.5, 1.5]))
    def mixing(self, state, problem):
        X, Y, dv, _ = self.base.mixing(state, problem)
        factor = jnp.mean(self.rates)
        return ol.Mixing(factor * X, factor * Y, factor * dv)
    @property
    def trains_readout(self):
        return self.base.trains_readout
"""


def test_fields_of_a_user_s_classes_are_read_as_they_were(module, tmp_path):
    """The kind: what JSON has no form for. A flow in a field was read as a dict, an array as a list, a tuple
    as a text, and the manifest, if it was not a traceback, was called damaged."""
    flow = module(FIELDS)
    here = sys.modules["its_code"]
    problem = ol.Problem(2, 2, here.Outer(here.Inner(1.2), (2.0, 3.0), ("a", "b")))
    runs = ol.sweep(problem, flow, 4, store=tmp_path / "store", progress=False)
    read = ol.read_sweep(tmp_path / "store")
    assert eqx.tree_equal(read.flow, flow)
    assert eqx.tree_equal(read.problem, problem)
    assert read.loss.tolist() == runs.loss.tolist()


def test_a_class_that_raises_when_it_is_read_is_no_damage(module, tmp_path):
    before = module(FLOW.format(parent="GradientFlow", body=PLAIN))
    StoreWriter(tmp_path / "store", configuration(P, before, 0, 3))
    module(FLOW.format(parent="GradientFlow", body="    mixing = property(lambda self: 1 / 0)"))
    with pytest.raises(ol.UserError, match="cannot be made again here"):
        ol.read_sweep(tmp_path / "store")


def test_code_is_known_where_its_values_do_not_show_it(module, tmp_path):
    """The kind: a change that acts far from the states where a flow is tried, here of short students."""
    body = """
    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        near = jnp.sum(state.R**2) < {}
        return mixing._replace(X=mixing.X + jnp.where(near, 0.3, 0.0) * jnp.eye(problem.students))
"""
    imports = "import jax.numpy as jnp\n"

    def written(of: str, text=body):
        flow = module(imports + FLOW.format(parent="GradientFlow", body=text.format(of)))
        return configuration(P, flow, 0, 3)

    before = written("1e-6")
    assert difference(before, written("1e-6")) == ""
    renamed = body.replace("near", "close").replace("def", "# as before\n    def")
    assert difference(before, written("1e-6", renamed)) == ""
    after = written("2e-6")
    assert difference(before, after) == (
        "the code of its_code:Mine has changed, though not where it was tried"
    )
    # Digests of two versions of Python say nothing, and files of seeds go by what is the same on both.
    elsewhere = {**after, "code": {"python": "2.7", "flow": "0"}}
    assert difference(before, elsewhere) == difference(elsewhere, before) == ""
    assert configuration_hash(before) == configuration_hash(elsewhere)


@pytest.mark.slow
def test_a_constant_that_changes_in_this_process_changes_what_is_computed(module):
    """JAX's programs keep the constants that they were compiled with."""
    flow = module(
        FLOW.format(
            parent="GradientFlow",
            body="""
    def mixing(self, state, problem):
        mixing = super().mixing(state, problem)
        return mixing._replace(X=mixing.X + DECAY * jnp.eye(problem.students))
""",
        )
        + "DECAY = 0.0\n"
    )
    problem, here = ol.Problem(1, 1), sys.modules["its_code"]
    weights = ol.Weights(jnp.ones((1, 1, 1)), jnp.ones((1, 1)))
    for decay in (0.0, 0.2, 0.0):
        here.DECAY = decay
        # w/2 − 1/2 + decay w = 0, and L = (w − 1)²/4.
        expected = (1 / (1 + 2 * decay) - 1) ** 2 / 4
        assert ol.relax(problem, flow, weights).loss[0] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    "function",
    [functools.partial(jax.nn.gelu, approximate=False), jax.jit(lambda x: jnp.tanh(x))],
    ids=["partial", "jit"],
)
def test_a_function_of_any_kind_is_recorded_without_where_it_lies_in_memory(function):
    """Another process must find the same."""
    problem = ol.Problem(1, 1, ol.Quadrature(function))
    recorded = configuration(problem, ol.GradientFlow(), 0, 1)
    assert " at 0x" not in json.dumps(recorded)
    assert recorded["code"]["activation"]


def test_a_worker_with_other_code_refuses_the_task():
    task = tasks.Task(P, ol.GradientFlow(), 0, 3, 1.0, "float64", 0, 1)
    contents = packed(task)
    tasks.Parcel(None, contents, {"python": PYTHON}).unpacked()
    with pytest.raises(ol.OperationError, match="this worker has other code"):
        tasks.Parcel(None, contents, {"python": PYTHON, "flow": "0"}).unpacked()


def test_a_task_that_is_passed_on_is_the_same():
    """Dask packs it in the client, and again in the scheduler."""
    parcel = tasks.Parcel(tasks.Task(P, ol.GradientFlow(), 0, 3, 1.0, "float64", 5, 7))
    for _ in range(3):
        parcel = pickle.loads(pickle.dumps(parcel))
    task = parcel.unpacked()
    assert (task.first, task.stop, type(task.flow)) == (5, 7, ol.GradientFlow)


def test_a_number_of_the_module_is_a_part_of_its_code(module):
    body = """
    def mixing(self, state, problem):
        return _weaker(super().mixing(state, problem), jnp.max(jnp.abs(state.R)) > LONG)
"""
    helper = """
import jax.numpy as jnp
LONG = {}

def _weaker(mixing, long):
    return mixing._replace(X=jnp.where(long, {}, 1.0) * mixing.X)
"""

    def written(long, factor):
        flow = module(helper.format(long, factor) + FLOW.format(parent="GradientFlow", body=body))
        return configuration(P, flow, 0, 3)

    before = written("1e6", "0.5")
    assert difference(before, written("1e6", "0.5")) == ""
    for other in (written("2e6", "0.5"), written("1e6", "0.25")):
        assert "has changed, though not where" in difference(before, other)
