"""`minima` with sizes that it has no answer for."""

import pytest
from hostile.commands import refusal


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
        ("-K 150 -M 200", 1, "no family was found for K = 150, M = 200: there are no named ones"),
    ],
)
def test_one_line(tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    said = refusal("minima", *arguments.split(), "--quiet", code=code)
    assert message in said
    assert len(said) < 800
