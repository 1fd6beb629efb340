"""Networks of any width: losses, eigenvalues and what is printed of them, against ball arithmetic, limits in
closed form, and 80 digits."""

import json
import re
from decimal import Decimal

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import relu_loss_in_digits

import odelandscape as ol
from odelandscape.ansatz.many_digits import BlocksInDigits, refined_in_digits
from odelandscape.ansatz.reduced_loss import gradient_norm, reduced_loss, reduced_rates
from odelandscape.cli.main import main
from odelandscape.landscape.fixed_points import in_all_digits, solve
from odelandscape.runtime.tables import with_decimals, with_digits

# K, M, α, branch, slope: both branches, real students more, every decade from which digits were lost.
WIDE = [
    (10**6, 10**6, 1, None, 0.0),
    (10**7, 10**7, 2, None, 0.0),
    (10**9, 10**9, 1, None, 0.0),
    (10**11, 10**11, 1, None, 0.0),
    (10**12, 10**12, 1, None, 0.0),
    (10**6, 10**6, 5 * 10**5, "hidden", 0.0),
    (10**9, 10**9, 10**9, "hidden", 0.0),
    pytest.param((10**6 + 1, 10**6, 2, "extra student", 0.0), marks=pytest.mark.slow),
    pytest.param((10**6 + 1, 10**6, 2, "split student", 0.0), marks=pytest.mark.slow),
    pytest.param((10**9, 10**9, 3, None, 0.1), marks=pytest.mark.slow),
]

# K, M, teacher blocks, matched, free.
STRUCTURES = [(11, 9, (6, 2, 1), (0, 1), 3), (14, 7, (4, 3), (0, 1, 0), 3), (5, 9, (5, 4), (0,), 0)]


def wide(K, M, alpha, branch, slope=0.0):
    problem = ol.Problem(K, M, ol.LeakyReLU(slope) if slope else ol.ReLU())
    return problem, ol.fixed_point(problem, ol.family(problem, alpha, branch))


def half_a_unit(text: str) -> float:
    """Half a unit in the last digit that is printed."""
    return 0.5 * 10.0 ** Decimal(text).as_tuple().exponent


@pytest.mark.parametrize("case", WIDE, ids=str)
def test_what_is_printed_is_what_is_proved(case):
    """Kind: digits that are lost to cancellation and to rounded parameters. Truth: ball arithmetic."""
    problem, point = wide(*case)
    proved = ol.prove(point, 400)
    assert proved.proved
    loss = proved.loss.low
    assert proved.loss.high == pytest.approx(loss, rel=1e-15)
    assert float(point.loss) == pytest.approx(loss, rel=1e-15)
    text = point.loss_text()
    assert abs(float(text) - loss) <= 1.001 * half_a_unit(text)
    assert float(f"{loss:.10g}") == float(text)
    assert float(point.residual) < 1e-30
    found, truth = ol.spectrum(problem, point), proved.eigenvalues[0].value.low
    assert abs(found.smallest - truth) < found.error
    assert found.verdict == "stable"
    text = with_decimals(found.smallest, found.error, 8)
    assert abs(float(text) - truth) <= half_a_unit(text) + found.error


def test_losses_have_the_limits_of_infinite_width():
    """K·L/α → 1/2 − 2/π² on the compensated branch, L → 1/2 − 1/π where all are reflected: to O(K^−½)."""
    for K in (10**8, 10**10, 10**12):
        _, one = wide(K, K, 1, None)
        assert float(one.loss) * K == pytest.approx(1 / 2 - 2 / np.pi**2, rel=1 / np.sqrt(K))
        _, every = wide(K, K, K, "hidden")
        assert float(every.loss) == pytest.approx(1 / 2 - 1 / np.pi, rel=3 / np.sqrt(K))


@pytest.mark.parametrize("M", [30, 10**5])
def test_the_refined_loss_is_that_of_its_parameters(M):
    """Of a second program, in which the loss is summed pair by pair in 80 digits."""
    _, point = wide(M, M, 1, None)
    found = refined_in_digits(point.ansatz, np.asarray(point.z))
    assert found is not None
    with mp.workdps(80):
        assert float(relu_loss_in_digits(M, found.z)) == pytest.approx(found.loss, rel=1e-11)


