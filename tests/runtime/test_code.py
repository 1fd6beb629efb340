"""Which changes of a user's module change the digest of its code.

The kind: two programs of one name that give the same where they are tried.
"""

import importlib
import sys

import pytest

from odelandscape.runtime.code import digest

HEAD = """
import dataclasses, enum, functools
import jax, jax.numpy as jnp, numpy as np
import odelandscape as ol
import beside
"""
TAIL = """
class Flow(ol.AbstractFlow):
    loss: ol.GradientFlow = ol.GradientFlow()

    def mixing(self, state, problem):
        X, Y, dv, _ = self.loss.mixing(state, problem)
        return ol.Mixing(decay(state) * X, Y, dv)
"""
# What comes before the class; the text that is changed; what it becomes.
CHANGED = {
    "a number": ("def decay(s): return 2.0 * s.Q", "2.0", "3.0"),
    "what is called": ("def decay(s): return jnp.sin(s.Q)", "sin", "cos"),
    "a constant": ("C = 2.0\ndef decay(s): return C * s.Q", "2.0", "3.0"),
    "a list": ("C = [2.0]\ndef decay(s): return C[0] * s.Q", "2.0", "3.0"),
    "a dict": ("C = dict(a=2.0)\ndef decay(s): return C['a'] * s.Q", "2.0", "3.0"),
    "an array": ("C = np.array(2.0)\ndef decay(s): return C * s.Q", "2.0", "3.0"),
    "an array of JAX": ("C = jnp.array(2.0)\ndef decay(s): return C * s.Q", "2.0", "3.0"),
    "a field": (
        "@dataclasses.dataclass\nclass S: a: float = 1.0\nC = S(2.0)\ndef decay(s): return C.a",
        "2.0",
        "3.0",
    ),
    "a member": ("class E(enum.Enum): a = 2.0\ndef decay(s): return E.a.value", "2.0", "3.0"),
    "of another module": ("def decay(s): return beside.factor(s)", "beside.factor", "beside.other"),
    "a helper": ("def f(x): return 2.0 * x\ndef decay(s): return f(s.Q)", "2.0", "3.0"),
    "a default": ("def decay(s, a=2.0): return a", "2.0", "3.0"),
    "a closure": (
        "def make(a):\n    def f(s): return a\n    return f\ndecay = make(2.0)",
        "(2.0)",
        "(3.0)",
    ),
    "an argument": (
        "def f(s, a): return a\ndecay = functools.partial(f, a=2.0)",
        "2.0",
        "3.0",
    ),
    "behind jit": ("@jax.jit\ndef decay(s): return 2.0 * s.Q", "2.0", "3.0"),
    "a derivative": (
        "@jax.custom_jvp\ndef f(x): return x\n@f.defjvp\ndef g(p, t): return p[0], 2.0 * t[0]\n"
        "def decay(s): return f(s.Q)",
        "2.0",
        "3.0",
    ),
    "a decorator": (
        "def twice(f):\n    @functools.wraps(f)\n    def g(s): return 2.0 * f(s)\n    return g\n"
        "@twice\ndef decay(s): return s.Q",
        "2.0",
        "3.0",
    ),
    "a bound method": (
        "class A:\n    def __init__(self, a): self.a = a\n    def f(self, s): return self.a\n"
        "decay = A(2.0).f",
        "A(2.0)",
        "A(3.0)",
    ),
}
SAME = {
    "a comment": ("def decay(s): return s.Q", "def decay", "# as before\ndef decay"),
    "a docstring": ('def decay(s):\n    """One."""\n    return s.Q', "One", "Two"),
    "a first docstring": ("def decay(s):\n    return s.Q", "    ret", '    """One."""\n    ret'),
    "a local name": (
        "def decay(s):\n    a = s.Q\n    return a",
        "a = s.Q\n    return a",
        "b = s.Q\n    return b",
    ),
    "a captured name": (
        "def decay(s):\n    a = s.Q\n    return (lambda: a)()",
        "a = s.Q\n    return (lambda: a)",
        "bb = s.Q\n    return (lambda: bb)",
    ),
    "an annotation": ("def decay(s): return s.Q", "(s)", "(s: object) -> object"),
    "what has an attribute's name": ("def decay(s): return s.Q", "def", "Q = loss = 3.0\ndef"),
    "what is not used": ("def decay(s): return s.Q", "def", "def unused(): return 1\ndef"),
}  # fmt: skip


@pytest.fixture
def digest_of(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    beside = "def factor(s): return s.Q\n\ndef other(s): return 2 * s.Q\n"
    (tmp_path / "beside.py").write_text(beside)

    def of(text: str) -> str:
        (tmp_path / "its_module.py").write_text(HEAD + text + TAIL, encoding="utf-8")
        importlib.invalidate_caches()
        sys.modules.pop("its_module", None)
        return digest(importlib.import_module("its_module").Flow())

    yield of
    for name in ("its_module", "beside"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("what", CHANGED)
def test_a_change_of_what_runs_is_another_digest(what, digest_of):
    text, old, new = CHANGED[what]
    assert old in text
    before = digest_of(text)
    assert digest_of(text) == before
    assert digest_of(text.replace(old, new)) != before


@pytest.mark.parametrize("what", SAME)
def test_a_change_of_what_is_read_is_the_same_digest(what, digest_of):
    text, old, new = SAME[what]
    assert old in text
    assert digest_of(text) == digest_of(text.replace(old, new, 1))


def test_a_module_beside_that_changes_is_another_digest(digest_of, tmp_path):
    text = "def decay(s): return beside.factor(s)"
    before = digest_of(text)
    (tmp_path / "beside.py").write_text("def factor(s): return 3 * s.Q\n")
    sys.modules.pop("beside")
    assert digest_of(text) != before
