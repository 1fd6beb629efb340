"""The loss landscape of a two-layer teacher-student network, known instead of guessed."""

import lazy_loader

# The names of `__init__.pyi`, each imported when it is first used: `--help` needs no JAX, reading a sweep no
# solver, and python-flint need not be there.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
