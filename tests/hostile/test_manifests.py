"""Manifests that are none, or wrong: the file is named, with what to do."""

import json
import os

import pytest
from hostile.commands import refusal
from sweeps.made_up import filled

import odelandscape as ol
from odelandscape.sweeps.configuration import configuration
from odelandscape.sweeps.manifest import MANIFEST, configuration_hash

NO_MANIFESTS = {
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to(path.with_name("nothing")),
    "a link to itself": lambda path: path.symlink_to(path),
    "a pipe": os.mkfifo,
    "deep": lambda path: path.write_text("[" * 100_000),
    "a number": lambda path: path.write_text("5"),
    "a huge number": lambda path: path.write_text("5" * 10_000),
    "nothing": lambda path: path.write_text(""),
    "text": lambda path: path.write_bytes(b"\xff"),
}


@pytest.mark.parametrize("kind", NO_MANIFESTS)
def test_what_is_no_manifest_is_named_with_what_to_do(kind, tmp_path):
    filled(tmp_path, (0, 5), (5, 10))
    (tmp_path / MANIFEST).unlink()
    NO_MANIFESTS[kind](tmp_path / MANIFEST)
    for command in (["show", str(tmp_path)], ["show", str(tmp_path), "--json"]):
        line = refusal(*command)
        assert f"{MANIFEST}' is damaged" in line
        assert "remove it" in line
    line = refusal(*f"sweep -K 1 -M 1 --seeds 10 --quiet --out {tmp_path}".split())
    assert f"{MANIFEST}' is damaged" in line


def _manifest(folder, **changes) -> None:
    """Write a manifest that is consistent, and wrong."""
    right = configuration(ol.Problem(1, 1), ol.GradientFlow(), 0, 1)
    changed = {name: value for name, value in (right | changes).items() if value != "left out"}
    content = {"format": 1, "versions": {}, "configuration": changed}
    content["hash"] = configuration_hash(changed)
    (folder / MANIFEST).write_text(json.dumps(content))


@pytest.mark.parametrize(
    "changes",
    [
        {"students": "three"},
        {"students": 2.5},
        {"students": -1},
        {"students": True},
        {"students": "left out"},
        {"teachers": None},
        {"teachers": [1]},
        {"seed": "0"},
        {"seed": -1},
        {"dimension": 0},
        {"dimension": {}},
        {"activation": None},
        {"activation": "ReLU"},
        {"activation": {}},
        {"activation": {"name": 5}},
        {"activation_values": "none"},
        {"activation_values": [1, 2]},
        {"activation_values": {}},
        {"flow": []},
        {"flow": {"name": None}},
        {"teacher_overlaps": "I"},
        {"teacher_overlaps": [[1, 2], [3]]},
        {"teacher_overlaps": [[-1]]},
        {"teacher_readout": [1, 2]},
        {"teacher_readout": {"a": 1}},
    ],
    ids=str,
)
def test_a_manifest_of_wrong_types_is_named(changes, tmp_path, unchecked):
    """Any field of a configuration may be of any type, or missing."""
    _manifest(tmp_path, **changes)
    line = refusal("show", str(tmp_path))
    assert str(tmp_path) in line
    assert "damaged" in line or "cannot be made again here" in line


@pytest.mark.parametrize(
    "content",
    [
        {},
        {"format": "1"},
        {"format": 1},
        {"format": 1, "configuration": [], "versions": {}},
        {"format": 1, "configuration": {}, "versions": [1]},
        {"format": 1, "configuration": {}, "versions": {}, "hash": 5},
        {"format": [1]},
    ],
    ids=str,
)
def test_a_manifest_without_its_parts_is_named(content, tmp_path):
    (tmp_path / MANIFEST).write_text(json.dumps(content))
    assert f"{MANIFEST}' is damaged" in refusal("show", str(tmp_path))


@pytest.mark.parametrize(
    "place",
    [
        "os:system",
        "subprocess:call",
        "builtins:exec",
        "shutil:rmtree",
        "nowhere:None",
        "os:path.join",
    ],
)
@pytest.mark.parametrize("part", ["activation", "flow"])
def test_a_store_calls_nothing_but_activations_and_flows(place, part, tmp_path):
    """A folder may be anybody's: its manifest must not be a program."""
    victim = tmp_path / "victim"
    victim.touch()
    command = f"rm {victim}"
    names = {"command": command, "args": ["rm", str(victim)], "path": str(victim)}
    _manifest(tmp_path, **{part: {"name": place, **names}})
    line = refusal("show", str(tmp_path))
    assert f"{place}, which cannot be made again here" in line
    assert victim.exists()
