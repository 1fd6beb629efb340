"""The manifest of a store: what was computed, and by which versions."""

import errno
import hashlib
import json
import os
import platform
import stat
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from ..runtime.errors import UserError
from ..runtime.files import write_whole

FORMAT = 1
MANIFEST = "sweep.json"
FIRST_TIME_LIMIT = 20_000.0
"""The time limit of chunks that record none."""
_LIBRARIES = ("odelandscape", "jax", "jaxlib", "numpy")


class Variable(NamedTuple):
    """What a column of a chunk means."""

    dimensions: tuple[str, ...]
    units: str
    description: str


_SEED = ("seed",)
VARIABLES = {
    "outcome": Variable(_SEED, "", "what the start ended as, by name"),
    "loss": Variable(_SEED, "1", "population loss ½E[(student − teacher)²], inputs from N(0, I)"),
    "gradient_norm": Variable(_SEED, "1", "Frobenius norm of the flow's rates at the end state"),
    "smallest_eigenvalue": Variable(
        _SEED,
        "1",
        "of the Hessian of the population loss there; of online SGD the least real part of the eigenvalues "
        "of minus the Jacobian of its rates, 0 where it was not computed: at a global minimum",
    ),
    "anti_aligned": Variable(
        _SEED,
        "students",
        "students that point away from their teacher, by the sign of their overlap R (of v v* R where the "
        "activation is odd); -1 where it is even and α is not defined",
    ),
    "time": Variable(
        _SEED,
        "flow time",
        "when the norm of the rates fell below 1e-3 for good; of online SGD, the end of its integration",
    ),
    "evaluations": Variable(_SEED, "evaluations", "of the flow's field until then"),
    "weights": Variable(
        ("seed", "student", "coordinate"),
        "1",
        "rows w_i; the first M coordinates span the teacher, whose rows have unit length",
    ),
    "readout": Variable(("seed", "student"), "1", "second layer v_i"),
}
"""The columns of a chunk: the fields of `EndStates`."""


class Manifest(NamedTuple):
    """What a folder's manifest records of its sweep."""

    configuration: dict
    versions: dict
    hash: str  # of the configuration


def read_manifest(folder: Path) -> Manifest:
    """Return what the manifest of a folder records.

    Raises UserError if the folder holds no sweep, one in another format, or a damaged manifest.
    """
    path = folder / MANIFEST
    try:
        content = read_json(read_file(path))
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"the folder {str(folder)!r} holds no sweep ({MANIFEST})") from None
    except NotAFileError as error:
        raise UserError(damaged_manifest(path.parent, str(error))) from None
    except ValueError as error:
        raise UserError(damaged_manifest(path.parent, f"it is no JSON: {error}")) from None
    except OSError as error:
        raise UserError(
            f"cannot read {str(path)!r}: {error.strerror}; make it readable, or name another folder"
        ) from None
    if not (isinstance(content, dict) and isinstance(content.get("format"), int)):
        raise UserError(damaged_manifest(path.parent, "it holds no object with a format"))
    versions = content.get("versions")
    if content["format"] != FORMAT:
        raise UserError(
            f"the sweep in {str(folder)!r} is in format {abbreviated(content['format'])}; this version "
            f"of odelandscape reads and writes format {FORMAT}: name another folder, or use the version "
            f"that made it ({abbreviated(versions)})"
        )
    configuration = content.get("configuration")
    if not (isinstance(configuration, dict) and isinstance(versions, dict)) or not isinstance(
        configuration.get("end", FIRST_TIME_LIMIT), float | int
    ):
        raise UserError(damaged_manifest(path.parent, "it has no configuration or no versions"))
    name = configuration_hash(configuration)
    whole = content.get("sha256", _checksum(configuration))
    if content.get("hash") != name or whole != _checksum(configuration):
        raise UserError(damaged_manifest(path.parent, "its hash is not that of its configuration"))
    return Manifest(configuration, versions, name)


class NotAFileError(Exception):
    """What stands under a file's name is no file, such as a folder or a link that leads nowhere."""


