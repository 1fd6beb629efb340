"""Data walks one way: a file imports only from files above it in the order of the design."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import odelandscape

ROOT = Path(odelandscape.__file__).parent
ORDER = (
    "selfcheck results compiler workers activations problem flows blocks ansatz overlap_ansatz isotypic "
    "fixed_points continuation solvers lanes integrate stability newton classify families catalogue certify "
    "stationary relax perturb store dataset summary sweep network balls certificate variations proof "
    "cli_trajectory cli_proof plots cli __main__"
).split()
FILES = {p.relative_to(ROOT).with_suffix("").parts: p for p in ROOT.rglob("*.py")}


def _name(parts):
    """(…, "__init__") and (…) are one module."""
    return parts[:-1] if parts[-1:] == ("__init__",) else parts


MODULES = {_name(parts): path for parts, path in FILES.items()}


def _imported(module, path):
    """Modules of the package that a file imports, function-local imports included."""
    package = module if path.name == "__init__.py" else module[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [tuple(alias.name.split(".")) for alias in node.names]
            yield from (n[1:] for n in names if n[0] == "odelandscape")
        elif isinstance(node, ast.ImportFrom):
            named = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                base = package[: len(package) - (node.level - 1)] + named
            elif named[:1] == ("odelandscape",):
                base = named[1:]
            else:
                continue
            for alias in node.names:
                inner = (*base, alias.name)
                yield inner if inner in MODULES else base


GRAPH = {module: set(_imported(module, path)) for module, path in MODULES.items()}


def test_every_file_has_a_place_in_the_order():
    assert {module[0] for module in MODULES if module} <= set(ORDER)


def test_a_file_imports_only_from_files_above_it():
    rank = {name: i for i, name in enumerate(ORDER)}
    for module, targets in GRAPH.items():
        for target in targets:
            if not module:
                continue  # the public namespace gathers from everywhere
            if not target:
                assert module[0] in ("cli", "__main__"), f"{module} imports the public namespace"
            elif target[0] != module[0]:
                assert rank[target[0]] < rank[module[0]], f"{module} imports {target}"


def test_within_a_package_private_files_come_first_then_base_then_the_rest_without_cycles():
    def may_import(module, target):
        private = target[-1].startswith("_")
        return private or (len(target) == 2 and module[-1] != "base" and module[-1][0] != "_")

    inner = {m: {t for t in ts if t and m and t[0] == m[0]} for m, ts in GRAPH.items()}
    for module, targets in inner.items():
        for target in targets:
            assert may_import(module, target), f"{module} imports {target}"
    TopologicalSorter(inner).prepare()  # raises CycleError


def test_the_walk_sees_the_imports():
    # Guards the three tests above against passing on an empty graph.
    assert ("flows", "base") in GRAPH["flows", "gradient"]
    assert ("results",) in GRAPH[("certify",)]
