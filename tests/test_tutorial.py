"""Each step of docs/tutorial.md runs by itself and prints what its text states.

Printed numbers are compared as numbers: their sign at 0 and their last digits depend on the processor.
"""

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text(encoding="utf-8")
STEPS = re.findall(r"## (\d\. .*?)\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
# What is printed, and the numbers in its groups.
SHOWN = {
    "1. A sweep": (r"^global minimum +– +0 +\d+ ", []),
    "2. A family and its spectrum": (r"^stable \(band", []),
    "3. Where does it come from?": (r"^(\S+) (\S+) (\S+) stability$", [5.585505, 0.025884, 0.0]),
    "4. Your own activation": (
        r"\[\[ ?(\S+) +(\S+)\]\n +\[ ?(\S+) +(\S+)\]\]",
        [0.0, 1.0, 1.0, 0.0],  # each student is aligned with another teacher
    ),
    "5. Your own flow": (r"^local minimum .* 0 +200 ", []),
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
def test_the_step_prints_what_the_text_states(title, code, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "tutorial.md", "exec"), {"__name__": "__main__"})
    pattern, numbers = SHOWN[title]
    printed = capsys.readouterr().out
    found = re.search(pattern, printed, re.MULTILINE)
    assert found, printed
    assert [float(x) for x in found.groups()] == pytest.approx(numbers, abs=2e-6)
