"""The command `minima`."""

import json
import re

import pytest

from odelandscape.cli.main import main


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("-K 10 -M 10 --anti-aligned 1.5", r"--anti-aligned.*got '1.5'; allowed: whole numbers"),
        ("-K 5 -M 5 -d 4", r"dimension must be at least .* 5; got 4"),
        ("-K 5 -M 5 --correlation 1", r"--correlation: got 1; allowed: .* = -0.25 and 1"),
        ("-K 5 -M 5 --correlation -0.25", r"--correlation: got -0.25; allowed"),
        ("-K 5 -M 5 --correlation nan", r"--correlation: got 'nan'; allowed: a finite number"),
        ("-K 5 -M 5 --blocks 4", r"--blocks.*4.*0, 1, 2, 3"),
        ("-K 5 -M 5 --starts 0", r"--starts.*got '0'"),
        ("-K 5 -M 5 --activation tanh", r"--activation.*got 'tanh'; allowed: relu"),
        ("-K 5 -M 5 --activation nowhere:Tanh", r"--activation.*nowhere"),
        ("-K 5 -M 5 --slope 0.2", r"--slope.*leaky-relu"),
    ],
)
def test_bad_arguments_get_one_line_and_status_2(arguments, message, refused):
    assert re.search(message, refused(f"minima {arguments} --quiet"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "-K 10 -M 10 --anti-aligned 12",
            r"anti_aligned must be a whole number from 0 to M = 10; got 12",
        ),
        ("-K 4 -M 4 --anti-aligned 2", r"at least 3 on the hidden branch.*at most M − 3 = 1"),
        ("-K 5 -M 5 --activation erf --anti-aligned 1", r"between ReLU and LeakyReLU"),
    ],
)
def test_a_family_that_does_not_exist_is_status_2(
    arguments, message, capsys, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert main(["minima", *arguments.split(), "--quiet"]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert len(output.err.strip().splitlines()) == 1
    assert re.search(message, output.err), output.err


@pytest.mark.slow
def test_a_family_and_its_whole_spectrum(tmp_path, capsys):
    out = tmp_path / "out"
    command = ["minima", *"-K 20 -M 20 --anti-aligned 3 --quiet".split(), "--out", str(out)]
    assert main([*command, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report == json.loads((out / "minima.json").read_text())
    found = {family["branch"]: family for family in report["families"]}
    assert set(found) == {"compensated", "hidden"}
    assert found["compensated"]["verdict"] == "stable"
    for family in found.values():
        assert family["anti_aligned"] == 3
        assert family["residual"] <= 1e-12
        assert sum(value["multiplicity"] for value in family["spectrum"]) == 400
        assert family["smallest_eigenvalue"] == family["spectrum"][0]["eigenvalue"]
        assert len(family["parameters"]) == 6
    assert (out / "minima.png").read_bytes()[:4] == b"\x89PNG"
    assert main(command) == 0
    printed = capsys.readouterr().out
    assert printed == (out / "minima.txt").read_text(encoding="utf-8")
    (row,) = re.findall(r"^compensated +3 +(\S+)", printed, re.MULTILINE)
    assert float(row) == pytest.approx(found["compensated"]["loss"], rel=1e-9)
