"""Sweeps that tables and figures share: each is computed once into the folder of --out, and resumed there."""

import argparse
from dataclasses import replace

import jax

import odelandscape as ol
from odelandscape.runtime.files import write_whole

FLOWS = {
    "gd": ol.GradientFlow(),
    "ngd": ol.NormalisedFlow(),
    "ongd": ol.OrthonormalFlow(),
    "2l-gd": ol.TwoLayerFlow(),
}

LARGE = 1000
"""A dimension in which students begin almost orthogonal to the teachers."""


def dimension_name(d: int | None) -> str:
    """Name the d that `swept` is given."""
    return "d = M" if d is None else f"d = {d:,}"


def swept(
    args: argparse.Namespace,
    students: int,
    teachers: int,
    flow: str = "gd",
    activation: ol.AbstractActivation | None = None,
    dimension: int | None = None,
) -> ol.Sweep:
    """Return the sweep of `args.seeds` starts."""
    problem = ol.Problem(students, teachers, activation or ol.ReLU())
    parts = [flow, str(students), str(teachers)]
    parts += [] if activation is None else [type(activation).__name__]
    parts += [] if dimension in (None, teachers) else [f"d{dimension}"]
    folder = args.out / "sweeps" / "-".join(parts)
    runs = ol.sweep(
        problem,
        FLOWS[flow],
        args.seeds,
        dimension=dimension,
        store=folder,
        progress=not args.quick,
    )
    jax.clear_caches()  # each problem has programs of its own, and a process can map only so many
    # Of the slowest call, which is the one that computed.
    file = folder.with_suffix(".seconds")
    before = float(file.read_text()) if file.exists() else 0.0
    seconds = round(max(before, runs.seconds or 0.0), 1)
    write_whole(file, f"{seconds:.1f}\n")
    return replace(runs, seconds=seconds)


def family_counts(runs: ol.Sweep) -> list[dict]:
    """The families of a sweep, with the number of starts that ended in each."""
    return [
        {
            "outcome": row.outcome,
            "anti_aligned": row.anti_aligned,
            "loss": row.loss,
            "count": row.count,
            "smallest_eigenvalue": row.smallest_eigenvalue,
        }
        for row in runs.summary().families
    ]
