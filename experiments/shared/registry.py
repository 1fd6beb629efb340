"""All experiments, in the order of the paper and then of what else was asked: name, folder, module."""

import importlib
from types import ModuleType
from typing import NamedTuple

_MODULES = {  # of the names that share a module with others, which takes the name as a parameter
    "table3a": "fates",
    "table3b": "fates",
    "table4a": "fates",
    "table4b": "fates",
    "figure11": "other_activations",
    "figure12": "other_activations",
    "figure17": "orthonormal_losses",
    "figure18": "orthonormal_losses",
}


class Experiment(NamedTuple):
    """A name that the command takes, and the module that computes, draws and comments it."""

    name: str
    folder: str

    @property
    def path(self) -> str:
        """The module's full name."""
        return f"experiments.{self.folder}.{_MODULES.get(self.name, self.name)}"

    @property
    def module(self) -> ModuleType:
        """The module, imported (which computes nothing)."""
        return importlib.import_module(self.path)

    @property
    def doc(self) -> str:
        """The question in one line, then how it is answered."""
        docs: dict[str, str] = getattr(self.module, "DOCS", {})
        return (docs.get(self.name) or self.module.__doc__ or self.name).strip()


class Section(NamedTuple):
    """A part of the report."""

    title: str
    experiments: tuple[Experiment, ...]


def _section(title: str, folder: str, names: str) -> Section:
    return Section(title, tuple(Experiment(name, folder) for name in names.split()))


SECTIONS = (
    _section("Landscape (Sections 2 and 3.1)", "paper", "figure1b figure2 table1 figure3"),
    _section("Dynamics (Section 3.2)", "paper", "figure4 table2"),
    _section(
        "Equations and their fixed points (Appendices A and B)",
        "paper",
        "figure5 figure6 equations figure7 figure8",
    ),
    _section("Finite dimensions (Appendix C)", "paper", "figure9 figure10"),
    _section("Other activations (Appendix E)", "paper", "figure11 figure12"),
    _section("Constrained students (Appendix F)", "paper", "figure13 figure14 figure15 figure16"),
    _section("Counts (Appendix G)", "paper", "table3a table3b table4a table4b figure17 figure18"),
    _section(
        "Where the numbers differ, and why",
        "discrepancies",
        "stopping stopping_ngd dimension_of_starts initialisation surplus_levels orthonormal "
        "orthonormal_endings",
    ),
    _section(
        "Beyond the paper",
        "beyond",
        "theorems critical_widths largest_alpha census asymptotics surplus leak sgd_trajectories "
        "dimension signed_readouts sgd_fates",
    ),
)
EXPERIMENTS = {one.name: one for section in SECTIONS for one in section.experiments}
"""By name."""