@pytest.mark.parametrize(
    "sigma",
    [
        pytest.param(ol.ReLU(), marks=pytest.mark.slow),
        pytest.param(ol.LeakyReLU(0.2), marks=pytest.mark.slow),
    ],
    ids=["ReLU", "LeakyReLU"],
)
def test_rates_and_loss_are_those_of_float64_at_small_widths(sigma):
    """Any blocks: K > M, K < M, two students to a teacher, correlated teachers, readouts of both signs."""
    for K, M, *blocks in STRUCTURES:
        rng = np.random.default_rng(K * M)
        problem = ol.Problem(K, M, sigma, 0.9 * np.eye(M) + 0.1, -np.ones(M))
        S = len(blocks[1]) + blocks[2]
        ansatz = ol.BlockAnsatz(problem, *blocks, readout=rng.uniform(-1, 1, S))
        z = 0.4 * rng.standard_normal(ansatz.count)
        with mp.workdps(30):
            exact = BlocksInDigits(ansatz)
            numbers = np.array([mp.mpf(x) for x in z.tolist()], dtype=object)
            loss, rates = float(exact.loss(numbers)), exact.rates(numbers)
            norm = float(exact.norm(rates))
        y = jnp.asarray(z)
        assert loss == pytest.approx(float(reduced_loss(ansatz, y)), rel=1e-12)
        np.testing.assert_allclose(rates.astype(float), reduced_rates(ansatz, y), atol=1e-13)
        assert norm == pytest.approx(float(gradient_norm(ansatz, y)), rel=1e-12)


@pytest.mark.parametrize(("K", "alpha", "branch"), [(20, 17, None), (200, 200, "hidden")])
def test_the_error_of_a_loss_in_float64_is_below_its_estimate(K, alpha, branch):
    near = ol.family(ol.Problem(K, K), alpha, branch)
    point = solve(near.ansatz, near.parameters)
    truth = refined_in_digits(point.ansatz, np.asarray(point.z))
    assert truth is not None
    assert abs(float(point.loss) - truth.loss) < float(point.loss_error) < 1e-11 * truth.loss * K


def test_what_cannot_be_refined_is_left_as_it_is():
    problem = ol.Problem(200, 200, ol.Erf())
    ansatz = ol.BlockAnsatz(problem, (200,), (0,))
    point = solve(ansatz, jnp.asarray([1.0, 0.0]))
    assert in_all_digits(point) is point
    # Its loss is a sum of 400² numbers of order 0.1: nobody knows whether it is 0.
    assert re.fullmatch(r"\S+ ± \S+", point.loss_text())
    assert float(point.loss_error) < 1e-10


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (2.97246752643667e-7, 1e-23, "2.972467526e-07"),
        (2.97246752643667e-7, 1e-12, "2.9725e-07"),
        (2.97e-7, 2e-7, "3e-07 ± 2e-07"),
        (-9.9e-18, 4e-14, "-1e-17 ± 4e-14"),
        (0.0, 0.0, "0"),
    ],
)
def test_numbers_have_the_digits_that_their_error_leaves(value, error, text):
    assert with_digits(value, error) == text


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.0907434625, 1e-12, "0.09074346"),
        (0.0907434625, 1e-5, "0.0907"),
        (0.09, 0.2, "0.09 ± 0.2"),
        (-0.5, 0.0, "-0.50000000"),
    ],
)
def test_eigenvalues_have_the_decimals_that_their_error_leaves(value, error, text):
    assert with_decimals(value, error, 8) == text


def test_an_eigenvalue_within_its_rounding_decides_nothing():
    values = np.array([0.05, 1e14])
    found = ol.Spectrum(values, np.ones(2), ("", ""), True, 1e-8)
    assert found.error > 0.05
    assert (found.verdict, found.index) == ("marginal", 0)


def test_the_command_line_prints_and_keeps_these_digits(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = "minima -K 1000000000 -M 1000000000 --anti-aligned 1 --quiet --json".split()
    assert main(arguments) == 0
    (family,) = json.loads(capsys.readouterr().out)["families"]
    # Proved by `ol.prove` in 400 bits: 2.97354168523662110e-10.
    assert family["loss"] == pytest.approx(2.9735416852366211e-10, rel=1e-15)
    assert family["loss_error"] < 1e-15 * family["loss"]
    assert family["eigenvalue_error"] > abs(family["smallest_eigenvalue"] - 0.090841852577427)
    assert (family["branch"], family["index"], family["verdict"]) == ("compensated", 0, "stable")
    assert family["residual"] < 1e-30
