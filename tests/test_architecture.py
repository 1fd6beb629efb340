"""The house is in order: rooms import downward only, and rooms, files and functions stay small.

The order itself is written once, as the import-linter contract of pyproject.toml.
"""

import ast
import subprocess
import sysconfig
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "odelandscape"
FILES = sorted(PACKAGE.rglob("*.py"))
GRAPH = grimp.build_graph("odelandscape", cache_dir=None)
IMPORTS = {module: GRAPH.find_modules_directly_imported_by(module) for module in GRAPH.modules}


def _room(module: str) -> str:
    return ".".join(module.split(".")[:2])


def test_rooms_import_downward_only():
    command = Path(sysconfig.get_path("scripts")) / "lint-imports"
    subprocess.run([command, "--no-cache"], cwd=ROOT, check=True)


def test_no_module_imports_itself_by_way_of_others():
    TopologicalSorter(IMPORTS).prepare()  # raises CycleError


def test_there_are_at_most_ten_levels_of_rooms():
    rooms = {_room(module): set() for module in IMPORTS if module != "odelandscape"}
    for module, targets in IMPORTS.items():
        if module != "odelandscape":
            rooms[_room(module)] |= {_room(t) for t in targets} - {_room(module), "odelandscape"}
    level: dict[str, int] = {}
    for room in TopologicalSorter(rooms).static_order():
        level[room] = 1 + max((level[below] for below in rooms[room]), default=0)
    assert level["odelandscape.cli"] > level["odelandscape.runtime"] == 1  # the graph isn't empty
    assert max(level.values()) <= 10


def test_a_room_has_at_most_twelve_files_and_a_docstring():
    rooms = [path for path in PACKAGE.iterdir() if (path / "__init__.py").exists()]
    assert len(rooms) == 13
    for room in rooms:
        assert len(list(room.glob("*.py"))) <= 12, room.name
        assert ast.get_docstring(ast.parse((room / "__init__.py").read_text())), room.name


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_are_short(path):
    text = path.read_text()
    assert len(text.splitlines()) <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            # A public docstring with its equations and errors is not what makes a function long.
            doc = ast.get_docstring(node, clean=False)
            lines = node.end_lineno - node.lineno + 1 - (len(doc.splitlines()) if doc else 0)
            assert lines <= 60, node.name
