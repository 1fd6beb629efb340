"""Families of fixed points found from many starts in block ansätze."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PRNGKeyArray

from ..ansatz.ansatz_point import BRANCHES, AnsatzPoint, ansatz_of
from ..ansatz.block_ansatz import AbstractBlocks, BlockAnsatz, formal
from ..ansatz.detection import block_structure, describe
from ..ansatz.isotypic import hessian_spectrum
from ..ansatz.padding import in_unit_scale, padded
from ..model.alignment import INACTIVE_NORM
from ..model.loss import zero_loss_share
from ..model.problem import Problem, check_concrete
from ..runtime.arguments import check_callback, check_instance, check_key, check_whole_number
from ..runtime.compiler import known_numbers
from ..runtime.errors import NoSuchFamilyError, UserError
from .exploration import (
    MOST_TEACHERS,
    Candidates,
    check_surplus,
    critical_points,
    critical_points_of_all,
    error_correlations,
    random_starts,
    structures_up_to,
)
from .fixed_points import CONVERGED, FixedPoint, check_problem, solve
from .named_families import ZERO_LOSS, check_anti_aligned, is_zero_loss, named_points, teacher_point

_EQUAL_LOSSES = 1e-9  # all of these in units of the readouts
_EQUAL_CORRELATIONS = 1e-7  # mean difference
_EQUAL_EIGENVALUES = 1e-6
_EQUAL_COEFFICIENTS = 1e-5
_ROUNDING = 1e-14  # of a loss
_MOST_ANTI_ALIGNED = 30  # of the named families of wider problems


_Shape = tuple[tuple[int, ...], int, int]
"""What a program is compiled for: `matched`, `free` and the number of teacher blocks, padded."""


class Found(NamedTuple):
    """What a search has found so far: the points, lowest loss first, and how many of all ansätze have been
    searched."""

    points: list[FixedPoint]
    searched: int
    ansatze: int


_loss_and_correlations = eqx.filter_jit(error_correlations)


def _zero_loss(ansatz: AbstractBlocks) -> float:
    """The loss below which students are the teachers or like them, in units of the readouts."""
    return max(ZERO_LOSS * 2 * zero_loss_share(ansatz.activation), _ROUNDING)


class _Network(NamedTuple):
    """What equal networks have in common, in units of the readouts: the loss, and the `correlations` of the
    error with teachers, of which there are `sizes`. `point` is one with these."""

    loss: float
    correlations: np.ndarray
    sizes: np.ndarray
    point: AnsatzPoint
    zero_loss: float  # below which the loss is zero

    @classmethod
    def of(cls, point: AnsatzPoint) -> "_Network":
        unit, scale = in_unit_scale(formal(point.ansatz))
        padding = padded(unit)
        z = padding.pad(point.parameters / scale.weights)
        loss, correlations = _loss_and_correlations(padding.blocks, z)
        sizes = np.asarray(unit.sizes)
        return cls(
            float(loss), np.asarray(correlations)[: len(sizes)], sizes, point, _zero_loss(unit)
        )

    def is_zero(self) -> bool:
        # Named families of wide networks have losses like 1/K, and are known not to be the teacher.
        return self.loss < self.zero_loss and self.point.name not in BRANCHES

    def equals(self, other: "_Network") -> bool:
        """Whether the two networks are one but for a symmetry of the problem.

        Permutations of students and teachers, σ's own symmetries, and students on one ray that share a length
        change neither the loss nor the correlations. A teacher may have more symmetries (x² has rotations):
        the Hessian's spectrum is the same then.
        """
        from scipy.stats import wasserstein_distance  # a fifth of all that this package loads

        if self.is_zero() or other.is_zero():
            return self.is_zero() and other.is_zero()
        if abs(self.loss - other.loss) > max(min(_EQUAL_LOSSES, 1e-3 * self.loss), _ROUNDING):
            return False
        distance = wasserstein_distance(
            self.correlations, other.correlations, self.sizes, other.sizes
        )
        if distance < _EQUAL_CORRELATIONS:
            return True
        (values, counts), (others, of_others) = self._spectrum(), other._spectrum()
        return bool(wasserstein_distance(values, others, counts, of_others) < _EQUAL_EIGENVALUES)

    def _spectrum(self) -> tuple[np.ndarray, np.ndarray]:
        unit, scale = in_unit_scale(formal(self.point.ansatz))
        values, counts, _ = zip(
            *hessian_spectrum(unit, self.point.parameters / scale.weights), strict=True
        )
        return np.array(values), np.array(counts)


class _Collection:
    """Fixed points that are different families."""

    def __init__(self):
        self.points: list[FixedPoint] = []
        self._networks: list[_Network] = []  # lowest loss first
        self._has_zero_loss = False

    def is_new(self, network: _Network) -> bool:
        if network.is_zero():
            return not self._has_zero_loss
        low, high = (
            bisect(self._networks, network.loss + side * _EQUAL_LOSSES, key=lambda one: one.loss)
            for bisect, side in ((bisect_left, -1), (bisect_right, 1))
        )
        return not any(network.equals(one) for one in self._networks[low:high])

    def add(self, network: _Network, point: FixedPoint) -> None:
        """Add a point of a network that is new."""
        insort(self._networks, network, key=lambda one: one.loss)
        self._has_zero_loss |= network.is_zero()
        self.points.append(point)

    def add_all(self, points: Iterable[FixedPoint]) -> None:
        """Add those points that are new."""
        for point in points:
            network = _Network.of(point.ansatz_point)
            if self.is_new(network):
                self.add(network, point)

    def sorted(self) -> list[FixedPoint]:
        """Return the points, lowest loss first."""
        return sorted(self.points, key=lambda point: float(point.loss))


def distinct(points: Iterable[FixedPoint]) -> list[FixedPoint]:
    """Return the first of points that are one network but for a symmetry of the problem, lowest loss first.

    Symmetries are permutations of students and of teachers, what σ's own symmetries do to a student, and
    shares of students on one ray. The Hessian's index is the same for all points of a network.
    """
    collection = _Collection()
    collection.add_all(points)
    return collection.sorted()


def _add_new(
    problem: Problem,
    ansatz: BlockAnsatz,
    candidates: Iterable[Candidates],
    known: _Collection,
    shapes: set[_Shape],
) -> None:
    """Add the critical points of an ansatz, in coarser blocks where these have one of the `shapes`."""
    scale = in_unit_scale(formal(ansatz))[1]
    sizes, zero = np.asarray(ansatz.sizes), _zero_loss(ansatz)
    for found in candidates:
        for z, loss, correlations, shortest in zip(*found, strict=True):
            if not ansatz.activation.smooth_at_zero and shortest <= INACTIVE_NORM**2:
                continue  # the loss has a kink and no Hessian
            near = AnsatzPoint(ansatz, jnp.asarray(z), describe(ansatz))
            network = _Network(float(loss), correlations, sizes, near, zero)
            if not known.is_new(network):
                continue
            for blocks in (_coarser(problem, network, float(scale.weights), shapes), near):
                point = solve(blocks.ansatz, blocks.parameters, blocks.name)
                loss = float(point.loss / scale.loss)
                if point.result != CONVERGED or abs(loss - network.loss) > _EQUAL_LOSSES:
                    continue
                if abs(loss - network.loss) > 1e-3 * abs(loss):
                    # Where it was found it was not known so well.
                    network = _Network.of(point.ansatz_point)
                if known.is_new(network):
                    known.add(network, point)
                break


def _shape(ansatz: BlockAnsatz) -> _Shape:
    blocks = padded(ansatz).blocks
    return blocks.matched, blocks.free, blocks.sizes.shape[0]


def _coarser(problem: Problem, network: _Network, scale: float, shapes: set[_Shape]) -> AnsatzPoint:
    """Return the point of a network in the coarsest blocks that have it, named by them, if they have fewer
    parameters and one of the `shapes`; else as it is."""
    point = network.point
    apart = np.diff(np.sort(network.correlations))
    ordered = problem.teacher_readout is not None and np.ptp(problem.readout) > 0
    if ordered or not (apart <= _EQUAL_COEFFICIENTS).any():
        return point  # teachers that can be exchanged have equal correlations
    found = block_structure(problem, point.weights, _EQUAL_COEFFICIENTS * scale).point
    if found.ansatz.count >= point.ansatz.count or _shape(found.ansatz) not in shapes:
        return point
    return AnsatzPoint(found.ansatz, found.parameters, describe(found))


@known_numbers()
def explore(
    problem: Problem,
    ansatz: BlockAnsatz | AnsatzPoint,
    key: PRNGKeyArray,
    starts: int = 256,
) -> list[FixedPoint]:
    """Return the fixed points in an ansatz that many random starts lead to, one of each family, lowest loss
    first, except the global minimum.

    Starts follow damped Newton steps (`critical_points`), which lead to saddles of any index and to minima
    alike. Each is returned in coarser blocks where it is found to have them, which may be finer than its own
    (`ol.block_structure`). What is found is not proved to be all.

    - `ansatz`: the blocks to search in, or a point of them; its numbers are replaced by those of `problem`.
    - `key`: of the random starts; `starts`: how many.

    Raises UserError, naming the argument, if ansatz and problem don't fit, or the students are too many to be
    written out.
    """
    check_problem(problem)
    check_instance("ansatz", ansatz, (BlockAnsatz, AnsatzPoint), "a BlockAnsatz, or a point of one")
    check_key("key", key)
    for name, given in (("problem", problem), ("ansatz", ansatz), ("key", key)):
        check_concrete(name, given)
    check_whole_number("starts", starts, 1)
    known = _Collection()
    blocks = ansatz_of(ansatz).of(problem)
    free = max(problem.students - problem.teachers, 0)
    shapes = {_shape(blocks), *((tuple(range(n)), free, n) for n in (2, 3))}
    found = critical_points(blocks, random_starts(blocks, key, starts))
    _add_new(problem, blocks, found, known, shapes)
    return [point for point in known.sorted() if not _Network.of(point.ansatz_point).is_zero()]


def search(
    problem: Problem,
    anti_aligned: int | None = None,
    *,
    blocks: int | None = None,
    starts: int = 256,
    seed: int = 0,
) -> Iterator[Found]:
    """Yield what `families` has found, after the named families and after each ansatz.

    Arguments and errors are those of `families`.
    """
    _check(problem, anti_aligned, blocks, starts, seed)
    M = problem.teachers
    exact = anti_aligned is not None and problem.students == M
    candidates = [] if exact else structures_up_to(problem, blocks)
    known = _Collection()
    known.add_all(_teacher(problem))
    if anti_aligned == 0 and known.points:
        yield Found(known.sorted(), 0, 0)
        return
    most = M if M <= max(MOST_TEACHERS.values()) else _MOST_ANTI_ALIGNED
    alphas = range(1, most + 1) if anti_aligned is None or candidates else [anti_aligned]
    named, reasons = named_points(problem, alphas)
    known.add_all(named)

    def so_far(searched: int) -> Found:
        points = known.sorted()
        if anti_aligned is not None:
            points = [point for point in points if point.anti_aligned == anti_aligned]
        return Found(points, searched, len(candidates))

    yield so_far(0)
    shapes = {_shape(ansatz) for ansatz in candidates}
    with closing(critical_points_of_all(candidates, jax.random.key(seed), starts)) as points:
        for index, (ansatz, found) in enumerate(zip(candidates, points, strict=True)):
            _add_new(problem, ansatz, found, known, shapes)
            yield so_far(index + 1)
    if anti_aligned is not None and not so_far(0).points:
        raise NoSuchFamilyError(
            _none_found(problem, anti_aligned, known.points, reasons, bool(candidates))
        )


@known_numbers()
def families(
    problem: Problem,
    anti_aligned: int | None = None,
    *,
    blocks: int | None = None,
    starts: int = 256,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[FixedPoint]:
    """Return the families of fixed points of gradient flow for (K, M), lowest loss first: minima, and saddles
    of any index (`ol.spectrum` has it).

    These are the teacher, the named families, and what `explore` finds in the ansätze of up to `blocks`
    blocks; what differs by a symmetry of the problem is one (`distinct`). What is found is not proved to be
    all: there may be others in the same ansätze and outside them.

    - `anti_aligned`: only families with this α. Where K = M these are the named ones, and nothing is
      searched.
    - `blocks`: blocks of the ansätze that are searched: 3 up to M = 24, 2 up to 100, none above, unless
      given. Above M = 100 the named families are returned up to α = 30.
    - `starts`: in each ansatz; `seed`: of these starts.
    - `progress`: called with the number of ansätze searched and of all, first with none.

    Raises NoSuchFamilyError if there is no family with this α, with where the branches end; UserError for an
    argument that is out of range, and if the ansätze are too many or have too many parameters.
    """
    check_callback("progress", progress)
    found = Found([], 0, 0)
    for found in search(problem, anti_aligned, blocks=blocks, starts=starts, seed=seed):
        if progress is not None and found.ansatze:
            progress(found.searched, found.ansatze)
    return found.points


def _check(problem: Problem, anti_aligned, blocks, starts, seed) -> None:
    check_problem(problem)
    check_concrete("problem", problem)
    check_surplus(problem)
    check_whole_number("starts", starts, 1)
    check_whole_number("seed", seed, 0, 2**63 - 1)
    if blocks is not None:
        check_whole_number("blocks", blocks, 0)
    if anti_aligned is None:
        return
    check_anti_aligned(problem, anti_aligned)
    if problem.activation.even:
        raise UserError(
            "anti_aligned must not be given for an even activation: a student and its negative are one; "
            f"got {anti_aligned!r}"
        )


def _teacher(problem: Problem) -> list[FixedPoint]:
    """Return the students that equal the teacher, if blocks have them and they are a fixed point."""
    if problem.students < problem.teachers:
        return []
    try:
        whole = teacher_point(problem)
    except NoSuchFamilyError:  # teachers that cannot be exchanged
        return []
    point = solve(whole.ansatz, whole.parameters, whole.name)
    learned = point.result == CONVERGED and is_zero_loss(point.ansatz, float(point.loss))
    return [point] if learned else []


def _none_found(
    problem: Problem,
    anti_aligned: int,
    points: list[FixedPoint],
    reasons: list[str],
    searched: bool,
) -> str:
    K, M = problem.students, problem.teachers
    if anti_aligned == 0 and K == M:
        return (
            "Newton's method has not converged at the teacher itself: in float64 teachers are too nearly "
            "dependent, or the activation too nearly linear or too large"
        )
    if reasons and (K == M or not searched):
        return "; ".join(reasons)
    text = f"no family with anti_aligned = {anti_aligned} was found for K = {K}, M = {M}"
    others = sorted({point.anti_aligned for point in points if point.anti_aligned is not None})
    return f"{text}; those found have {others}" if others else text
