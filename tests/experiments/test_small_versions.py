"""Every experiment explains itself and runs to the end in its small version."""

import csv
import json
import pkgutil
import re
from pathlib import Path

import pytest

import experiments
from experiments import __main__ as command
from experiments.shared.registry import EXPERIMENTS, SECTIONS
from experiments.shared.results import load
from experiments.shared.runs import redraw

FOLDERS = ("paper", "discrepancies", "beyond")
HERE = Path(experiments.__path__[0])


def test_every_module_is_registered_and_every_name_is_in_the_readme():
    modules = {
        f"experiments.{folder}.{module.name}"
        for folder in FOLDERS
        for module in pkgutil.iter_modules([str(HERE / folder)])
    }
    assert modules == {one.path for one in EXPERIMENTS.values()}
    assert sum(len(section.experiments) for section in SECTIONS) == len(EXPERIMENTS)
    readme = (HERE / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in readme for name in EXPERIMENTS)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_says_what_is_asked(name, capsys):
    with pytest.raises(SystemExit) as leave:
        command.main([name, "--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert EXPERIMENTS[name].doc.splitlines()[0] in text
    assert "--quick" in text


# Of the others the small versions take minutes, all together.
QUICK = {"initialisation"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in EXPERIMENTS]
)
def test_the_small_version_leaves_numbers_a_table_and_a_figure(name, tmp_path, capsys):
    assert command.main([name, "--quick", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    kept = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert kept["rows"]
    assert kept["versions"]["odelandscape"]
    with (tmp_path / f"{name}.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(kept["rows"])
    table = (tmp_path / f"{name}.md").read_text(encoding="utf-8")
    assert table.splitlines()[0] in printed
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"{name}.{suffix}").stat().st_size > 1000
    _is_redrawn_alike(name, tmp_path, table)


def _is_redrawn_alike(name: str, folder: Path, table: str) -> None:
    """From the stored numbers alone the same table and the same picture are made."""
    picture = (folder / f"{name}.png").read_bytes()
    for suffix in ("md", "csv", "png", "pdf"):
        (folder / f"{name}.{suffix}").unlink()
    redraw(EXPERIMENTS[name], folder)
    assert (folder / f"{name}.md").read_text(encoding="utf-8") == table
    assert (folder / f"{name}.png").read_bytes() == picture


def _texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list):
        for one in value:
            yield from _texts(one)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_stored_results_are_numbers_that_table_and_remarks_are_made_from(name):
    folder, module = HERE / "results", EXPERIMENTS[name].module
    results = load(name, folder)
    for text in _texts([results.rows, results.facts]):
        assert not re.search(r"\d \(\d|%|SE|\d\.\d", text), f"{text!r}: store its numbers"
    made = (folder / f"{name}.md").read_text(encoding="utf-8")
    assert module.remarks(results) in made
    headings = [column.heading for column in module.columns(results)]
    assert [cell.strip() for cell in made.splitlines()[0].strip("|").split("|")] == headings
