"""The loss landscape of a two-layer teacher-student network: sample its minima, find them, prove them.

`sweep` relaxes many random starts, `families` finds fixed points without sampling, `prove` certifies one;
`README.md` and `docs/tutorial.md` show how.
"""

try:
    import lazy_loader
except ImportError:
    # `odelandscape.sweeps.read` is imported by its own name where only NumPy and xarray are installed.
    pass
else:
    # The names of `__init__.pyi`, each imported when it is first used: `--help` needs no JAX, reading a sweep
    # no solver, and python-flint need not be there.
    __getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
