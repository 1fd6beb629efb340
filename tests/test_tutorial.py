"""Each step of docs/tutorial.md runs by itself and shows what its text says."""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEPS = re.findall(r"## (\d\. .*?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
SHOWN = {
    "1. A sweep": "global minimum",
    "2. A family and its spectrum": "stable (band 1e-08)",
    "3. Where does it come from?": "5.585505 0.025884 +0.000000 stability",
    "4. Your own activation": "1.00000000e+00",  # each student has found a teacher
    "5. Your own flow": "local minimum               0     200",
}


def test_the_tutorial_has_five_steps():
    assert [title for title, _ in STEPS] == list(SHOWN)
    assert TEXT.count("```python") == 5


@pytest.mark.parametrize(
    ("title", "code"),
    [
        # Step 3 in every run; the others compile for a quarter of a minute each.
        pytest.param(title, code, marks=[] if title[0] == "3" else pytest.mark.slow, id=title[0])
        for title, code in STEPS
    ],
)
def test_the_step_shows_what_it_says(title, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "tutorial.md", "exec"), {"__name__": "__main__"})
    assert SHOWN[title] in capsys.readouterr().out
