"""What the tests of the experiments share."""

import pytest

from experiments.shared import options


@pytest.fixture(autouse=True)
def _no_programs_are_kept(monkeypatch):
    monkeypatch.setattr(options, "keep_programs", lambda: None)
