"""The whole command line: help, versions, what parsing imports, and the exit status."""

import importlib.metadata
import re
import subprocess
import sys

import pytest

import odelandscape as ol
from odelandscape.cli.main import COMMANDS, main

NAMES = [module.__name__.rpartition(".")[2] for module in COMMANDS]


def test_without_arguments_it_teaches(capsys):
    assert main([]) == 0
    text = capsys.readouterr().out
    assert re.search(r"first steps:\n +odelandscape sweep -K", text)
    for name in NAMES:
        assert re.search(rf"^ +{name}\b", text, re.MULTILINE)


@pytest.mark.parametrize("command", NAMES)
def test_help_of_a_command_has_examples(command, capsys):
    assert main([command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"examples:\n  odelandscape {command} " in text
    if command in ("sweep", "trajectory"):
        assert "2l-gd" in text


def test_version_has_those_of_the_package_and_of_jax(capsys):
    assert main(["--version"]) == 0
    versions = [importlib.metadata.version(name) for name in ("odelandscape", "jax")]
    assert capsys.readouterr().out == "odelandscape {}, jax {}\n".format(*versions)
    assert ol.__version__ == versions[0]


def test_an_unknown_command_gets_one_line(refused):
    assert re.search(r"'swep'.*sweep.*show", refused("swep -K 2 -M 2"))


def test_parsing_imports_nothing_heavy():
    program = """
import sys
from odelandscape.cli.main import main
for arguments in sys.argv[1:]:
    main(arguments.split())
print({"jax", "scipy", "matplotlib", "equinox", "xarray"} & set(sys.modules), file=sys.stderr)
"""
    arguments = [
        "",
        "--help",
        "--version",
        *(f"{name} --help" for name in NAMES),
        "sweep -K 0 -M 2",
    ]
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments, "minima -K 5 -M 5 --activation tanh"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr.splitlines()[-1] == "set()"


def _raise(monkeypatch, error: BaseException) -> int:
    def stopped(*_, **__):
        raise error

    monkeypatch.setattr("odelandscape.landscape.search.search", stopped)
    return main(["minima", "-K", "2", "-M", "2", "--quiet"])


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ol.UserError("the disk\nis full"), 2),
        (ol.NoSuchFamilyError("the disk\nis full"), 2),
        (ol.OperationError("the disk\nis full"), 1),
        (ol.StoreError("the disk\nis full"), 1),
        (ol.WorkersLostError("the disk\nis full"), 1),
    ],
    ids=lambda x: type(x).__name__,
)
def test_what_stops_a_command_is_one_line(error, status, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _raise(monkeypatch, error) == status
    assert capsys.readouterr().err == "odelandscape minima: the disk is full\n"


@pytest.mark.parametrize("error", [ValueError, ImportError, RuntimeError, OSError])
def test_a_fault_of_the_package_is_passed_on(error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match="a fault"):
        _raise(monkeypatch, error("a fault"))


def test_interruption_is_status_130(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert _raise(monkeypatch, KeyboardInterrupt()) == 130
    assert capsys.readouterr().err == "\ninterrupted\n"


@pytest.mark.parametrize(
    ("arguments", "module"),
    [
        ("prove -K 8 -M 8", "flint"),
        ("check none.json", "flint"),
        ("show . --export x.zarr", "zarr"),
    ],
)
def test_a_missing_optional_dependency_is_one_line(arguments, module, capsys, monkeypatch):
    monkeypatch.setattr("odelandscape.cli.options.find_spec", lambda name: None)
    assert main(arguments.split()) == 1
    assert re.search(rf'needs {module}: python3 -m pip install "odela', capsys.readouterr().err)


def test_a_certificate_that_is_not_there(refused):
    pytest.importorskip("flint")
    assert "argument FILE: cannot read 'none.json': No such file" in refused("check none.json")
