"""What the tests of all commands share."""

import pytest

from odelandscape.cli.main import main


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    # It changes JAX's settings, here for all tests to come; only tests that start a process use the real one.
    monkeypatch.setattr("odelandscape.runtime.cache.keep_programs", lambda: None)


@pytest.fixture
def refused(capsys, tmp_path, monkeypatch):
    """Run a command with bad arguments: status 2, one line on standard error, which is returned, and no
    folder of results."""

    def run(arguments: str) -> str:
        folder = tmp_path / "current"
        folder.mkdir()
        monkeypatch.chdir(folder)
        status = main(arguments.split())
        output = capsys.readouterr()
        assert status == 2
        assert output.out == ""
        assert len(output.err.strip().splitlines()) == 1
        assert not list(folder.iterdir())
        return output.err

    return run
