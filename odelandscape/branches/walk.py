"""A walk along a branch as one compiled loop, into arrays of fixed size.

Each turn of the loop corrects one point, whatever for: the first of the branch, the end of a step, or one on
the way to a fold. So one corrector is compiled, and of many branches walked at once (`jax.vmap`) none waits
while another looks for its fold.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..ansatz.block_ansatz import BlockAnsatz
from ..landscape.fixed_points import RESIDUAL
from .corrector import CorrectedPoint, correct
from .line import ParameterLine

_LARGEST_CONTRACTION = 0.25  # of Newton's corrections, else the step is refused
_SMALLEST_COSINE = 0.9  # between successive tangents
_LARGEST_CORRECTION = 0.5  # the first one, in steps
_FAST_CONTRACTION = 0.05  # below which the next step is longer
_SHORTEST_STEP = 1e-6  # of the longest
_LOCATED = 1e-13  # the last move of a fold
_MOST_TRIES = 60

GOING, FOLD, AT_STOP, AT_DOMAIN_EDGE, STEP_TOO_SMALL, MOST_POINTS = range(6)
"""What happens at a point. From `AT_STOP` on it is the last."""


class Rules(NamedTuple):
    """How a branch is walked: `stop`, `low` and `high` are values that it doesn't pass, `longest` its longest
    step, `most` the largest number of points, `locate` whether folds are looked for."""

    stop: Float[Array, ""]
    low: Float[Array, ""]
    high: Float[Array, ""]
    longest: Float[Array, ""]
    most: Int[Array, ""]
    locate: Bool[Array, ""]


class Bracket(NamedTuple):
    """Two lengths along the tangent between which a branch turns, with the rates there, the last one found in
    second place; `length` is 0 while no fold is looked for."""

    one: Float[Array, ""]
    rate_of_one: Float[Array, ""]
    length: Float[Array, ""]
    rate: Float[Array, ""]
    tries: Int[Array, ""]


class Start(NamedTuple):
    """Where the first point is sought: in the plane through X with the normal `across`."""

    X: Float[Array, " n"]
    across: Float[Array, " n"]


class Walk(NamedTuple):
    """A walk so far: the point `here`, the next step's length, how many points there are in `total`, and
    the last `written` of them with what happened there (`events`)."""

    here: CorrectedPoint
    length: Float[Array, ""]
    total: Int[Array, ""]
    bracket: Bracket
    written: Int[Array, ""]
    points: CorrectedPoint
    events: Int[Array, " N"]


def begin(z: Float[Array, " P"], rules: Rules, capacity: int) -> Walk:
    """Return the walk before its first point, with room for so many."""
    zero, none = jnp.zeros(()), jnp.zeros((), int)
    X = jnp.zeros(z.size + 1)
    point = CorrectedPoint(X, X, X, z, zero, zero, zero, zero, none, zero)
    points = jax.tree.map(lambda x: jnp.zeros((capacity, *x.shape), x.dtype), point)
    bracket = Bracket(zero, zero, zero, zero, none)
    events = jnp.zeros(capacity, int)
    return Walk(point, rules.longest / 4, none, bracket, none, points, events)


def _tolerance(ansatz: BlockAnsatz) -> Float[Array, ""]:
    """`FixedPoint.tolerance`, compiled."""
    K = jnp.sum(ansatz.student_sizes)
    readouts = (ansatz.teacher_readout, ansatz.readout)
    largest = (jnp.max(jnp.abs(v)) for v in readouts)
    scale = jnp.prod(jnp.stack([jnp.where(v > 0, v, 1.0) for v in largest]))
    return (RESIDUAL + jnp.finfo(K.dtype).eps * K**1.5) * scale


class _Target(NamedTuple):
    """Where the next point is sought: in the plane through X with the normal `across`. `event` is what
    happens there, `reach` how far the next limit is, in steps along the tangent."""

    X: Float[Array, " n"]
    across: Float[Array, " n"]
    event: Int[Array, ""]
    reach: Float[Array, ""]


def _target(walk: Walk, rules: Rules, start: Start) -> _Target:
    here, (a, of_a, b, of_b, _) = walk.here, walk.bracket
    limits = jnp.stack([rules.stop, rules.low, rules.high])
    codes = jnp.array([AT_STOP, AT_DOMAIN_EDGE, AT_DOMAIN_EDGE])
    ahead = (limits - here.value) * here.rate > 0
    far = jnp.where(ahead, jnp.abs(limits - here.value), jnp.inf)
    next_one = jnp.argmin(far)
    rate = jnp.where(here.rate == 0, 1.0, here.rate)
    reach = jnp.where(ahead.any(), (limits[next_one] - here.value) / rate, jnp.inf)
    folding = b != 0
    landing = ~folding & (reach < 1.2 * walk.length)
    slope = of_b - of_a
    secant = b - of_b * (b - a) / jnp.where(slope == 0, 1.0, slope)
    length = jnp.where(landing, reach, jnp.where(folding, secant, walk.length))
    X = here.X + jnp.where(jnp.isfinite(length), length, 0.0) * here.tangent
    X = X.at[-1].set(jnp.where(landing, limits[next_one], X[-1]))
    straight = jnp.zeros_like(X).at[-1].set(here.rate)
    begun = walk.total > 0
    return _Target(
        jnp.where(begun, X, start.X),
        jnp.where(begun, jnp.where(landing, straight, here.across), start.across),
        jnp.where(
            begun,
            jnp.where(landing, codes[next_one], jnp.where(folding, FOLD, GOING)),
            jnp.where(start.X[-1] == rules.stop, AT_STOP, GOING),
        ),
        reach,
    )


def _narrowed(walk: Walk, length: Float[Array, ""], rate: Float[Array, ""]) -> Bracket:
    """Return the bracket with one more point in it (regula falsi; an end that stays counts half)."""
    a, of_a, b, of_b, tries = walk.bracket
    crossed = rate * of_b < 0
    return Bracket(
        jnp.where(crossed, b, a),
        jnp.where(crossed, of_b, of_a / 2),
        length,
        rate,
        tries + 1,
    )


def _step(line: ParameterLine, rules: Rules, start: Start, walk: Walk) -> Walk:
    """Correct one point, and go on to it, refuse it, or look for a fold before it."""
    here, begun, folding = walk.here, walk.total > 0, walk.bracket.length != 0
    target = _target(walk, rules, start)
    new = correct(line, target.X, target.across)
    length = here.across @ (new.X - here.X)
    turned = here.rate * new.rate < 0
    landing = begun & (target.event >= AT_STOP)
    # Where Newton's method contracts slowly or goes far, or the branch bends much, the point may be one of
    # another branch.
    smooth = (
        (new.worst < _LARGEST_CONTRACTION)
        & (new.first < _LARGEST_CORRECTION * jnp.minimum(walk.length, target.reach))
        & (here.across @ new.tangent > _SMALLEST_COSINE)
        & ~(landing & turned)
    )
    limits = jnp.stack([rules.stop, rules.low, rules.high])
    passes = jnp.any((limits - here.value) * (limits - new.value) < 0)
    converged = new.residual <= _tolerance(line.at(new.value))
    # A fold's rate is 0 but for rounding.
    straight = new._replace(tangent=new.tangent.at[-1].set(0.0), across=new.across.at[-1].set(0.0))
    narrowed = _narrowed(walk, length, new.rate)
    located = (jnp.abs(length - walk.bracket.length) < _LOCATED) | (new.rate == 0)
    located = folding & (located | (narrowed.tries >= _MOST_TRIES))
    lost = folding & ~(new.worst < jnp.inf)
    searching = jnp.where(
        folding, ~located & ~lost, begun & smooth & turned & rules.locate & ~landing
    )
    good = jnp.where(begun, jnp.where(folding, located & ~lost, smooth & ~searching), True)
    good &= ~begun | (~passes & converged)
    new = jax.tree.map(lambda a, b: jnp.where(folding, a, b), straight, new)
    beginning = Bracket(jnp.zeros(()), here.rate, length, new.rate, jnp.zeros((), int))
    bracket = jax.tree.map(lambda a, b: jnp.where(folding, a, b), narrowed, beginning)
    bracket = jax.tree.map(lambda x: jnp.where(searching, x, jnp.zeros_like(x)), bracket)
    return _taken(rules, walk._replace(bracket=bracket), new, target.event, good, searching)


def _taken(
    rules: Rules,
    walk: Walk,
    new: CorrectedPoint,
    event: Int[Array, ""],
    good: Bool[Array, ""],
    searching: Bool[Array, ""],
) -> Walk:
    """Return the walk with a point that is `good` written; else with a shorter step, and where none is short
    enough with the point before once more."""
    begun = walk.total > 0
    refused = ~good & ~searching
    length = jnp.where(refused, walk.length / 3, walk.length)
    stuck = refused & ~(length > _SHORTEST_STEP * rules.longest)
    total = jnp.where(good, walk.total + 1, walk.total)
    event = jnp.where(good & (event == GOING) & (total >= rules.most), MOST_POINTS, event)
    # Nothing leads on from a first point that isn't one of a branch.
    at_fold = ~begun & ~(new.worst < jnp.inf)
    event = jnp.where(stuck | at_fold, STEP_TOO_SMALL, event)
    longer = good & begun & (new.worst < _FAST_CONTRACTION)
    here = jax.tree.map(lambda a, b: jnp.where(good, a, b), new, walk.here)
    at = jnp.where(good | stuck, walk.written, len(walk.events))  # beyond the end: not written
    points, events = jax.tree.map(
        lambda column, x: column.at[at].set(x, mode="drop"),
        (walk.points, walk.events),
        (here, event),
    )
    return Walk(
        here,
        jnp.where(longer, jnp.minimum(1.5 * length, rules.longest), length),
        total,
        walk.bracket,
        walk.written + (good | stuck).astype(int),
        points,
        events,
    )


@eqx.filter_jit
def advance(line: ParameterLine, rules: Rules, start: Start, walk: Walk) -> Walk:
    """Walk on until the branch ends or the arrays are full."""

    def unfinished(walk: Walk):
        last = walk.events[jnp.maximum(walk.written - 1, 0)]
        ended = (walk.written > 0) & (last >= AT_STOP)
        return (walk.written < len(walk.events)) & ~ended

    return jax.lax.while_loop(unfinished, lambda walk: _step(line, rules, start, walk), walk)
