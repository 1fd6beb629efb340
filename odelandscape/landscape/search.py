"""Families of fixed points found from many starts in block ansätze."""

from collections.abc import Callable, Iterable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
from jaxtyping import Array, Float, PRNGKeyArray

from ..ansatz.ansatz_point import AnsatzPoint, ansatz_of
from ..ansatz.block_ansatz import AbstractBlocks, BlockAnsatz, FormalBlocks
from ..ansatz.detection import block_structure, describe
from ..ansatz.padding import padded
from ..ansatz.reduced_loss import parameter_lengths, reduced_loss
from ..model.alignment import INACTIVE_NORM
from ..model.problem import Problem
from ..runtime.errors import NoSuchFamilyError, UserError
from .fixed_points import CONVERGED, FixedPoint, solve
from .named_families import ZERO_LOSS, named_points, teacher_point

_EQUAL_LOSSES = 1e-9
_EQUAL_COEFFICIENTS = 1e-7  # mean difference
_MOST_TEACHERS = {3: 24, 2: 100}  # up to which ansätze of so many blocks are searched
_MOST_ANTI_ALIGNED = 30  # of the named families of wider problems


@eqx.filter_jit
def _minimise(blocks: FormalBlocks, starts: Float[Array, "n P"]) -> Float[Array, "n P"]:
    lengths = parameter_lengths(blocks)

    def minimum(z):
        found = optx.minimise(
            lambda x, blocks: reduced_loss(blocks, x / lengths),
            optx.BFGS(rtol=1e-9, atol=1e-9),
            z * lengths,
            args=blocks,
            max_steps=400,
            throw=False,
        )
        return found.value / lengths

    return jax.vmap(minimum)(starts)


def _random_starts(ansatz: AbstractBlocks, key: PRNGKeyArray, count: int) -> Float[Array, "n P"]:
    """Return diagonals of order 1, and constants whose row on a block has a length of order 1 / 2."""
    S = ansatz.own.shape[0]
    on_blocks = jnp.broadcast_to(0.7 / jnp.sqrt(ansatz.sizes)[None, :], (S, len(ansatz.sizes)))
    scale = jnp.concatenate([jnp.ones(len(ansatz.matched)), on_blocks.ravel()])
    return scale[None, :] * jax.random.normal(key, (count, ansatz.count))


def explore(
    problem: Problem,
    ansatz: BlockAnsatz | AnsatzPoint,
    key: PRNGKeyArray,
    starts: int = 64,
) -> list[FixedPoint]:
    """Return the fixed points in an ansatz that many random starts lead to, one of each, lowest loss first.

    Starts descend by BFGS to minima within the ansatz (in the full space these may be saddles) and are
    polished by Newton's method. Each is returned in its own, possibly coarser blocks.

    - `ansatz`: the blocks to search in, or a point of them; its numbers are replaced by those of `problem`.
    - `key`: of the random starts; `starts`: how many.

    Raises UserError if ansatz and problem don't fit, or the students are too many to be written out.
    """
    ansatz = ansatz_of(ansatz).of(problem)
    padding = padded(ansatz)
    first = padding.pad(_random_starts(ansatz, key, starts))
    minima = np.asarray(padding.strip(_minimise(padding.blocks, first)))
    minima = minima[np.isfinite(minima).all(axis=1)]
    points = [solve(ansatz, jnp.asarray(z)) for z in minima]
    found = []
    for point in distinct(p for p in points if p.result == CONVERGED and _all_active(p)):
        if float(point.loss) > ZERO_LOSS:
            coarsest = block_structure(problem, point.weights).point
            name = describe(coarsest.ansatz)
            found.append(solve(coarsest.ansatz, coarsest.parameters, name))
    return distinct(found)


def _all_active(point: FixedPoint) -> bool:
    """Whether no student has length 0, where the loss has a kink."""
    Q, _ = point.ansatz_point.block_overlaps
    return bool(np.diagonal(np.asarray(Q.diagonal)).min() > INACTIVE_NORM**2)


