"""The version of this package, from its installed metadata."""

from importlib.metadata import PackageNotFoundError, version


def version_of(distribution: str) -> str:
    """Return the version of an installed distribution, 'unknown' if it is used from its source."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "unknown"


__version__ = version_of("odelandscape")
