"""The command: one experiment, all of them, redraw and report."""

import re
import sys
import types
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.figure import Figure

from experiments import __main__ as command
from experiments.shared import report, runs
from experiments.shared.entries import Entry, Printed
from experiments.shared.options import Option
from experiments.shared.page import broken
from experiments.shared.registry import Experiment, Section
from experiments.shared.results import Results, load, save
from experiments.shared.sheets import set_table, sheets
from experiments.shared.tables import number, share


def _figure(results):
    drawn = Figure(figsize=(2, 2))
    drawn.subplots().plot(results.arrays["x"], results.arrays["x"] ** 2)
    return drawn


def _fake(name, monkeypatch, rows=None):
    """An experiment that counts how often it computes."""
    calls = []

    def count(options):
        calls.append(options)
        row = {"K": 6, "local": 1, "starts": 3, "share <&>": 1 / 3, "nothing": None}
        return Results([row], {"fit": np.float64(0.5)}, {"x": np.linspace(0, 1, options.seeds)})

    one = Experiment(name, "paper")
    module = types.ModuleType(one.path, f"What is asked of {name} (paper, Figure 0)?\n\nThus.\n")
    module.OPTIONS = {"seeds": Option(100, 5, "starts")}
    module.rows = rows or count
    module.columns = lambda results: [
        number("K"),
        share("local, %", "local"),
        number("share <&>"),
        number("nothing"),
    ]
    module.figure = _figure
    module.remarks = lambda results: f"Fit <b>: {results.facts['fit']:.1f}."
    monkeypatch.setitem(sys.modules, one.path, module)
    return one, calls


@pytest.fixture
def two_experiments(monkeypatch):
    """Two experiments instead of the real ones: the first fails."""

    def fails(options):
        raise RuntimeError("no")

    found = [_fake("fails", monkeypatch, fails)[0], _fake("works", monkeypatch)[0]]
    monkeypatch.setattr(command, "EXPERIMENTS", {one.name: one for one in found})
    monkeypatch.setattr(report, "SECTIONS", (Section("Part", tuple(found)),))
    return found


def test_one_experiment_that_fails_stops_no_other(tmp_path, two_experiments, capsys):
    assert command.main(["all", "--quick", "--out", str(tmp_path)]) == 1
    assert (tmp_path / "works.json").exists()
    assert "failed: fails" in capsys.readouterr().err
    assert command.main(["all", "--quick", "--out", str(tmp_path)]) == 1
    assert "works: is in" in capsys.readouterr().out
    # A small version isn't taken for the full one.
    assert not command._is_there("works", tmp_path, quick=False)


def test_options_of_the_small_version_give_way_to_those_that_are_given(tmp_path, monkeypatch):
    one, calls = _fake("one", monkeypatch)
    for given in ([], ["--quick"], ["--quick", "--seeds", "7"]):
        runs.run(one, ["--out", str(tmp_path), *given])
    assert [options.seeds for options in calls] == [100, 5, 7]


def test_redraw_makes_everything_again_without_computing(tmp_path, monkeypatch):
    one, calls = _fake("one", monkeypatch)
    runs.run(one, ["--quick", "--out", str(tmp_path)])
    made = {s: (tmp_path / f"one.{s}").read_bytes() for s in ("md", "csv", "png")}
    for suffix in made:
        (tmp_path / f"one.{suffix}").unlink()
    runs.redraw(one, tmp_path)
    assert {s: (tmp_path / f"one.{s}").read_bytes() for s in made} == made
    assert len(calls) == 1
    assert "33.33 (6.15 – 79.23)" in made["md"].decode()  # Wilson's interval of 1 of 3
    assert "0.3333333333333333" in made["csv"].decode()


def test_redraw_keeps_a_figure_whose_arrays_were_not_kept(tmp_path, monkeypatch):
    one, _ = _fake("one", monkeypatch)
    row = {"K": 6, "local": 1, "starts": 3}
    save(Results([row], {"fit": 0.5}, None, {"name": "one", "quick": False}), tmp_path)
    (tmp_path / "one.png").write_bytes(b"the picture")
    message = runs.redraw(one, tmp_path)
    assert "python -m experiments one" in message
    assert (tmp_path / "one.png").read_bytes() == b"the picture"
    assert "| " in (tmp_path / "one.md").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="not kept"):
        _ = load("one", tmp_path).arrays


