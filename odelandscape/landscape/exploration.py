r"""Where a search for fixed points looks, and how: block ansätze, random starts in them, and Newton's method.

Descent ends in minima of an ansatz only. Here the norm of the gradient g descends instead, by Newton's method
with the damping of Levenberg and Marquardt: $\delta = -(J^\top J + \mu)^{-1} J^\top g$, J = ∂g/∂x. Saddles
attract then as minima do. Where J is singular it may converge with g ≠ 0; such an end is dropped.
"""

import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from dataclasses import replace
from itertools import chain, combinations, takewhile
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..ansatz.block_ansatz import BlockAnsatz, FormalBlocks, formal
from ..ansatz.padding import in_unit_scale, padded
from ..ansatz.reduced_loss import block_overlaps, parameter_lengths, reduced_loss
from ..model.problem import Problem
from ..runtime.compiler import cores, thread_pool
from ..runtime.errors import NoSuchFamilyError, UserError
from .homotopy import scaled_rates

MOST_TEACHERS = {3: 24, 2: 100}
"""Up to which M ansätze of so many blocks are searched unless a number of blocks is given."""
_MOST_ANSATZE = 2000
_MOST_PARAMETERS = 64
_MOST_AVERAGING = 3  # free students that stand on blocks of several teachers
_LANES = 64  # starts that are iterated together
_ITERATIONS = 10  # in a round
_MOST_ROUNDS = 15
_CONVERGED = 1e-11  # norm of the gradient, in units of the readouts
_NOWHERE = 1e-7  # |Jᵀg| / |g| where the norm of the gradient has a minimum that is not 0
_LONGEST_STEP = 0.5
_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-16, 1e6