def read_file(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises NotAFileError, in words, if something else has its name; OSError if it is not there or cannot be
    read.
    """
    try:
        mode = path.stat().st_mode
    except OSError as error:
        if path.is_symlink() and error.errno in (errno.ENOENT, errno.ELOOP):
            raise NotAFileError(f"it is a link that leads nowhere: {error.strerror}") from None
        raise
    if not stat.S_ISREG(mode):  # others may never end
        raise NotAFileError("it is a folder" if stat.S_ISDIR(mode) else "it is no ordinary file")
    return path.read_bytes()


def read_json(text: str | bytes) -> object:
    """Return what JSON stands for. Raises ValueError if it is none, or nested deeper than ours."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def write_manifest(folder: Path, configuration: dict, replace: bool = False) -> None:
    """Write the manifest of this configuration into a folder that has none, or in the place of the one there.

    Raises OSError if it cannot be written.
    """
    if not replace and os.path.lexists(folder / MANIFEST):  # whatever it is: reading it says so
        return
    content = {
        "about": "Where random starts end. odelandscape.open_sweep opens the folder as one labelled "
        "dataset, numpy.load one of its files.",
        "format": FORMAT,
        "configuration": configuration,
        "hash": configuration_hash(configuration),
        "sha256": _checksum(configuration),
        "versions": library_versions(),
        "variables": {name: variable._asdict() for name, variable in VARIABLES.items()},
    }
    text = json.dumps(content, indent=1, ensure_ascii=False)
    write_whole(folder / MANIFEST, text + "\n", first=not replace)


def configuration_hash(configuration: dict) -> str:
    """Return the hash by which a sweep's files are recognised as parts of it.

    The time limit (`end`) may be raised and is no part of what a sweep is: all hash like the first one. Nor
    is `code`, which differs from one Python to another.
    """
    end = {"end": FIRST_TIME_LIMIT} if "end" in configuration else {}
    parts = {key: value for key, value in configuration.items() if key != "code"}
    return _checksum({**parts, **end})


def _checksum(configuration: dict) -> str:
    text = json.dumps(configuration, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def library_versions() -> dict[str, str]:
    """Return the installed versions of what numbers depend on."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # used from its source
            found[name] = "unknown"
    return found


def abbreviated(value: object) -> str:
    """Return a value as JSON, cut off after 57 characters if it is longer than 60."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}…"


_CODE = {"activation_code": "activation", "flow_values": "flow"}
"""The part of a configuration whose code each of these is a record of."""


_NOT_RECORDED = {"transient": "float64"}
"""What holds where a configuration does not say."""


def difference(there: dict, wanted: dict) -> str:
    """Return in words how two configurations differ; empty if they do not."""
    # As JSON has it: lists for tuples.
    wanted = json.loads(json.dumps(wanted))
    there, wanted = ({**_NOT_RECORDED, **one} for one in (there, wanted))
    differing = [
        key
        for key in {**wanted, **there}
        if key != "code" and _differs(there.get(key), wanted.get(key))
    ]
    if differing != ["flow_values"] and "flow" not in _parts_of_changed_code(there, wanted):
        # Other numbers of the activation or the teacher are other values of the same flow.
        differing = [key for key in differing if key != "flow_values"]
    words = [_in_words(key, there, wanted) for key in differing]
    return "; ".join(words or _changed_code(there, wanted))


def _parts_of_changed_code(there: dict, wanted: dict) -> list[str]:
    """Return whose code has changed, by its digest; nothing of digests of two versions of Python."""
    old, new = there.get("code"), wanted.get("code")
    if not isinstance(old, dict) or not isinstance(new, dict) or old.get("python") != new["python"]:
        return []
    return [part for part in ("activation", "flow") if old.get(part) != new.get(part)]


def _changed_code(there: dict, wanted: dict) -> list[str]:
    """Say whose code has changed."""
    names = (wanted[part]["name"] for part in _parts_of_changed_code(there, wanted))
    # Of this package's own classes, such as Quadrature, only functions are a user's.
    codes = (f"code of {name}" if ":" in name else f"function of {name}" for name in names)
    return [f"the {code} has changed, though not where it was tried" for code in codes]


def _in_words(key: str, there: dict, wanted: dict) -> str:
    part, old, new = _CODE.get(key), there.get(key), wanted.get(key)
    if part and old and new and not _differs(there.get(part), wanted[part]):
        code = f"the code of {wanted[part]['name']}"
        if len(old) != len(new):
            return f"{key} are of another version of odelandscape, or {code} has changed"
        return f"{key} differ: {code} has changed"
    return f"{key} is {abbreviated(old)} there and {abbreviated(new)} here"


def _differs(a: object, b: object) -> bool:
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(_differs(a[k], b[k]) for k in a)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) != len(b) or any(map(_differs, a, b))
    if isinstance(a, float) and isinstance(b, float):
        return abs(a - b) > 1e-12 * max(abs(a), abs(b))  # the last bits may be another machine's
    return a != b


def damaged_manifest(folder: Path, why: str) -> str:
    """Return in words that the manifest of a folder is damaged, and what to do."""
    return (
        f"{str(folder / MANIFEST)!r} is damaged ({why}): remove it, and the same command or call writes it "
        "again. The files of seeds beside it are as they were"
    )