def distinct(points: Iterable[FixedPoint]) -> list[FixedPoint]:
    """Return the first of points that differ by a permutation only, lowest loss first.

    Permuting students or teachers changes neither the loss nor how the coefficients are distributed; two
    points are one if both agree, the distributions by their Wasserstein distance.
    """
    from scipy.stats import wasserstein_distance  # a fifth of all that this package loads

    kept: list[tuple[float, np.ndarray, np.ndarray, FixedPoint]] = []
    for point in points:
        loss, z, n = (np.asarray(x) for x in (point.loss, point.z, point.ansatz.multiplicity))
        z, n = z[n > 0], n[n > 0]
        if not any(
            abs(loss - other) < _EQUAL_LOSSES
            and wasserstein_distance(z, values, n, counts) < _EQUAL_COEFFICIENTS
            for other, values, counts, _ in kept
        ):
            kept.append((float(loss), z, n, point))
    return sorted((point for *_, point in kept), key=lambda point: float(point.loss))


def _partitions(total: int, parts: int, least: int = 1) -> list[tuple[int, ...]]:
    """Return the ways to write `total` as that many parts of at least `least`, largest first."""
    if parts == 1:
        return [(total,)] if total >= least else []
    return [
        (*head, last)
        for last in range(least, total // parts + 1)
        for head in _partitions(total - last, parts - 1, last)
    ]


def structures(problem: Problem, blocks: int = 3) -> list[BlockAnsatz]:
    """Return the block ansätze of that many blocks: students matched to each block of two or more teachers,
    the others free; where K < M one more block of M − K teachers has no students."""
    M, K = problem.teachers, problem.students
    missing = max(M - K, 0)
    found = []
    for sizes in _partitions(M - missing, min(blocks, M - missing)):
        matched = tuple(b for b, size in enumerate(sizes) if size > 1)
        free = K - sum(sizes[b] for b in matched)
        whole = (*sizes, missing) if missing else sizes
        found.append(BlockAnsatz(problem, whole, matched, free))
    return found


def families(
    problem: Problem,
    anti_aligned: int | None = None,
    *,
    blocks: int | None = None,
    starts: int = 64,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[FixedPoint]:
    """Return the families of fixed points of gradient flow for (K, M), lowest loss first.

    These are the teacher, the named families, and what `explore` finds in the ansätze of up to `blocks`
    blocks; two answers that differ by a permutation are one. What is found is not proved to be all.

    - `anti_aligned`: only families with this α. Where K = M these are the named ones, and nothing is
      searched.
    - `blocks`: blocks of the ansätze that are searched: 3 up to M = 24, 2 up to 100, none above, unless
      given. Above M = 100 the named families are returned up to α = 30.
    - `starts`: in each ansatz; `seed`: of these starts.
    - `progress`: called with the number of ansätze searched and of all.

    Raises NoSuchFamilyError if there is no family with this α, with where the branches end.
    """
    M = problem.teachers
    if blocks is None:
        blocks = max((b for b, most in _MOST_TEACHERS.items() if M <= most), default=0)
    if anti_aligned is not None and not 0 <= anti_aligned <= M:
        raise UserError(f"anti_aligned must be from 0 to M = {M}; got {anti_aligned!r}")
    teacher = []
    if problem.students >= M:
        whole = teacher_point(problem)
        teacher = [solve(whole.ansatz, whole.parameters, whole.name)]
    if anti_aligned == 0:
        return teacher
    if anti_aligned is not None and problem.students == M:
        found, reasons = named_points(problem, [int(anti_aligned)])
        if not found:
            raise NoSuchFamilyError("; ".join(reasons) or _none_found(problem, anti_aligned))
        return distinct(found)
    found, _ = named_points(
        problem, range(1, (M if M <= max(_MOST_TEACHERS.values()) else _MOST_ANTI_ALIGNED) + 1)
    )
    candidates = [ansatz for b in range(blocks, 0, -1) for ansatz in structures(problem, b)]
    for index, ansatz in enumerate(candidates):
        key = jax.random.fold_in(jax.random.key(seed), index)
        found.extend(explore(problem, ansatz, key, starts))
        if progress is not None:
            progress(index + 1, len(candidates))
    points = distinct([*teacher, *found])
    if anti_aligned is None:
        return points
    kept = [point for point in points if point.anti_aligned == anti_aligned]
    if not kept:
        others = sorted({point.anti_aligned for point in points})
        raise NoSuchFamilyError(f"{_none_found(problem, anti_aligned)}; those found have {others}")
    return kept


def _none_found(problem: Problem, anti_aligned: int) -> str:
    K, M = problem.students, problem.teachers
    return f"no family with anti_aligned = {anti_aligned} was found for K = {K}, M = {M}"
