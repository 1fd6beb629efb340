"""What the report shows of an experiment: its question, and table and remarks made from stored numbers."""

from pathlib import Path
from typing import NamedTuple

from .registry import Experiment
from .results import DamagedResultsError, load
from .tables import cells

_DIGITS = 6


class Printed(NamedTuple):
    """A table, remarks and origin of stored results as text."""

    headings: list[str]
    body: list[list[str]]
    remarks: str
    origin: str


class Entry(NamedTuple):
    """An experiment in the report: the first line of its docstring, the rest, and its results, if any."""

    name: str
    question: str
    paragraphs: list[str]
    printed: Printed | None


def entry(experiment: Experiment, folder: Path) -> Entry:
    """Return the entry of an experiment from the results in a folder, without computing any."""
    question, _, rest = experiment.doc.partition("\n")
    paragraphs = [" ".join(part.split()) for part in rest.strip().split("\n\n") if part.strip()]
    printed = None
    if (folder / f"{experiment.name}.json").exists():
        try:
            printed = _printed(experiment, folder)
        except DamagedResultsError as error:  # one bad file does not cost the report
            paragraphs.append(f"Left out: {error}")
    return Entry(experiment.name, question, paragraphs, printed)


def _printed(experiment: Experiment, folder: Path) -> Printed:
    module = experiment.module
    results = load(experiment.name, folder)
    columns = module.columns(results)
    headings = [column.heading for column in columns]
    body = cells(columns, results.rows, _DIGITS)
    origin = _origin(results.seconds, results.quick, results.versions)
    return Printed(headings, body, module.remarks(results), origin)


def _origin(seconds: float, quick: bool, versions: dict[str, str]) -> str:
    small = ", small version" if quick else ""
    return f"{seconds:.0f} s{small}; {', '.join(f'{name} {v}' for name, v in versions.items())}"
