"""The speed of compiled rates: what is asked and said; no test depends on how fast this machine is."""

import jax
import pytest

import odelandscape as ol
from odelandscape.flows.speed import RatesSpeed


def test_it_is_a_line_whatever_it_finds():
    with jax.enable_x64(False):
        found = ol.check_speed()
    assert found.rates > 0
    assert found.reference > 0
    assert str(found).startswith("rates at K = M = 17 take ")
    assert "\n" not in str(found)


@pytest.mark.parametrize(("rates", "right"), [(0.8, True), (1.5, True), (6.5, False)])
def test_a_release_that_breaks_loops_apart_is_noticed(rates, right):
    """Measured with jax 0.12.0, NumPy 2.1 µs: as we compile, with narrow vectors, without options."""
    found = RatesSpeed(rates, 2.1)
    assert found.as_expected == right
    assert ("slow loops" in str(found)) != right
