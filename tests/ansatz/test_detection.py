"""Alignment, families and blocks, on end states made by hand."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
from systems import MINIMA

import odelandscape as ol
from odelandscape.ansatz.block_ansatz import BlockAnsatz
from odelandscape.ansatz.detection import block_structure, describe
from odelandscape.ansatz.lifting import lift, restrict, write_matrix
from odelandscape.landscape.fixed_points import solve
from odelandscape.model.alignment import align
from odelandscape.relaxation.outcomes import LEVEL_WIDTH
from odelandscape.sweeps.levels import group_by_level, merge_families


def test_alignment_is_the_best_of_all_assignments():
    rng = np.random.default_rng(0)
    for _ in range(20):
        R = rng.normal(size=(4, 4))
        result = align(R, np.ones(4))
        best = max(np.abs(R[list(p), range(4)]).sum() for p in itertools.permutations(range(4)))
        assert np.abs(R[result.order, result.teacher]).sum() == pytest.approx(best)


@pytest.mark.parametrize("minimum", MINIMA, ids=lambda minimum: minimum.name)
def test_anti_aligned_students_of_published_minima_are_counted(minimum):
    counts = {"paper α=1": 1, "hidden α=10": 10, "K=12, M=11": 2}
    shuffled = np.random.default_rng(0).permutation(minimum.W)
    result = align(shuffled, np.linalg.norm(shuffled, axis=1))
    assert result.anti_aligned == counts[minimum.name]


def test_inactive_and_surplus_students():
    R = np.array([[0.0, 0.0], [0.1, 0.9], [-0.8, 0.2], [0.0, 0.5]])
    result = align(R, np.array([0.0, 1.0, 1.0, 1.0]))
    np.testing.assert_array_equal(result.order, [2, 1, 0, 3])
    np.testing.assert_array_equal(result.teacher, [0, 1, -1, 1])
    assert result.anti_aligned == 1
    few = align(np.array([[0.1, -0.9, 0.2]]), np.ones(1))
    np.testing.assert_array_equal(few.teacher, [1])
    assert few.anti_aligned == 1


def test_families_by_outcome_anti_aligned_students_and_level():
    outcome = np.array(
        "local_minimum global_minimum local_minimum saddle local_minimum failed "
        "global_minimum not_converged local_minimum".split()
    )
    alpha = np.array([1, 0, 1, 1, 2, 0, 2, 0, 1])
    loss = np.array([0.02, 0.0, 0.02 + 1e-12, 0.02, 0.04, np.inf, 0.0, 0.5, 0.03])
    eigenvalue = np.array([0.1, 0.3, 0.2, -0.5, 0.1, np.inf, 0.2, 0.0, 0.4])
    found = group_by_level(np.arange(9), outcome, alpha, loss, eigenvalue)
    rows = [(f.outcome, f.anti_aligned, f.count, f.smallest_eigenvalue) for f in found]
    assert rows == [
        ("global_minimum", 0, 2, 0.2),
        ("local_minimum", 1, 2, 0.1),
        ("saddle", 1, 1, -0.5),
        ("local_minimum", 1, 1, 0.4),
        ("local_minimum", 2, 1, 0.1),
    ]
    assert [f.representative for f in found] == [1, 0, 3, 8, 4]


@pytest.mark.parametrize("size", [1, 7, 50])
def test_families_of_parts_are_those_of_the_whole(size):
    rng = np.random.default_rng(0)
    n = 300
    outcome = rng.choice(np.array(["global_minimum", "local_minimum", "saddle", "failed"]), n)
    alpha = rng.integers(0, 3, n)
    # Levels, of which some are runs that only all parts together make.
    loss = rng.choice([0.01, 0.02, 0.03], n) + LEVEL_WIDTH * rng.uniform(0, 30, n)
    columns = np.arange(n), outcome, alpha, loss, rng.normal(size=n)
    cuts = range(size, n, size)
    parts = zip(*(np.split(column, cuts) for column in columns), strict=True)
    whole = group_by_level(*columns)
    assert merge_families(group_by_level(*part) for part in parts) == whole
    assert len(whole) > 10


# --- blocks -------------------------------------------------------------------------------------


def exchangeable(M, c):
    """T = (1 − c) I + c 11ᵀ."""
    return (1 - c) * np.eye(M) + c


def blocks_of(A, v=None, **options):
    """The structure of weights given by their coefficients in orthonormal teachers."""
    v = jnp.ones(len(A)) if v is None else jnp.asarray(v)
    return block_structure(ol.Problem(*A.shape), ol.Weights(jnp.asarray(A), v), **options)


# K, M, teacher blocks, matched, free and what they are called: α = 1, α = 2, three blocks, K = M + 1 and
# M + 2, one block, blocks of one size, two students to a teacher, too few students, no two teachers alike.
STRUCTURES = [
    (10, 10, (9, 1), (0,), 1, "9+1: matched 9, free 1"),
    (10, 10, (8, 2), (0, 1), 0, "8+2: matched 8, 2"),
    (20, 20, (13, 6, 1), (0, 1), 1, "13+6+1: matched 13, 6, free 1"),
    (12, 11, (10, 1), (0,), 2, "10+1: matched 10, free 2"),
    (11, 9, (5, 2, 1, 1), (0, 1), 4, "5+2+1+1: matched 5, 2, free 4"),
    (6, 6, (6,), (0,), 0, "6: matched 6"),
    (9, 9, (3, 3, 3), (0, 1, 2), 0, "3+3+3: matched 3, 3, 3"),
    (10, 7, (4, 2, 1), (0, 0), 2, "4+2+1: matched 4 ×2, free 2"),
    (4, 9, (5, 4), (1,), 0, "5+4: matched 4"),
    (7, 6, (1,) * 6, (), 7, "6×1: free 7"),
]


@pytest.mark.parametrize(
    ("structure", "c"), [*((s, 0.0) for s in STRUCTURES), (STRUCTURES[4], 0.3)]
)
def test_blocks_are_found_in_any_order_and_with_noise(structure, c):
    K, M, sizes, matched, free, name = structure
    rng = np.random.default_rng(K * M)
    T = exchangeable(M, c) if c else None
    v = np.repeat(rng.uniform(0.5, 1.5, len(sizes)), sizes) if c else np.ones(M)
    readout = rng.uniform(-1, 1, len(matched) + free) if c else None
    ansatz = BlockAnsatz(ol.Problem(K, M, None, T, v), sizes, matched, free, readout=readout)
    # Aligned, so that the order of the blocks is by size.
    z = jnp.asarray(
        np.concatenate([2 + rng.random(len(matched)), rng.random(ansatz.count - len(matched))])
    )
    A = np.asarray(write_matrix(ansatz, ansatz.coefficients(z)))
    L = np.eye(M) if T is None else np.linalg.cholesky(T)
    found = []
    for _ in range(2):
        i, j = rng.permutation(K), rng.permutation(M)
        shuffled = A[i][:, j] + 1e-8 * rng.uniform(-1, 1, (K, M))
        W = np.pad(shuffled @ L, ((0, 0), (0, 2)))
        problem = ol.Problem(K, M, None, T, v[j])
        found.append(block_structure(problem, ol.Weights(jnp.asarray(W), lift(ansatz, z).v[i])))
        point, _, students, teachers = found[-1]
        own = point.ansatz
        assert sorted(students) == list(range(K))
        assert sorted(teachers) == list(range(M))
        lifted = write_matrix(own, own.coefficients(point.parameters))
        np.testing.assert_allclose(lifted, shuffled[students][:, teachers], atol=2e-8)
        np.testing.assert_allclose(point.weights.v, lift(ansatz, z).v[i][students])
        np.testing.assert_array_equal(np.repeat(own.teacher_readout, sizes), v[j][teachers])
        assert describe(own) == name
    # Students and teachers in another order are the same parameters.
    np.testing.assert_allclose(found[0].point.parameters, found[1].point.parameters, atol=4e-8)


@pytest.mark.parametrize("minimum", MINIMA, ids=lambda minimum: minimum.name)
def test_published_minima_have_their_blocks(minimum):
    names = {
        "paper α=1": "9+1: matched 9, free 1",
        "hidden α=10": "10: matched 10",
        "K=12, M=11": "10+1: matched 10, free 2",
    }
    rng = np.random.default_rng(0)
    K, M = minimum.W.shape
    own = blocks_of(minimum.W[rng.permutation(K)][:, rng.permutation(M)]).ansatz
    assert describe(own) == names[minimum.name]


@pytest.mark.slow
def test_the_point_is_on_the_very_branch_of_an_end_state():
    """Of relaxed random starts, stuck ones among them."""
    problem = ol.Problem(8, 8)
    runs = ol.sweep(problem, ol.GradientFlow(), seeds=32, progress=False)
    stuck = np.flatnonzero(runs.outcome == "local_minimum")
    assert len(stuck)
    for i in stuck:
        weights = ol.Weights(jnp.asarray(runs.weights.W[i]), jnp.ones(8))
        near = block_structure(problem, weights).point
        point = solve(near.ansatz, near.parameters)
        assert point.result == "converged"
        assert float(point.loss) == pytest.approx(runs.loss[i], abs=1e-12)
        assert point.anti_aligned == runs.anti_aligned[i]


def test_blocks_are_as_coarse_as_the_weights_allow():
    """Weights of a coarse structure lie in each finer one; what is found does not depend on it."""
    problem = ol.Problem(10, 10)
    coarse = BlockAnsatz(problem, (9, 1), (0,), 1)
    weights = lift(coarse, jnp.array([1.0044, -0.0158, 0.1824, 0.1260, -0.6990]))
    fine = BlockAnsatz(problem, (5, 4, 1), (0, 1), 1)
    again = lift(fine, restrict(fine, weights))
    np.testing.assert_allclose(again.W, weights.W)
    assert describe(block_structure(problem, again).ansatz) == describe(coarse)


def _partitions(items):
    """All ways to put items into blocks."""
    if not items:
        yield []
        return
    first, *rest = items
    for blocks in _partitions(rest):
        yield [[first], *blocks]
        for i, block in enumerate(blocks):
            yield [*blocks[:i], [first, *block], *blocks[i + 1 :]]


def _holds(A, blocks):
    """Whether exchanging teachers of a block permutes students, each of them matched or free."""
    students = sorted(map(tuple, A))
    for block in blocks:
        for m, n in itertools.combinations(block, 2):
            exchanged = A.copy()
            exchanged[:, [m, n]] = A[:, [n, m]]
            if sorted(map(tuple, exchanged)) != students:
                return False
    counts = [[np.unique(row[block], return_counts=True)[1] for block in blocks] for row in A]
    varying = [[c for c in row if len(c) > 1] for row in counts]
    return all(len(row) < 2 and all(len(c) == 2 and c.min() == 1 for c in row) for row in varying)


@pytest.mark.slow
def test_no_fewer_blocks_would_do():
    """Against all partitions of four teachers, for students that a group of permutations carries into
    each other. Some need more blocks than the group has orbits: six students, one for each pair of
    teachers; or one for each choice of a teacher in two blocks."""
    rng = np.random.default_rng(0)
    names = set()
    for n in range(16):
        groups = [range(4)] if n % 2 else [range(2), range(2, 4)]
        moves = [sum(p, ()) for p in itertools.product(*map(itertools.permutations, groups))]
        rows = [
            r
            for _ in range(2)
            for r in {tuple(x[list(m)]) for x in [rng.integers(0, 2, 4)] for m in moves}
        ]
        A = np.array(rows, float)[rng.permutation(len(rows))][:, rng.permutation(4)]
        fewest = min(len(blocks) for blocks in _partitions(list(range(4))) if _holds(A, blocks))
        own = blocks_of(A).ansatz
        assert len(own.sizes) == fewest
        names.add(describe(own))
    pairs = np.array(
        [[float(n in pair) for n in range(4)] for pair in itertools.combinations(range(4), 2)]
    )
    assert describe(blocks_of(pairs).ansatz) == "3+1: matched 3 ×2"
    assert len(names) > 4


def test_generic_weights_have_no_blocks():
    A = np.random.default_rng(0).standard_normal((30, 30)) / np.sqrt(30)
    point, _, students, teachers = blocks_of(A)
    assert describe(point.ansatz) == "30×1: free 30"
    np.testing.assert_array_equal(point.weights.W, A[students][:, teachers])


def test_numbers_about_as_far_apart_as_the_tolerance_still_give_the_weights():
    A = np.eye(8) + 1e-5 * np.random.default_rng(0).uniform(-1, 1, (8, 8))
    point, _, students, teachers = blocks_of(A, tolerance=1e-5)
    np.testing.assert_allclose(point.weights.W, A[students][:, teachers], atol=1e-5, rtol=0)
    assert describe(blocks_of(A, tolerance=1e-4).ansatz) == "8: matched 8"


def test_students_with_other_readouts_are_not_alike():
    A = np.eye(4)
    assert describe(blocks_of(A, v=[1.0, 1.0, 0.5, 0.5]).ansatz) == "2+2: matched 2, 2"
    problem = ol.Problem(4, 4, teacher_readout=[1.0, 1.0, 1.0, -1.0])
    found = block_structure(problem, ol.Weights(jnp.eye(4)[::-1], jnp.ones(4)))
    assert describe(found.ansatz) == "3+1: matched 3, free 1"
    np.testing.assert_array_equal(found.problem.readout, problem.readout[found.teachers])


def test_two_blocks_of_which_one_is_anti_aligned():
    """Blocks with students along their teachers come first, even if smaller."""
    A = np.full((9, 9), 0.05)
    A[:4, :4] += np.eye(4)
    A[4:, 4:] -= 0.8 * np.eye(5)
    assert describe(blocks_of(A[::-1]).ansatz) == "4+5: matched 4, 5"
    # One more student along all of the anti-aligned teachers doesn't change that.
    A = np.concatenate([A, [[0.0] * 4 + [0.9] * 5]])
    assert describe(blocks_of(A).ansatz) == "4+5: matched 4, 5, free 1"


def test_real_and_many_sizes_have_names():
    wide = BlockAnsatz(ol.Problem(10**6, 10**6), (10**6 - 1, 1), (0,), 1)
    assert describe(wide) == "999999+1: matched 999999, free 1"
    assert describe(wide.replace(sizes=jnp.array([16.5, 1.0]))) == "16.5+1: matched 16.5, free 1"


@pytest.mark.parametrize(
    ("problem", "W", "options", "message"),
    [
        (
            ol.Problem(3, 3),
            np.eye(3),
            {"tolerance": 0.0},
            "tolerance must be a finite number above 0; got 0.0",
        ),
        (ol.Problem(4, 3), np.eye(3), {}, "weights must be .K = 4, d ≥ M = 3.; got .3, 3."),
        (ol.Problem(3, 3), np.eye(3)[:, :2], {}, "weights must be"),
        (ol.Problem(3, 3), np.full((3, 3), np.nan), {}, "weights must be finite"),
        (ol.Problem(3, 3), np.eye(3, 4) + 0.1, {}, "span of the M = 3 teachers.*beyond it is 0.1"),
        (ol.Problem(3, 3, None, np.diag([1.0, 2, 3])), np.eye(3), {}, "teacher_overlaps must be"),
    ],
)
def test_what_has_no_blocks_is_refused(problem, W, options, message):
    weights = ol.Weights(jnp.asarray(W), jnp.ones(len(W)))
    with pytest.raises(ol.UserError, match=message):
        block_structure(problem, weights, **options)


# --- names of families --------------------------------------------------------------------------

# At M − α = 3 the aligned students' own overlaps are not the largest; at α = M − 1 the blocks are found in
# another order.
NAMED = [
    (10, 10, 1, "compensated"),
    (10, 10, 3, "compensated"),
    (10, 10, 7, "compensated"),
    (10, 10, 3, "hidden"),
    (10, 10, 9, "hidden"),
    (10, 10, 10, "hidden"),
    pytest.param(18, 17, 3, "extra student", marks=pytest.mark.slow),
    pytest.param(18, 17, 2, "split student", marks=pytest.mark.slow),
    (10, 10, 0, "teacher"),
    pytest.param(12, 10, 0, "teacher", marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("K", "M", "alpha", "branch"), NAMED)
def test_a_family_has_its_name_whoever_finds_it(K, M, alpha, branch):
    """Weights in any order, solved again from blocks and from bare numbers. α is by construction."""
    problem, rng = ol.Problem(K, M), np.random.default_rng(K)
    near = ol.family(problem, alpha, None if alpha == 0 else branch)
    point = ol.fixed_point(problem, near)
    W = np.asarray(point.weights.W)[rng.permutation(K)][:, rng.permutation(M)]
    W = W + 1e-7 * rng.uniform(-1, 1, W.shape)
    found = ol.block_structure(problem, ol.Weights(jnp.asarray(W), jnp.ones(K)))
    again = ol.fixed_point(problem, found.point)
    bare = ol.fixed_point(problem, found.ansatz, start=found.point.parameters)
    for one in (near, point, found.point, again, bare):
        assert (one.branch, one.anti_aligned) == (branch, alpha)
        assert branch in repr(one)
    assert f"({branch}, α = {alpha}; K = {K}, M = {M}; " in repr(found)


def test_a_point_is_not_named_after_a_family_that_it_only_looks_like():
    """Newton's method from a named point may end at another one; a saddle (loss 0.0250923) lies next to the
    minimum α = 1 (0.0250806)."""
    problem = ol.Problem(6, 6)
    one = ol.fixed_point(problem, ol.family(problem, 1))
    assert ol.fixed_point(problem, one, start=jnp.asarray([1.0, 0, 0, 0, 1])).branch == "teacher"
    moved = one.weights.W + 0.05 * np.random.default_rng(0).standard_normal((6, 6))
    assert "free 6" in ol.block_structure(problem, ol.Weights(moved, jnp.ones(6))).point.name
    blocks = one.ansatz_point.parameters + jnp.asarray([0.0, 0, 0, 0, 0.01])
    shifted = ol.AnsatzPoint(one.ansatz, blocks).weights
    assert ol.block_structure(problem, shifted).point.name == "5+1: matched 5, free 1"