def _partitions(total: int, parts: int, least: int = 1) -> Iterator[tuple[int, ...]]:
    """Yield the ways to write `total` as that many parts of at least `least`, largest first."""
    if parts == 1:
        if total >= least:
            yield (total,)
        return
    for last in range(least, total // parts + 1):
        for head in _partitions(total - last, parts - 1, last):
            yield (*head, last)


def structures(problem: Problem, blocks: int = 3) -> list[BlockAnsatz]:
    """Return the block ansätze of that many blocks.

    - Students are matched to each block of two or more teachers, the others free; where K < M one more block
      of M − K teachers has no students.
    - Where K ≥ M + p, another ansatz has as many students as there are matched to the largest block of p
      teachers, several to each.
    - Where K < M, others have up to three free students that average blocks of several teachers.

    Left out are ansätze within whose blocks the teacher's readout differs, and those of more than 64
    parameters (each free student has one for each block).
    """
    return _ansatze(problem, _shapes(problem.students, problem.teachers, blocks))


_Shape = tuple[tuple[int, ...], tuple[int, ...], int]  # sizes, matched, free


def _shapes(K: int, M: int, blocks: int) -> Iterator[_Shape]:
    missing = max(M - K, 0)
    for sizes in _partitions(M - missing, min(blocks, M - missing)):
        matched = tuple(b for b, size in enumerate(sizes) if size > 1)
        free = K - sum(sizes[b] for b in matched)
        yield (*sizes, missing) if missing else sizes, matched, free
        largest = sizes[0]
        copies = (free - (len(sizes) - len(matched))) // largest if largest > 1 else 0
        if copies > 0:
            yield sizes, (0,) * copies + matched, free - copies * largest
    if not missing:
        return
    for sizes in _partitions(M, min(blocks, M)):
        several = [b for b, size in enumerate(sizes) if size > 1]
        for n in range(len(several) + 1):
            for matched in combinations(several, n):
                free = K - sum(sizes[b] for b in matched)
                if 0 <= free <= _MOST_AVERAGING:
                    yield sizes, matched, free


def _ansatze(problem: Problem, shapes: Iterable[_Shape]) -> list[BlockAnsatz]:
    """Return the ansätze of these shapes, each once, few parameters first."""
    ordered = sorted(dict.fromkeys(shapes), key=_parameters)
    found = (_ansatz(problem, *shape) for shape in ordered)
    return [ansatz for ansatz in found if ansatz is not None]


def _parameters(shape: _Shape) -> int:
    sizes, matched, free = shape
    return len(matched) + (len(matched) + free) * len(sizes)


def _ansatz(
    problem: Problem, sizes: tuple[int, ...], matched: tuple[int, ...], free: int
) -> BlockAnsatz | None:
    """Return an ansatz, or None if there is no such one that is searched."""
    if _parameters((sizes, matched, free)) > _MOST_PARAMETERS:
        return None
    try:
        return BlockAnsatz(problem, sizes, matched, free)
    except NoSuchFamilyError:
        return None


def structures_up_to(problem: Problem, blocks: int | None) -> list[BlockAnsatz]:
    """Return the ansätze of up to so many blocks, few parameters first. None: as many as M allows.

    Raises UserError if they are more than 2,000, or if each has too many parameters.
    """
    K, M = problem.students, problem.teachers
    if blocks is None:
        blocks = max((b for b, most in MOST_TEACHERS.items() if most >= M), default=0)
    if not blocks:
        return []
    count = 0
    for b in range(1, min(blocks, M) + 1):
        for _ in _partitions(M, b):
            count += 1
            if count > _MOST_ANSATZE:
                raise UserError(
                    f"blocks must be such that at most {_MOST_ANSATZE:,} ansätze are to be searched (up to a "
                    f"minute each); got {blocks}, of which M = {M} has more (0 searches none, and the named "
                    "families are found at any width)"
                )
    found = _ansatze(
        problem, chain.from_iterable(_shapes(K, M, b) for b in range(1, min(blocks, M) + 1))
    )
    if not found:
        BlockAnsatz(problem, (M,), (), K)  # raises if the teacher's readouts are the reason
        raise UserError(_too_wide(K, M))
    return found


def check_surplus(problem: Problem) -> None:
    """Raise UserError if no ansatz that has so many students more than teachers is searched."""
    K, M = problem.students, problem.teachers
    if K - M > _MOST_PARAMETERS:
        raise UserError(_too_wide(K, M))


def _too_wide(K: int, M: int) -> str:
    return (
        f"students must be fewer for a search: each ansatz has more than {_MOST_PARAMETERS} parameters, "
        "as students that are not matched to teachers have one for each block; got "
        f"K = {K}, M = {M}"
    )


def random_starts(ansatz: BlockAnsatz, key: PRNGKeyArray, count: int) -> Float[np.ndarray, "n P"]:
    """Return diagonals of order 1, and constants whose row on a block has a length of order 1 / 2.

    In every other start some students coincide: what is symmetric stays so, so these are searches in smaller
    ansätze, down to students that are all alike on all teachers. The first start is 0.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    S, B = ansatz.own.shape
    matched = len(ansatz.matched)
    const = 0.7 / np.sqrt(np.asarray(ansatz.sizes)) * rng.standard_normal((count, S, B))
    diagonal = rng.standard_normal((count, matched))
    for n in range(1, count, 2):
        if rng.random() < 0.5:  # alike on all teachers
            const[n] = const[n].mean(axis=1, keepdims=True)
        if rng.random() < 0.5:  # students of a matched block coincide
            diagonal[n] = const[n, np.arange(matched), list(ansatz.matched)]
        for s in range(1, S):  # each like one before it, or of its own
            const[n, s] = const[n, rng.integers(s + 1)]
    starts = np.concatenate([diagonal, const.reshape(count, -1)], axis=1)
    starts[0] = 0
    return starts


Numbers = Array | np.ndarray
"""Arrays of JAX inside the compiled iterations, of NumPy outside."""


class Candidates(NamedTuple):
    """Critical points of one ansatz, as NumPy arrays.

    - `z` (n, P): parameters.
    - `loss` (n,), and `correlations` (n, B): E[Δ σ(w*·x)] with a teacher of each block, which depend on the
      network alone; `shortest` (n,): the squared length of the shortest student. All in units of the readouts
      (`in_unit_scale`).
    """

    z: Float[np.ndarray, "n P"]
    loss: Float[np.ndarray, " n"]
    correlations: Float[np.ndarray, "n B"]
    shortest: Float[np.ndarray, " n"]


class _Lanes(NamedTuple):
    """Points x with g, J, |g|² and damping there, and the points that are tried next; starts in front."""

    x: Float[Numbers, "n P"]
    gradient: Float[Numbers, "n P"]
    jacobian: Float[Numbers, "n P P"]
    square: Float[Numbers, " n"]
    damping: Float[Numbers, " n"]
    trial: Float[Numbers, "n P"]


def error_correlations(
    blocks: FormalBlocks, z: Float[Array, " P"]
) -> tuple[Float[Array, ""], Float[Array, " B"]]:
    """Return the loss, and E[Δ σ(w*·x)] with a teacher of each block: equal networks have equal ones.

    The latter is the derivative of the loss by −v*, over the size of the block.
    """

    def loss(teacher_readout):
        return reduced_loss(replace(blocks, teacher_readout=teacher_readout), z)

    value, slope = jax.value_and_grad(loss)(blocks.teacher_readout)
    return value, -slope / jnp.where(blocks.sizes > 0, blocks.sizes, 1)


@eqx.filter_jit
def _iterate(blocks: FormalBlocks, lanes: _Lanes):
    """Make a round of iterations. Returns the lanes, |Jᵀg|, parameters, losses, correlations and the squared
    lengths of the shortest students."""
    lengths = parameter_lengths(blocks)
    regular = jnp.diag((blocks.multiplicity == 0).astype(float))

    def gradient(x):
        rates = scaled_rates(x, blocks)
        return rates, rates

    def step(lane: _Lanes) -> _Lanes:
        J, g = jax.jacfwd(gradient, has_aux=True)(lane.trial)
        square = g @ g
        better = square < lane.square  # false where anything is not finite
        damping = jnp.where(better, lane.damping / 5, lane.damping * 4)
        damping = jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)
        new = lane.trial, g, J, square
        x, g, J, square = (jnp.where(better, a, b) for a, b in zip(new, lane[:4], strict=True))
        normal = J.T @ J + regular + damping * jnp.eye(len(x))
        move = -jnp.linalg.solve(normal, J.T @ g)
        move = move * jnp.minimum(1, _LONGEST_STEP / (jnp.linalg.norm(move) + 1e-300))
        return _Lanes(x, g, J, square, damping, x + move)

    lanes = jax.lax.fori_loop(0, _ITERATIONS, lambda _, lanes: jax.vmap(step)(lanes), lanes)
    flat = jnp.linalg.norm(jnp.einsum("nij,ni->nj", lanes.jacobian, lanes.gradient), axis=1)
    z = lanes.x / lengths[None, :]

    def measured(z):
        squares = jnp.diagonal(block_overlaps(blocks, z)[0].diagonal)
        return *error_correlations(blocks, z), jnp.min(
            squares, where=blocks.student_sizes > 0, initial=jnp.inf
        )

    return lanes, flat, z, *jax.vmap(measured)(z)


def _fresh(lengths: np.ndarray, starts: np.ndarray) -> _Lanes:
    """Return lanes at which nothing has been evaluated."""
    x, (n, P) = starts * lengths, starts.shape
    whatever = np.broadcast_to(np.eye(P), (n, P, P))
    return _Lanes(x, np.zeros((n, P)), whatever, np.full(n, np.inf), np.full(n, _FIRST_DAMPING), x)


def critical_points(ansatz: BlockAnsatz, starts: Float[np.ndarray, "n P"]) -> Iterator[Candidates]:
    """Yield the critical points of an ansatz that these starts lead to, some at a time, the same one as often
    as starts lead there.

    - `starts`: parameters in units of the readouts: of students whose weights are of order 1 for readouts of
      order 1.
    """
    unit, scale = in_unit_scale(formal(ansatz))
    padding = padded(unit)
    pending = np.asarray(padding.pad(jnp.asarray(starts)))
    lengths = np.asarray(parameter_lengths(padding.blocks))
    here, pending = pending[:_LANES], pending[_LANES:]
    running = np.arange(_LANES) < len(here)
    # Padded to one size with copies of the first start (one program per structure).
    lanes = _fresh(lengths, np.concatenate([here, np.repeat(here[:1], _LANES - len(here), axis=0)]))
    rounds = np.zeros(_LANES, int)
    while running.any():
        *changed, z, loss, correlations, shortest = _iterate(padding.blocks, lanes)
        lanes, flat = _Lanes(*(np.array(x) for x in changed[0])), np.asarray(changed[1])
        rounds += 1
        norm = np.sqrt(lanes.square)
        converged = norm <= _CONVERGED
        hopeless = (rounds >= _MOST_ROUNDS) | (flat <= _NOWHERE * norm) | ~np.isfinite(norm)
        hopeless |= lanes.damping >= _MOST_DAMPING
        found = running & converged & np.isfinite(np.asarray(loss))
        yield Candidates(
            np.asarray(padding.strip(jnp.asarray(z)))[found] * float(scale.weights),
            np.asarray(loss)[found],
            np.asarray(correlations)[found, : ansatz.sizes.shape[0]],
            np.asarray(shortest)[found],
        )
        ended = np.flatnonzero(running & (converged | hopeless))
        refilled = ended[: len(pending)]
        for column, new in zip(lanes, _fresh(lengths, pending[: len(refilled)]), strict=True):
            column[refilled] = new
        pending = pending[len(refilled) :]
        rounds[ended] = 0
        running[ended[len(refilled) :]] = False


def critical_points_of_all(
    ansatze: list[BlockAnsatz], key: PRNGKeyArray, starts: int
) -> Generator[list[Candidates], None, None]:
    """Yield the `critical_points` of each ansatz, from random starts of its own, in order.

    Those of the next ones are looked for at the same time, by a thread for each core.
    """
    stopped = threading.Event()

    def search(index: int) -> list[Candidates]:
        ansatz = ansatze[index]
        of_ansatz = random_starts(ansatz, jax.random.fold_in(key, index), starts)
        found = critical_points(ansatz, of_ansatz)
        return list(takewhile(lambda _: not stopped.is_set(), found))

    ahead = min(cores(), len(ansatze))
    threads = thread_pool(ahead or 1)
    try:
        running = deque(threads.submit(search, index) for index in range(ahead))
        for index in range(len(ansatze)):
            found = running.popleft().result()
            if index + ahead < len(ansatze):
                running.append(threads.submit(search, index + ahead))
            yield found
    finally:
        # Where one has failed or the user interrupts, the others end after a round; nobody waits for them.
        stopped.set()
        threads.shutdown(wait=False, cancel_futures=True)
