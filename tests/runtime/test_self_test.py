"""The self-test: right numbers pass once, wrong ones are refused by name."""

import jax
import jax.numpy as jnp
import jaxlib.version
import numpy as np
import pytest

from odelandscape.runtime import self_test
from odelandscape.runtime.self_test import WrongNumbersError, check_numbers, ensure_numbers


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "odelandscape" / "numbers-checked.txt"


@pytest.fixture
def calls(monkeypatch):
    """Counts the calls of check_numbers, which passes without running."""
    made = []
    monkeypatch.setattr(self_test, "check_numbers", lambda: made.append(None))
    return made


@pytest.mark.parametrize("x64", [True, False])
def test_right_numbers_pass_in_either_precision(x64):
    before = jax.config.read("jax_enable_x64")
    with jax.enable_x64(x64):
        check_numbers()
    assert jax.config.read("jax_enable_x64") == before


def test_a_pass_is_recorded(cache, calls):
    ensure_numbers()
    ensure_numbers()
    assert len(calls) == 1
    assert len(cache.read_text().splitlines()) == 1


def test_a_pass_is_valid_only_for_what_was_checked(cache, calls, monkeypatch):
    ensure_numbers()
    monkeypatch.setattr(jaxlib.version, "__version__", "999.0")
    ensure_numbers()
    monkeypatch.setenv("XLA_FLAGS", "--xla_some_flag")
    ensure_numbers()
    with jax.enable_x64(not jax.config.read("jax_enable_x64")):
        ensure_numbers()
    monkeypatch.setattr(
        self_test, "_dtype_and_device", lambda: (np.dtype(np.float64), "gpu (another)")
    )
    ensure_numbers()
    ensure_numbers()
    assert len(calls) == 5


def test_a_relative_cache_home_is_ignored(tmp_path, monkeypatch, calls):
    monkeypatch.setenv("XDG_CACHE_HOME", "here")
    monkeypatch.setenv("HOME", str(tmp_path))
    ensure_numbers()
    ensure_numbers()
    assert len(calls) == 1
    assert (tmp_path / ".cache" / "odelandscape" / "numbers-checked.txt").exists()


def test_an_unwritable_cache_is_no_error(tmp_path, monkeypatch, calls):
    # A file in the folder's place: permissions would not stop a superuser.
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    ensure_numbers()
    ensure_numbers()
    assert len(calls) == 2


def test_a_damaged_cache_is_no_error(cache, calls):
    cache.parent.mkdir()
    cache.write_bytes(b"\xff\x00 no line of ours\n")
    ensure_numbers()
    ensure_numbers()
    assert len(calls) == 1


def _last_row_wrong(vmap):
    """jax.vmap, but the last row of the result is another row's, as in jax-ml/jax#39103."""

    def broken(f):
        return lambda *args: vmap(f)(*args).at[-1].set(vmap(f)(*args)[-17])

    return broken


@pytest.mark.parametrize(
    ("module", "name", "broken", "reference"),
    [
        (jax, "vmap", _last_row_wrong(jax.vmap), "jax-ml/jax#39103"),
        (jnp, "arctan", lambda x: jnp.asarray(x), "jax-ml/jax#39352"),
        (jnp, "arctan", lambda x: jnp.full_like(x, jnp.nan), "jax-ml/jax#39352"),
        (jnp, "arccos", lambda x: jnp.pi / 2 - x, "arc-cosine kernel"),
    ],
)
def test_wrong_numbers_are_refused_by_name_and_not_recorded(
    cache, monkeypatch, module, name, broken, reference
):
    monkeypatch.setattr(module, name, broken)
    for _ in range(2):
        with pytest.raises(WrongNumbersError) as refused:
            ensure_numbers()
    message = str(refused.value)
    assert reference in message
    assert f"jax {jax.__version__} with jaxlib {jaxlib.version.__version__}" in message
    assert f'pip install "jax!={jax.__version__}" "jaxlib!={jaxlib.version.__version__}"' in message
    assert not cache.exists()


@pytest.mark.parametrize("module", [jax, jaxlib.version])
def test_a_version_known_to_be_broken_is_refused_though_the_answers_are_right(
    cache, monkeypatch, module
):
    monkeypatch.setattr(module, "__version__", "0.10.2")
    with pytest.raises(WrongNumbersError, match=r"0\.10\.2 is known for it.*#39103"):
        ensure_numbers()
    assert not cache.exists()


@pytest.mark.parametrize("run", self_test._CHECKS.values())
def test_known_answers_differ_between_rows(run):
    _, truth = run(np.dtype(np.float32))
    assert len(np.unique(truth)) >= 60
