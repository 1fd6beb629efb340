"""Run an experiment, store its numbers, and make table, figure and remarks from stored numbers."""

import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from odelandscape.runtime.files import write_whole

from .options import parse, prepare
from .registry import Experiment
from .results import Results, load, save, versions
from .tables import cells, comma_separated, markdown


def run(experiment: Experiment, argv: list[str] | None = None) -> None:
    """Parse the options, compute, store, and draw."""
    module = experiment.module
    options = parse(experiment.name, experiment.doc, module.OPTIONS, argv)
    results = compute(module, options)
    save(results, options.out)
    print(table(experiment, results), flush=True)
    print(f"\n{redraw(experiment, options.out)}, .json in {results.seconds} s")


def compute(module: Any, options: Any) -> Results:
    """Numbers of one experiment, with what they were made with."""
    prepare()
    began = time.perf_counter()
    results: Results = module.rows(options)
    given = {key: value for key, value in vars(options).items() if key != "out"}
    seconds = round(time.perf_counter() - began, 1)
    return replace(results, options=given, seconds=seconds, versions=versions())


def table(experiment: Experiment, results: Results) -> str:
    """The table and the remarks as text."""
    module = experiment.module
    columns = module.columns(results)
    headings = [column.heading for column in columns]
    remarks = module.remarks(results)
    made = markdown(headings, cells(columns, results.rows))
    return made + (f"\n\n{remarks}" if remarks else "")


def redraw(experiment: Experiment, folder: Path) -> str:
    """Make NAME.md, .csv, .png and .pdf from stored numbers, without computing any; say what was made.

    Raises FileNotFoundError if the folder doesn't hold them.
    """
    name, module = experiment.name, experiment.module
    results = load(name, folder)
    path = folder / name
    write_whole(path.with_suffix(".md"), table(experiment, results) + "\n")
    write_whole(path.with_suffix(".csv"), comma_separated(results.rows))
    if results.data is None:
        return (
            f"{path}.md, .csv; the figure stays as it is, since the arrays behind it were not kept: "
            f"python -m experiments {name} computes them"
        )
    figure = module.figure(results)
    for suffix in (".png", ".pdf"):
        figure.savefig(path.with_suffix(suffix), dpi=150)
    return f"{path}.md, .csv, .png, .pdf"
