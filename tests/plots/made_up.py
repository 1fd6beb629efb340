"""End states that nobody has relaxed, as a sweep: pictures need levels, counts and weights."""

import numpy as np

import odelandscape as ol
from odelandscape.relaxation import outcomes
from odelandscape.relaxation.outcomes import blank
from odelandscape.sweeps.result import InMemory, Sweep


def sweep_of(problem: ol.Problem, *families: tuple[str, int, float, int]) -> Sweep:
    """Return a sweep whose end states are these: outcome, α, loss and count of each family."""
    counts = [count for *_, count in families]
    K, M = problem.students, problem.teachers
    ends = blank(sum(counts), K, M)
    at = np.repeat(np.arange(len(families)), counts)
    ends.outcome[:] = np.array([name for name, *_ in families])[at]
    ends.anti_aligned[:] = np.array([alpha for _, alpha, *_ in families])[at]
    ends.loss[:] = np.array([loss for *_, loss, _ in families])[at]
    ends.loss[ends.outcome == outcomes.FAILED] = np.inf
    ends.gradient_norm[:], ends.smallest_eigenvalue[:] = 1e-9, 0.05
    scale = np.sqrt(float(np.asarray(problem.T)[0, 0]))
    ends.weights[:] = scale * (np.eye(K, M) + 0.1 * np.sin(np.arange(K * M)).reshape(K, M))
    ends.readout[:] = 1.0
    source = InMemory(ends)
    source.put(0, ends)
    return Sweep(
        problem=problem,
        flow=ol.GradientFlow(),
        seed=0,
        dimension=M,
        time_limit=20_000.0,
        seeds=range(len(at)),
        seconds=12.3,
        seconds_compiling=1.2,
        _source=source,
    )