def test_results_come_back_as_they_were(tmp_path):
    rows = [{"K": 6, "loss": 0.1 + 0.2, "none": None, "changes": [[0.5, "fold"]]}]
    data = {"x": np.linspace(0, 1, 7)}
    options = {"name": "one", "quick": True, "seeds": 3}
    kept = Results(rows, {"fits": [1.5]}, data, options, 2.5, {"jax": "1"})
    save(kept, tmp_path)
    back = load("one", tmp_path)
    assert (back.rows, back.facts, back.options) == (rows, {"fits": [1.5]}, options)
    np.testing.assert_array_equal(back.arrays["x"], data["x"])
    with pytest.raises(TypeError, match="numbers and short names"):
        save(Results([{"K": object()}], options=options), tmp_path)


def test_an_unknown_name_gets_the_closest(capsys):
    with pytest.raises(SystemExit) as leave:
        command.main(["tabel3a"])
    assert leave.value.code == 2
    assert "did you mean table3a" in capsys.readouterr().err


def test_redraw_of_nothing_names_the_command_that_computes(tmp_path, capsys):
    assert command.main(["redraw", "table3a", "--out", str(tmp_path)]) == 1
    assert "python -m experiments table3a" in capsys.readouterr().err


def test_the_page_holds_everything_itself(tmp_path, two_experiments, capsys):
    assert command.main(["report", "--out", str(tmp_path)]) == 2
    assert "holds no results" in capsys.readouterr().err
    command.main(["works", "--quick", "--out", str(tmp_path)])
    page, pdf = report.write(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "http" not in re.sub("arXiv:[0-9.]*", "", text)
    assert "share &lt;&amp;&gt;" in text
    assert "0.333333" in text
    assert "Not run yet: python -m experiments fails" in text
    assert pdf.read_bytes().startswith(b"%PDF")


def test_long_text_wraps_and_short_tables_are_below_their_figures(tmp_path, monkeypatch):
    cells = [["0.38 (0.28 – 0.52) / 99.62 (99.48 – 99.72)", "a stop " * 20, "17"]]
    lines, kinds = broken(cells)
    assert lines[0][0].split("\n") == ["0.38 (0.28 – 0.52) /", "99.62 (99.48 – 99.72)"]
    assert kinds == ["", "long text", ""]
    headings = ["three", "why", "K"]
    assert all(len(line) < 100 for lines in set_table(headings, cells) for line in lines)
    runs.run(_fake("one", monkeypatch)[0], ["--quick", "--out", str(tmp_path)])
    for count, alone in ((2, False), (200, True)):
        printed = Printed(["K"], [["17"]] * count, "Fit.", "1 s")
        entry = Entry("one", "A question?", [], printed)
        first, *others = sheets(entry, printed, tmp_path)
        assert bool(others) == alone
        texts = [text for sheet in (first, *others) for text in sheet.texts]
        assert sum(text.get_text().split("\n").count("17") for text in texts) == count
        for text in texts:  # nothing runs off its sheet
            box = text.get_window_extent().transformed(text.figure.transFigure.inverted())
            assert box.y0 > 0
            assert box.x1 < 1


@pytest.mark.parametrize("text", ["", '{"rows": [', '{"a": 1}'])
def test_damaged_results_are_named_and_cost_no_report(text, tmp_path, two_experiments, capsys):
    intact, works = two_experiments
    runs.run(works, ["--quick", "--out", str(tmp_path)])
    results = load("works", tmp_path)
    save(replace(results, options=results.options | {"name": intact.name}), tmp_path)
    runs.redraw(intact, tmp_path)
    (tmp_path / "works.json").write_text(text)
    assert command.main(["redraw", "works", "--out", str(tmp_path)]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "works.json' is damaged" in line
    assert command.main(["report", "--out", str(tmp_path)]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Fit &lt;b&gt;" in page  # of the intact one
    assert "is damaged" in page
