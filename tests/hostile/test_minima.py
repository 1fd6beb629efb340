"""`minima` with sizes that it has no answer for, and at the limit of those that it has."""

import json

import pytest
from hostile.commands import answer, refusal


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ("-K 1" + 15 * "0" + " -M 1" + 15 * "0" + " --anti-aligned 1", 2, "at most 1e+12 students"),
        (
            "-K 1" + 400 * "0" + " -M 1" + 400 * "0",
            2,
            "allowed: whole numbers from 1 to 9007199254740992",
        ),
        ("-K 3 -M 1" + 400 * "0", 2, "allowed: whole numbers from 1 to 9007199254740992"),
        ("-K 3 -M 1" + 13 * "0" + " --correlation 0.1", 2, "at most 1e+12 students"),
        ("-K 100000 -M 100000 --correlation 0.1", 2, "for at most 8192 teachers"),
        (
            "-K 150 -M 200",
            1,
            "for K = 150 students, M = 200 teachers, ReLU: none has a name there, and so",
        ),
        ("-K 2 -M 3 --blocks 0", 1, "none has a name there, and --blocks 0 searches for no others"),
    ],
)
def test_one_line(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    said = refusal("minima", *arguments.split(), "--quiet", code=code)
    assert message in said
    assert len(said) < 800


@pytest.mark.slow
def test_the_widest_family_is_none_of_loss_0(tmp_path):
    """Losses fall like 1/K: K·L at 1e12 lies above that at 1e11 by less than 1/√K (0.2973572864 is proved
    by `prove -K 100000000000 -M 100000000000 --anti-aligned 1`)."""
    sizes = "-K 1000000000000 -M 1000000000000 --anti-aligned 1 --json --quiet --out"
    found = answer("minima", *sizes.split(), str(tmp_path / "out"))
    assert found.code == 0, found.err
    (family,) = json.loads(found.out)["families"]
    assert family["branch"] == "compensated"
    assert 0 < 1e12 * family["loss"] - 0.2973572864 < 1e-6


def test_correlated_teachers_have_length_1_whatever_rounding_says(tmp_path):
    """(1 − c) + c need not be 1."""
    given = "-K 6 -M 6 --blocks 0 --correlation -0.1999999 --anti-aligned 0 --quiet --out"
    found = answer("minima", *given.split(), str(tmp_path / "out"))
    assert found.out.startswith(
        "K = 6 students, M = 6 teachers with overlap -0.1999999, ReLU, d = 6: "
    )
