"""Names of a table and places `module:object`: what they give, and what is refused."""

import subprocess
import sys

import pytest

import odelandscape as ol
from odelandscape import activations, flows
from odelandscape.runtime.registry import load, name_in, resolve


def activation(given, **numbers):
    return resolve(activations.BY_NAME, given, ol.AbstractActivation, "--activation", **numbers)


@pytest.mark.parametrize(
    ("table", "kind"),
    [(activations.BY_NAME, ol.AbstractActivation), (flows.BY_NAME, ol.AbstractFlow)],
    ids=["activations", "flows"],
)
def test_every_name_of_a_table_is_that_of_its_instance_and_class(table, kind):
    for name in table:
        found = resolve(table, name, kind, "argument")
        assert isinstance(found, kind)
        assert name_in(table, found) == name


def test_tables_are_read_without_jax():
    code = (
        "import sys; from odelandscape import activations, flows; import odelandscape.runtime.registry;"
        "assert 'relu' in activations.BY_NAME and 'gd' in flows.BY_NAME; assert 'jax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_numbers_reach_the_class_and_none_is_its_default():
    assert activation("leaky-relu", slope=0.3).slope == 0.3
    assert activation("leaky-relu", slope=None).slope == ol.LeakyReLU().slope
    flow = resolve(flows.BY_NAME, "sgd", ol.AbstractFlow, "--flow", learning_rate=0.2)
    assert flow.learning_rate == 0.2


@pytest.mark.parametrize(
    ("given", "numbers", "message"),
    [
        ("tanh", {}, r"--activation: got 'tanh'; allowed: relu, leaky-relu, erf, or module:object"),
        ("erf", {"slope": 0.1}, r"argument --slope: only leaky-relu has one; got --activation erf"),
        ("no_module:x", {}, r"there is no module 'no_module'; got 'no_module:x'; allowed: module:"),
        ("odelandscape.no:x", {}, r"there is no module 'odelandscape\.no'"),
        ("math:no", {}, r"--activation: the module 'math' has no object 'no'; got 'math:no'"),
        ("math:pi", {}, r"'math:pi' is 3\.14.*; allowed: .* a subclass of AbstractActivation"),
        ("odelandscape:GradientFlow", {}, r"is the class GradientFlow; allowed: "),
        ("odelandscape:Quadrature", {}, r"needs function; allowed: the place .* of an instance"),
        ("odelandscape:AbstractActivation", {}, r"must define __call__, second_mo"),
        (":x", {}, r"got ':x'; allowed: module:object"),
    ],
)
def test_what_cannot_be_resolved_is_named(given, numbers, message):
    with pytest.raises(ol.UserError, match=message):
        activation(given, **numbers)


def test_an_option_is_named_as_a_parameter_in_a_program():
    with pytest.raises(
        ol.UserError, match=r"argument learning_rate: only sgd has one; got flow gd"
    ):
        resolve(flows.BY_NAME, "gd", ol.AbstractFlow, "flow", learning_rate=0.1)


@pytest.mark.parametrize(
    ("text", "words", "kind"),
    [
        (
            "\nimport a_missing_dependency",
            r"ModuleNotFoundError: No module named 'a_.*\.py:2$",
            ModuleNotFoundError,
        ),
        (
            "x = 1 / 0",
            r"ZeroDivisionError: division by zero, .*broken_module\.py:1$",
            ArithmeticError,
        ),
        ("x = (", r"SyntaxError: .*broken_module\.py, line 1", SyntaxError),
        ("import sys; sys.exit(3)", r"SystemExit: 3, .*broken_module\.py:1$", SystemExit),
    ],
)
def test_a_fault_of_the_users_module_is_told_with_its_line(
    text, words, kind, tmp_path, monkeypatch
):
    (tmp_path / "broken_module.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "broken_module", raising=False)
    with pytest.raises(ol.UserError, match=f"'broken_module' cannot be imported: {words}") as told:
        load("broken_module:x")
    assert isinstance(told.value.__cause__, kind)
