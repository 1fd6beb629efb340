"""Every experiment explains itself and runs to the end in its small version."""

import csv
import importlib
import json
import pkgutil
from pathlib import Path

import pytest

import experiments

NAMES = [m.name for m in pkgutil.iter_modules(experiments.__path__) if m.name[0] != "_"]


def test_experiments_are_found_and_listed():
    assert {"critical_widths", "census"} <= set(NAMES)
    listed = (Path(experiments.__path__[0]) / "README.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in listed for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_help_says_what_is_asked(name, capsys):
    module = importlib.import_module(f"experiments.{name}")
    with pytest.raises(SystemExit) as leave:
        module.main(["--help"])
    assert leave.value.code == 0
    text = capsys.readouterr().out
    assert module.__doc__.splitlines()[0] in text
    assert "--quick" in text


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_the_small_version_leaves_a_table_and_a_figure(name, tmp_path, capsys):
    importlib.import_module(f"experiments.{name}").main(["--quick", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["rows"]
    assert report["versions"]["odelandscape"]
    with (tmp_path / f"{name}.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(report["rows"])
    assert (tmp_path / f"{name}.md").read_text().splitlines()[0] in told
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"{name}.{suffix}").stat().st_size > 1000
