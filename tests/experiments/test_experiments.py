"""Every experiment explains itself and runs to the end in its small version."""

import argparse
import csv
import importlib
import json
import pkgutil
import re
import sys
import time
import types
from pathlib import Path

import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import experiments
import odelandscape as ol
from experiments import __main__ as command
from experiments import _comparison, _draw, _mixture, _ongd, _page, _report, _stops, _tables
from experiments._order import NAMES as ORDER


@pytest.fixture(autouse=True)
def _no_programs_are_kept(monkeypatch):
    monkeypatch.setattr(_report, "keep_programs", lambda: None)


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


# Of the others the small versions take minutes, all together.
QUICK = {"asymptotics", "figure16", "initialisation", "table1", "table3b"}


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in NAMES]
)
def test_the_small_version_leaves_a_table_and_a_figure(name, tmp_path, capsys):
    importlib.import_module(f"experiments.{name}").main(["--quick", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    left = json.loads((tmp_path / f"{name}.json").read_text(encoding="utf-8"))
    assert left["rows"]
    assert left["versions"]["odelandscape"]
    with (tmp_path / f"{name}.csv").open(encoding="utf-8") as file:
        assert len(list(csv.DictReader(file))) == len(left["rows"])
    assert (tmp_path / f"{name}.md").read_text().splitlines()[0] in told
    for suffix in ("png", "pdf"):
        assert (tmp_path / f"{name}.{suffix}").stat().st_size > 1000


def test_every_experiment_has_its_place_in_the_order():
    assert sorted(ORDER) == sorted(NAMES)


def _fake(name, monkeypatch, main):
    module = types.ModuleType(f"experiments.{name}", f"What is asked of {name} (paper, Figure 0)?")
    module.main = main
    monkeypatch.setitem(sys.modules, module.__name__, module)


def _leave(name, folder):
    picture = Figure(figsize=(2, 2))
    picture.subplots().plot([0, 1], [0, 1])
    args = argparse.Namespace(name=name, out=folder, quick=True, began=time.perf_counter())
    _report.report(args, [{"K": 6, "share <&>": 1 / 3, "none": None}], picture, "Seen: <b>.")


def test_one_experiment_that_fails_stops_no_other(tmp_path, monkeypatch, capsys):
    def fails(argv):
        raise RuntimeError("no")

    _fake("fails", monkeypatch, fails)
    _fake("works", monkeypatch, lambda argv: _leave("works", Path(argv[1])))
    monkeypatch.setattr(command, "NAMES", ("fails", "works"))
    assert command.main(["all", "--quick", "--out", str(tmp_path)]) == 1
    assert (tmp_path / "works.json").exists()
    assert "failed: fails" in capsys.readouterr().err
    assert command.main(["all", "--quick", "--out", str(tmp_path)]) == 1
    assert "works: is in" in capsys.readouterr().out
    # What was a small version isn't taken for the full one.
    assert not command._is_there(tmp_path / "works.json", quick=False)


def test_the_page_holds_everything_itself(tmp_path, monkeypatch):
    _fake("one", monkeypatch, None)
    _fake("two", monkeypatch, None)
    monkeypatch.setattr(_page, "SECTIONS", (("Part", ("one", "two")),))
    with pytest.raises(ValueError, match="holds no experiment"):
        _page.write(tmp_path)
    _leave("one", tmp_path)
    page, pdf = _page.write(tmp_path)
    text = page.read_text(encoding="utf-8")
    assert "data:image/png;base64," in text
    assert "http" not in re.sub("arXiv:[0-9.]*", "", text)
    assert "share &lt;&amp;&gt;" in text
    assert "0.333333" in text
    assert "Not run yet: python -m experiments two" in text
    assert pdf.read_bytes().startswith(b"%PDF")


def test_long_text_wraps_and_short_tables_are_below_their_figures(tmp_path):
    row = {"three": "0.38 (0.28 – 0.52) / 99.62 (99.48 – 99.72)", "why": "a stop " * 20, "K": 17}
    cells, kinds = _page._cells([row])
    assert cells[0][0].split("\n") == ["0.38 (0.28 – 0.52) /", "99.62 (99.48 – 99.72)"]
    assert kinds == ["", "long text", ""]
    assert all(len(line) < 100 for lines in _page._printed([row]) for line in lines)
    _leave("one", tmp_path)
    left = json.loads((tmp_path / "one.json").read_text())
    for count, alone in ((2, False), (200, True)):
        entry = _page.Entry("one", "A question?", [], left | {"rows": [{"K": 17}] * count})
        first, *others = _page._sheets(entry, tmp_path)
        assert bool(others) == alone
        told = [text for sheet in (first, *others) for text in sheet.texts]
        assert sum(text.get_text().split("\n").count("17") for text in told) == count
        for text in told:  # nothing runs off its sheet
            box = text.get_window_extent().transformed(text.figure.transFigure.inverted())
            assert box.y0 > 0
            assert box.x1 < 1


def test_the_comparison_in_the_readme_is_that_of_the_results():
    here = Path(experiments.__path__[0])
    told = _comparison.enter(here / "README.md", here / "results")
    assert told == (here / "README.md").read_text(encoding="utf-8"), (
        "run python -m experiments._comparison"
    )


def test_the_comparison_says_which_numbers_are_off(tmp_path):
    row = {"K": 9, "M": 8, "d": 8, "seeds": 10_000}
    row |= {"local: paper %": 0.07, "local: here % (95 %)": "0.00 (0.00 – 0.04)"}
    row |= {"global: paper %": 99.97, "global: here % (95 %)": "100.00 (99.96 – 100.00)"}
    row |= {"none: paper %": 0.0, "none: here % (95 %)": "0.00 (0.00 – 0.04)"}
    (tmp_path / "table4b.json").write_text(json.dumps({"rows": [row]}), encoding="utf-8")
    (told,) = _comparison._fates(tmp_path, "table4b", lambda row: f"why {row['K']}")
    # 7 of 10,000 against none: √(2 · 3.5e-4 / 1e4) is the error of the difference.
    assert told["agrees?"] == f"local {-7e-4 / (2 * 3.5e-4 / 1e4) ** 0.5:.1f} SE"
    assert told["why not"] == "why 9"
    assert told["here (95 %)"].count("/") == 2


def test_a_published_share_is_held_against_both_errors():
    assert _tables.verdict(6638, 10_000, 66.38) == "inside"
    assert _tables.verdict(7000, 10_000, 66.38) == "+5.5 SE"
    # Two-sample z-test: 0.70 and 0.6638 of 10,000 each.
    assert _tables.difference(7000, 10_000, 66.38) == pytest.approx(5.496, abs=1e-3)


@pytest.mark.slow
def test_stops_see_what_a_trajectory_sees():
    problem, times = ol.Problem(3, 2), [5.0, 40.0]
    seen = _stops.stopped(problem, ol.NormalisedFlow(), 3, times)
    for seed in range(3):
        key = jax.random.fold_in(jax.random.key(0), seed)
        path = ol.trajectory(problem, ol.NormalisedFlow(), ol.random_weights(key, problem), times)
        np.testing.assert_allclose(seen.loss[seed], path.loss, rtol=5e-3)
        for at in range(2):
            state = jax.tree.map(lambda x, at=at: x[at], path.states)
            rates = ol.NormalisedFlow()(0.0, state, problem)
            norm = np.sqrt(np.sum(rates.Q**2) + np.sum(rates.R**2))
            assert seen.rates[seed, at] == pytest.approx(norm, rel=0.05, abs=1e-4)


def test_matrices_are_drawn_with_anti_aligned_and_surplus_students_last():
    R = np.array([[0.1, -0.7], [0.9, 0.0], [0.2, 0.2]])
    rows, columns, across, down = _draw.arranged(R, np.ones(3))
    assert rows.tolist() == [1, 0, 2]
    assert columns.tolist() == [0, 1]
    assert across == [0.5, 1.5]
    assert down == [0.5]


@pytest.mark.parametrize("d", [3, 5])
def test_the_horizontal_flow_is_the_gradient_less_what_lies_in_the_rows_span(d):
    problem, flow = ol.Problem(3, 3), _ongd.HorizontalFlow()
    weights = flow.admit(ol.random_weights(jax.random.key(0), problem, d))
    W = weights.W
    G = jax.grad(lambda W: ol.population_loss(problem, ol.Weights(W, weights.v)))(W)
    rates = flow(0.0, weights, problem).W
    np.testing.assert_allclose(rates, -(G - G @ W.T @ W), atol=1e-12)
    np.testing.assert_allclose(
        rates @ W.T, 0, atol=1e-12
    )  # WWᵀ = I stays, and no row turns in the span
    assert (np.abs(rates).max() < 1e-12) == (
        d == 3
    )  # where the span is the whole space, nothing moves


def test_one_gaussian_is_mean_and_deviation_and_two_are_found_again():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(-0.7, 0.04, 300), rng.normal(1.0, 0.05, 2700)])
    one, two = (_mixture.fit(x, n) for n in (1, 2))
    assert one.mean[0] == pytest.approx(x.mean())
    assert one.deviation[0] == pytest.approx(x.std())
    # The likelihood of a Gaussian at its own mean and deviation, in closed form.
    assert one.log_likelihood == pytest.approx(-len(x) / 2 * (np.log(2 * np.pi * x.var()) + 1))
    np.testing.assert_allclose(two.weight, [0.1, 0.9], atol=1e-6)  # far apart: none is mistaken
    np.testing.assert_allclose(two.mean, [x[:300].mean(), x[300:].mean()], atol=1e-6)
    assert two.bic < min(one.bic, _mixture.fit(x, 3).bic)
