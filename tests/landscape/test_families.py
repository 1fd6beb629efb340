"""Fixed points and families: published levels, full gradients in NumPy, 50 digits, and where they end."""

import equinox as eqx
import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
from systems import relu_gradient, relu_loss, relu_loss_in_digits

import odelandscape as ol
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.ansatz.overlap_ansatz import OverlapAnsatz
from odelandscape.landscape.exploration import structures
from odelandscape.landscape.fixed_points import solve
from odelandscape.landscape.named_families import family, fixed_point, named_points
from odelandscape.landscape.search import distinct, explore, families
from odelandscape.landscape.spectrum import spectrum


def at(K, alpha, branch=None):
    problem = ol.Problem(K, K)
    return problem, fixed_point(problem, family(problem, alpha, branch))


# --- the named families ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("branch", "alpha", "loss", "eigenvalue"),
    [
        ("compensated", 1, 0.018702, 0.0320),
        ("compensated", 2, 0.035327, 0.0160),
        ("compensated", 3, 0.050240, 0.0040),
        ("compensated", 4, None, -0.0053),
        ("hidden", 10, 0.076637, None),
        ("hidden", 6, 0.054634, 0.0020),
        ("hidden", 5, 0.046679, -0.0058),
    ],
)
def test_published_levels_at_ten(branch, alpha, loss, eigenvalue):
    problem, point = at(10, alpha, branch)
    assert (point.branch, point.anti_aligned, point.result) == (branch, alpha, "converged")
    found = spectrum(problem, point)
    if loss is not None:
        assert float(point.loss) == pytest.approx(loss, abs=1e-6)
    if eigenvalue is not None:
        assert found.smallest == pytest.approx(eigenvalue, abs=1e-4)
        assert found.verdict == ("stable" if eigenvalue > 0 else "unstable")


@pytest.mark.parametrize("K", [6, 9, 13, 17, 20])
def test_every_named_family_is_a_zero_of_the_full_gradient(K):
    ones, teacher = np.ones(K), np.eye(K)
    stable = 0
    for branch, alphas in (("compensated", range(1, K - 2)), ("hidden", range(3, K + 1))):
        for alpha in alphas:
            problem, point = at(K, alpha, branch)
            assert float(point.residual) <= 1e-12
            W = np.asarray(point.weights.W)
            assert np.linalg.norm(relu_gradient(W, ones, teacher, ones)) <= 1e-12
            assert float(point.loss) == pytest.approx(relu_loss(W, ones, teacher, ones), abs=1e-13)
            stable += spectrum(problem, point).verdict == "stable"
    assert stable > 0


def test_fixed_points_are_the_same_in_order_parameters():
    problem, point = at(10, 2)
    of_overlaps = OverlapAnsatz(point.ansatz)
    y = of_overlaps.parameters(*point.ansatz_point.block_overlaps)
    rates = eqx.filter_jit(lambda y: of_overlaps.field(y))
    slope = eqx.filter_jit(lambda y: jax.jacfwd(of_overlaps.field)(y))
    assert float(jnp.linalg.norm(rates(y))) < 1e-12
    near = y + 1e-3 * jnp.cos(jnp.arange(y.size, dtype=float))
    for _ in range(6):  # Newton's method in the paper's 11 unknowns
        near = near - jnp.linalg.solve(slope(near), rates(near))
    np.testing.assert_allclose(near, y, atol=1e-12)
    np.testing.assert_allclose(point.overlaps.Q, ol.overlaps(problem, point.weights).Q, atol=1e-14)


def loss_in_digits_at_its_minimum(M, near):
    """The loss at the fixed point near z, by Newton's method on 50-digit derivatives."""
    with mp.workdps(50):

        def gradient(*z):
            return [
                mp.diff(lambda *x: relu_loss_in_digits(M, x), z, tuple(np.eye(5, dtype=int)[i]))
                for i in range(5)
            ]

        root = mp.findroot(gradient, [mp.mpf(float(x)) for x in near], tol=1e-60, verify=False)
        return relu_loss_in_digits(M, list(root))


@pytest.mark.parametrize("M", [100, 10**6])
def test_the_level_has_its_digits_at_any_width(M):
    _, point = at(M, 1)
    truth = M * loss_in_digits_at_its_minimum(M, point.z)
    assert M * float(point.loss) == pytest.approx(float(truth), rel=2e-8)


def test_levels_reach_their_limits():
    # K L → 1/2 − 2/π² on the compensated branch, with a correction in 1/√K; L → 1/2 − 1/π if all reflect.
    K = 10**6
    _, point = at(K, 1)
    assert K * float(point.loss) == pytest.approx(1 / 2 - 2 / np.pi**2, abs=2e-4)
    _, point = at(K, K, "hidden")
    assert float(point.loss) == pytest.approx(1 / 2 - 1 / np.pi, abs=2e-3)


