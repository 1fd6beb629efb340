"""The options of an experiment: the two that all have, and its own with a value for the quick version."""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax

from odelandscape.runtime.cache import keep_programs
from odelandscape.runtime.self_test import ensure_numbers


class Option(NamedTuple):
    """An option of an experiment. `quick` is its value with --quick, unless it is given."""

    default: Any
    quick: Any
    help: str
    metavar: str = "N"

    def add(self, parser: argparse.ArgumentParser, name: str) -> None:
        """Add it to a parser; what isn't given stays None."""
        many = isinstance(self.default, (list, tuple))
        kind = type(self.default[0] if many else self.default)
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            type=kind,
            nargs="+" if many else None,
            metavar=self.metavar,
            help=f"{self.help} (default {_shown(self.default)}; with --quick {_shown(self.quick)})",
        )


def starts(of_each: str = "each", default: int = 10_000, quick: int = 200) -> Option:
    """The option --seeds of most experiments."""
    return Option(default, quick, f"starts of {of_each}")


def _shown(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def parse(
    name: str, doc: str, own: dict[str, Option], argv: list[str] | None = None
) -> argparse.Namespace:
    """The options given for an experiment, with its name."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments {name}",
        description=doc,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="a small version, under 30 s or so")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("experiments-out"),
        metavar="DIR",
        help="folder that results and sweeps are kept in (experiments-out)",
    )
    for key, option in own.items():
        option.add(parser, key)
    options = parser.parse_args(argv)
    for key, option in own.items():
        if getattr(options, key) is None:
            setattr(options, key, option.quick if options.quick else option.default)
    options.name = name
    return options


def prepare() -> None:
    """Before anything is computed: float64, JAX's numbers checked, compiled programs kept on disk."""
    jax.config.update("jax_enable_x64", True)
    ensure_numbers()
    keep_programs()
