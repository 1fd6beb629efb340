"""`minima` with arguments that no problem has, and searches that would not end."""

import json
import re

import pytest
from hostile.commands import answer, refusal


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        # K < M, and α that no problem of this size has
        ("-K 4 -M 6 --anti-aligned 7", r"anti_aligned must be .* from 0 to M = 6; got 7"),
        ("-K 5 -M 5 --anti-aligned 6", r"anti_aligned must be .* from 0 to M = 5; got 6"),
        ("-K 4 -M 4 --anti-aligned 2", r"at most M − 3 = 1"),
        pytest.param(
            "-K 1000000 -M 999999 --anti-aligned 1",
            r"from 2 to M − 2 = 999997",
            marks=pytest.mark.slow,
        ),
        # ansätze that are too many or too wide are counted first
        ("-K 10000 -M 10000 --blocks 3 --all", r"at most 2,000 ansätze.*got 3"),
        ("-K 1000000 -M 1000000 --blocks 2 --all", r"at most 2,000 ansätze.*got 2"),
        ("-K 100000 -M 3 --all", r"students must be fewer .*K = 100000"),
        ("-K 5 -M 5 --starts 0", r"--starts.*got '0'"),
        ("-K 5 -M 5 --blocks 4", r"--blocks.*4"),
    ],
)
def test_what_cannot_be_found_is_refused_in_one_line(arguments, message):
    assert re.search(message, refusal("minima", *arguments.split(), "--quiet"))


@pytest.mark.slow
def test_fewer_students_than_teachers_have_families_too():
    """K < M: one student averages both teachers of ReLU (0.0885119366), a minimum."""
    found = answer("minima", *"-K 1 -M 2 --all --starts 8 --json --quiet --out out".split())
    assert found.code == 0, found.err
    report = json.loads(found.out)
    lowest = report["families"][0]
    assert abs(lowest["loss"] - 0.088511936633) < 1e-10
    assert (lowest["index"], lowest["verdict"], lowest["anti_aligned"]) == (0, "stable", 0)
    assert report["searched"] == {"ansatze": 2, "of": 2, "starts": 8}


def test_an_interrupted_search_keeps_what_it_has_found(tmp_path, monkeypatch):
    from odelandscape.landscape import search

    begun = search._add_new

    def once(*arguments):
        monkeypatch.setattr(search, "_add_new", interrupt)
        return begun(*arguments)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "_add_new", once)
    found = answer("minima", *"-K 2 -M 2 --all --starts 4 --quiet --out out".split())
    assert found.code == 130
    report = json.loads((tmp_path / "out" / "minima.json").read_text())
    assert report["searched"] == {"ansatze": 1, "of": 2, "starts": 4}
    assert report["families"]