# --- surplus students and searches ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("alpha", "branch", "loss", "eigenvalue"),
    [
        pytest.param(2, "extra student", 0.01169891, None, marks=pytest.mark.slow),
        (3, "extra student", 0.01915718, 4e-5),
        (4, "extra student", 0.02597818, 0.0059),
        (2, "split student", 0.01220119, 0.0053),
    ],
)
def test_published_levels_with_a_surplus_student(alpha, branch, loss, eigenvalue):
    problem = ol.Problem(18, 17)
    point = fixed_point(problem, family(problem, alpha, branch))
    assert float(point.loss) == pytest.approx(loss, abs=1e-8)
    W, ones = np.asarray(point.weights.W), np.ones(17)
    assert np.linalg.norm(relu_gradient(W, np.ones(18), np.eye(17), ones)) <= 1e-12
    if eigenvalue is not None:
        assert spectrum(problem, point).smallest == pytest.approx(eigenvalue, abs=1e-4)


@pytest.mark.slow
def test_a_search_finds_the_minimum_of_twelve_and_eleven():
    problem = ol.Problem(12, 11)
    found = explore(problem, BlockAnsatz(problem, (10, 1), (0,), 2), jax.random.key(0))
    point = found[np.argmin([abs(float(p.loss) - 0.0168) for p in found])]
    assert float(point.loss) == pytest.approx(0.0168, abs=5e-5)
    assert spectrum(problem, point).verdict == "stable"
    rows = np.asarray(point.weights.W)
    split = rows[rows[:, -1] < -0.1]
    np.testing.assert_allclose(np.sort(split[:, -1]), [-0.550, -0.190], atol=1e-3)
    np.testing.assert_allclose(np.sort(split[:, 0]), [0.053, 0.087], atol=1e-3)


def test_a_search_finds_the_named_families_and_returns_each_once():
    problem = ol.Problem(6, 6)
    found = families(problem, blocks=2, starts=24)
    assert all(point.result == "converged" for point in found)
    losses = [float(point.loss) for point in found]
    assert losses == sorted(losses)
    assert losses[0] < 1e-12
    names = {(point.branch, point.anti_aligned) for point in found}
    assert {("compensated", 1), ("compensated", 2), ("hidden", 6), ("hidden", 5)} <= names
    again = [solve(p.ansatz, p.z) for p in found]
    assert len(distinct([*found, *again])) == len(found)


def test_structures_cover_the_teacher():
    assert next(a.names for a in structures(ol.Problem(5, 5), 1))[0] == "block 0, diagonal"
    for K, M in ((7, 7), (9, 7), (5, 7)):
        for blocks in (1, 2, 3):
            for ansatz in structures(ol.Problem(K, M), blocks):
                assert float(jnp.sum(ansatz.sizes)) == M
                assert float(jnp.sum(ansatz.student_sizes)) == K


def test_a_singular_jacobian_gives_a_point_and_not_nan():
    # Two students share a teacher: any shares are a fixed point.
    problem = ol.Problem(6, 5)
    ansatz = BlockAnsatz(problem, (4, 1), (0,), 2)
    point = solve(ansatz, jnp.asarray([1.01, 0.0, 0.01, 0.0, 0.42, 0.01, 0.55]))
    assert point.result == "converged"
    assert float(point.loss) < 1e-20


# --- derivatives and ends -------------------------------------------------------------------------


@pytest.mark.slow
def test_derivatives_pass_through_the_fixed_point():
    def loss(slope, c):
        T = (1 - c) * jnp.eye(8) + c
        problem = ol.Problem(8, 8, ol.LeakyReLU(slope), teacher_overlaps=T)
        return fixed_point(problem, family(problem, 2)).loss

    h, at = 1e-4, (0.05, 0.03)
    found = jax.grad(loss, argnums=(0, 1))(*at)
    for i, derivative in enumerate(found):
        up, down = (loss(*(x + sign * h * (i == j) for j, x in enumerate(at))) for sign in (1, -1))
        assert float(derivative) == pytest.approx(float(up - down) / (2 * h), abs=1e-7)


def test_a_point_is_followed_to_another_problem():
    problem = ol.Problem(10, 10)
    near = family(problem, 1)
    leaky = ol.Problem(10, 10, ol.LeakyReLU(0.1))
    truth = fixed_point(leaky, family(leaky, 1)).z
    for point in (near, fixed_point(problem, near)):
        found = fixed_point(leaky, point)
        np.testing.assert_allclose(found.z, truth, atol=1e-12)
        assert found.branch == "compensated"


