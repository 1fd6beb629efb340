"""What hostile tests share: a cache of their own, and JAX's settings as they were."""

import pytest


@pytest.fixture(autouse=True)
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    # It changes JAX's settings, here for all tests to come.
    monkeypatch.setattr("odelandscape.runtime.cache.keep_programs", lambda: None)
