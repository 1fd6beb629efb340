"""One start along a flow, with networks of finite dimension, as a table, as JSON and as CSV."""

import numpy as np

from ..dynamics.ensembles import Course
from ..runtime.tables import text_table

_ROWS = 12  # of the printed table


def _finite(x) -> float | None:
    return float(x) if np.isfinite(x) else None


def table_of(course: Course) -> str:
    """Return a dozen of the times that were reached, and what the columns mean."""
    networks = course.networks
    head = ["t", "loss", "cosines", "lengths"]
    if networks is not None:
        head[2:2] = ["networks", "standard error", "deviation"]
    reached = np.linspace(0, course.reached - 1, _ROWS).round().astype(int)
    lines = [text_table(head, [_cells(course, t) for t in np.unique(reached).tolist()], left=())]
    lines += ["", "cosines: smallest and largest of a student with its nearest teacher at the end"]
    if networks is not None:
        lines.append(
            f"networks: mean loss of {networks.count} of dimension {networks.dimension}; deviation from the "
            "ODE in standard errors"
        )
    if course.remark is not None:
        lines += ["", course.remark]
    return "\n".join(lines)


def _cells(course: Course, t: int) -> list[str]:
    loss, cosine, length = course.theory
    cells = [f"{course.times[t]:.4g}", f"{loss[t]:.6g}"]
    if course.networks is not None:
        mean, error = course.networks.mean.loss[t], course.networks.error.loss[t]
        deviation = course.deviation[t]
        cells += [f"{mean:.6g}", f"{error:.2g}"] if np.isfinite(error) else ["–", "–"]
        cells.append(f"{deviation:+.1f}" if np.isfinite(deviation) else "–")
    return cells + [f"{x.min():.3f} … {x.max():.3f}" for x in (cosine[t], length[t])]


def json_of(course: Course) -> dict:
    """Return how it ended and the observables at each time, null where they are not finite.

    Teachers are counted from 1.
    """
    loss, cosine, length = course.theory
    points = []
    for t, time in enumerate(course.times):
        point = {
            "t": float(time),
            "loss": _finite(loss[t]),
            "cosines": [_finite(x) for x in cosine[t]],
            "lengths": [_finite(x) for x in length[t]],
        }
        if course.networks is not None:
            point |= {
                "networks": _finite(course.networks.mean.loss[t]),
                "standard_error": _finite(course.networks.error.loss[t]),
                "deviation": _finite(course.deviation[t]),
            }
        points.append(point)
    result = "finished" if course.remark is None else "diverged" if course.diverged else "stopped"
    return {
        "result": result,
        "remark": course.remark and course.remark.replace("\n", " "),
        "nearest_teachers": (course.teacher + 1).tolist(),
        "points": points,
    }


def csv_of(course: Course) -> str:
    """Return all order parameters at each time, empty where they are not finite; units are counted from 1."""
    Q, R, v = (np.asarray(x) for x in (course.states.Q, course.states.R, course.states.v))
    K, M = R.shape[1:]
    i, j = np.triu_indices(K)
    columns = {"t": course.times, "loss": course.theory.loss}
    if course.networks is not None:
        columns |= {
            "networks": course.networks.mean.loss,
            "standard_error": course.networks.error.loss,
            "deviation": course.deviation,
        }
    columns |= {f"Q_{a + 1}_{b + 1}": Q[:, a, b] for a, b in zip(i, j, strict=True)}
    columns |= {f"R_{a + 1}_{n + 1}": R[:, a, n] for a in range(K) for n in range(M)}
    columns |= {f"v_{a + 1}": v[:, a] for a in range(K)}
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(repr(float(x)) if np.isfinite(x) else "" for x in row) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"