def test_a_start_replaces_the_parameters_of_a_point():
    problem = ol.Problem(10, 10)
    one = fixed_point(problem, family(problem, 1))
    start = jnp.asarray([1.0, 0.0, 0.0, 0.0, 1.0])  # the teacher
    for given in (one, one.ansatz_point, one.ansatz):
        found = fixed_point(problem, given, start=start)
        np.testing.assert_allclose(found.z, start, atol=1e-12)
        assert float(found.loss) < 1e-20


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ([1.0, 0.0], r"start must have 5 numbers \(block 0, diagonal; .*\); got 2"),
        (1.0, r"start must have 5 numbers .*; got one"),
        ([1.0, 0.0, 0.0, 0.0, np.nan], r"start must have finite numbers; got .*nan"),
        ("teacher", r"start must be 5 numbers; got 'teacher'"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(unchecked, start, message):
    problem = ol.Problem(10, 10)
    with pytest.raises(ol.UserError, match=message):
        fixed_point(problem, BlockAnsatz(problem, (9, 1), (0,), 1), start=start)


def test_a_point_that_is_not_finite_is_refused():
    problem = ol.Problem(10, 10)
    point = ol.AnsatzPoint(BlockAnsatz(problem, (10,), (0,)), jnp.array([1.0, np.inf]))
    with pytest.raises(ol.UserError, match=r"ansatz must have finite numbers; got .*inf"):
        fixed_point(problem, point)


def test_no_family_has_blocks_within_which_the_readout_differs():
    problem = ol.Problem(5, 4, teacher_readout=[1.0, 2.0, 1.0, 1.0])
    with pytest.raises(ol.NoSuchFamilyError, match="teacher_readout must be constant on each"):
        family(problem, 2)
    found, reasons = named_points(problem, [2])
    assert not found
    assert len(reasons) == 2


@pytest.mark.parametrize(
    ("K", "alpha", "branch", "message"),
    [
        (10, 11, None, r"whole number from 0 to M = 10; got 11"),
        (10, 8, None, r"at most M − 3 = 7 .* hidden family α = M"),
        (10, 2, "hidden", r"at least 3 on the hidden branch; got 2"),
        (10, 3, "other", r"branch must be one of compensated, hidden"),
        (10, 3, "extra student", r"K = M \+ 1; got K = 10"),
    ],
)
def test_families_that_do_not_exist_are_refused(K, alpha, branch, message):
    with pytest.raises(ol.UserError, match=message):
        family(ol.Problem(K, K), alpha, branch)


def test_a_branch_that_ends_is_reported_with_where_it_ends():
    # Three anti-aligned students and an extra one: the branch turns at M = 10.04.
    family(ol.Problem(12, 11), 3, "extra student")
    message = (
        r"does not exist at blocks of 6 \+ 3 teachers.* ends near blocks of 7\.\d+ \+ 3 teachers"
    )
    for activation in (ol.ReLU(), ol.LeakyReLU(0.001)):
        with pytest.raises(ol.NoSuchFamilyError, match=message):
            family(ol.Problem(10, 9, activation), 3, "extra student")
    # The numbers that end it are named: at readout 1 it exists.
    minus = ol.Problem(6, 6, teacher_readout=-np.ones(6))
    with pytest.raises(ol.NoSuchFamilyError, match=r"5 \+ 1 teachers of readout -1 and -1, c = 0"):
        family(minus, 1)
    # Six of twenty turn at c = 0.93087, so at c = 0.95 fewer than six can be reflected.
    c = 0.95
    with pytest.raises(ValueError, match=r"ends near blocks of 14 \+ 5\.\d+ teachers, c = 0\.95"):
        family(ol.Problem(20, 20, teacher_overlaps=(1 - c) * np.eye(20) + c), 6)


def test_a_start_is_required():
    problem = ol.Problem(10, 10)
    with pytest.raises(ValueError, match=r"start must be given .*block 0, diagonal"):
        fixed_point(problem, BlockAnsatz(problem, (8, 2), (0, 1)))
    with pytest.raises(ValueError, match="ansatz must have the problem's K = 9"):
        fixed_point(ol.Problem(9, 9), family(problem, 1))


def test_a_point_is_taken_where_its_blocks_are():
    problem = ol.Problem(5, 5)
    point = family(problem, 1)
    assert ol.describe(point) == ol.describe(point.ansatz)
    assert OverlapAnsatz(point).count == OverlapAnsatz(point.ansatz).count
    found = fixed_point(problem, ansatz=point)
    again = fixed_point(problem, ol.block_structure(problem, found.weights).point)
    assert float(again.loss) == pytest.approx(float(found.loss), abs=1e-12)


def test_an_activation_without_named_families_is_searched():
    """Named branches are those of (leaky) ReLU; students that equal the teacher have loss 0 with any σ."""
    problem = ol.Problem(3, 3, ol.Erf())
    with pytest.raises(ol.NoSuchFamilyError, match="between ReLU and LeakyReLU"):
        families(problem, 3)
    found = families(problem, blocks=1, starts=4)
    assert float(found[0].loss) == pytest.approx(0, abs=1e-12)
