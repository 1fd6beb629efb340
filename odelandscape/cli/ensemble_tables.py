"""One start along a flow, with networks of finite dimension, as a table, as JSON and as CSV."""

import numpy as np

from ..dynamics.ensembles import Ensemble
from ..runtime.tables import text_table

_ROWS = 12  # of the printed table


def _finite(x) -> float | None:
    return float(x) if np.isfinite(x) else None


def table_of(ensemble: Ensemble) -> str:
    """Return a dozen of the times that were reached, and what the columns mean."""
    networks = ensemble.networks
    head = ["t", "loss", "cosines", "lengths"]
    if networks is not None:
        head[2:2] = ["networks", "standard error", "deviation"]
    reached = np.linspace(0, max(ensemble.reached, 1) - 1, _ROWS).round().astype(int)
    lines = [text_table(head, [_cells(ensemble, t) for t in np.unique(reached).tolist()], left=())]
    lines += ["", "cosines: smallest and largest of a student with its nearest teacher at the end"]
    if networks is not None:
        lines.append(
            f"networks: mean loss of {networks.networks} of dimension {networks.dimension}; deviation from "
            "the ODE in standard errors"
        )
    if ensemble.remark is not None:
        lines += ["", ensemble.remark]
    return "\n".join(lines)


def _cells(ensemble: Ensemble, t: int) -> list[str]:
    loss, cosine, length = ensemble.theory
    cells = [f"{ensemble.times[t]:.4g}", f"{loss[t]:.6g}"]
    if ensemble.networks is not None:
        mean, error = ensemble.networks.mean.loss[t], ensemble.networks.error.loss[t]
        deviation = ensemble.deviation[t]
        cells += [f"{mean:.6g}", f"{error:.2g}"] if np.isfinite(error) else ["–", "–"]
        cells.append(f"{deviation:+.1f}" if np.isfinite(deviation) else "–")
    return cells + [f"{x.min():.3f} … {x.max():.3f}" for x in (cosine[t], length[t])]


def json_of(ensemble: Ensemble) -> dict:
    """Return how it ended and the observables at each time, null where they are not finite.

    Teachers are counted from 1.
    """
    loss, cosine, length = ensemble.theory
    points = []
    for t, time in enumerate(ensemble.times):
        point = {
            "t": float(time),
            "loss": _finite(loss[t]),
            "cosines": [_finite(x) for x in cosine[t]],
            "lengths": [_finite(x) for x in length[t]],
        }
        if ensemble.networks is not None:
            point |= {
                "networks": _finite(ensemble.networks.mean.loss[t]),
                "standard_error": _finite(ensemble.networks.error.loss[t]),
                "deviation": _finite(ensemble.deviation[t]),
            }
        points.append(point)
    result = (
        "finished" if ensemble.remark is None else "diverged" if ensemble.diverged else "stopped"
    )
    return {
        "result": result,
        "remark": ensemble.remark and ensemble.remark.replace("\n", " "),
        "nearest_teachers": (ensemble.teacher + 1).tolist(),
        "points": points,
    }


def csv_of(ensemble: Ensemble) -> str:
    """Return all order parameters at each time, empty where they are not finite; units are counted from 1."""
    Q, R, v = (np.asarray(x) for x in (ensemble.states.Q, ensemble.states.R, ensemble.states.v))
    K, M = R.shape[1:]
    i, j = np.triu_indices(K)
    columns = {"t": ensemble.times, "loss": ensemble.theory.loss}
    if ensemble.networks is not None:
        columns |= {
            "networks": ensemble.networks.mean.loss,
            "standard_error": ensemble.networks.error.loss,
            "deviation": ensemble.deviation,
        }
    columns |= {f"Q_{a + 1}_{b + 1}": Q[:, a, b] for a, b in zip(i, j, strict=True)}
    columns |= {f"R_{a + 1}_{n + 1}": R[:, a, n] for a in range(K) for n in range(M)}
    columns |= {f"v_{a + 1}": v[:, a] for a in range(K)}
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(repr(float(x)) if np.isfinite(x) else "" for x in row) for row in rows]
    return "\n".join([",".join(columns), *lines]) + "\n"
