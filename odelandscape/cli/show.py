"""The command `show`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import warnings
from contextlib import suppress
from pathlib import Path

import odelandscape as ol

from ..runtime.errors import StoreError, UserError
from .options import add_command, check_folder, folder_name, remark, require_extra
from .sweep import report_sweep

EXAMPLES = """\
examples:
  odelandscape show sweep-K10-M10-gd                           the table again, and losses.png
  odelandscape show sweep-K10-M10-gd --export landscape.nc     all end states as one netCDF file
  odelandscape show sweep-K10-M10-gd --export landscape.zarr   or as Zarr, where zarr is installed
"""


def add_parser(commands: argparse._SubParsersAction) -> None:
    """Add this command and its options."""
    parser = add_command(
        commands,
        "show",
        run,
        summary="summarise a sweep's folder, finished or not",
        description="Print the table of the end states in a sweep's folder and draw its figure, without "
        "computing anything.",
        examples=EXAMPLES,
    )
    add = parser.add_argument
    add("folder", type=folder_name, metavar="DIR", help="folder of a sweep")
    add(
        "--export",
        type=_exportable,
        metavar="FILE",
        help="write all end states to one file, .nc (netCDF) or .zarr",
    )
    add("--overwrite", action="store_true", help="let --export replace what has that name")
    add("--json", action="store_true", help="print one JSON object instead of the table")
    add("--quiet", action="store_true", help="no remarks")


def _exportable(text: str) -> Path:
    file = Path(text)
    if file.suffix not in (".nc", ".zarr"):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a name that ends in .nc or .zarr")
    return file


def run(args: argparse.Namespace) -> None:
    """Print the table of a folder, draw its figure, and export the end states if asked to."""
    if args.export is not None:
        _check_export(args.export, args.overwrite)
    runs = ol.read_sweep(args.folder)
    if not len(runs):
        raise UserError(f"the sweep in {str(args.folder)!r} has no finished seeds yet")
    try:
        if args.export is not None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of what is damaged `read_sweep` has warned
                export(args.folder, args.export)
    finally:
        report_sweep(runs, args.folder, args.json)
    missing = int(runs.seeds[-1]) + 1 - len(runs)
    if missing and not args.quiet:
        print(
            f"{missing:,} of the seeds 0 to {runs.seeds[-1]:,} are not there: shares that are not "
            "finished, or damaged files",
            file=sys.stderr,
        )
    if args.export is not None and not args.quiet:
        print(f"all end states: {args.export}", file=sys.stderr)
    remark(args, "figure and table", args.folder)


def _check_export(file: Path, overwrite: bool) -> None:
    """Raise UserError unless a file can be exported to: new, or one that may be replaced."""
    if file.suffix == ".zarr":
        require_extra("zarr", "zarr", "argument --export: a name that ends in .zarr")
    if os.path.lexists(file):
        if not overwrite:
            raise UserError(
                f"argument --export: {str(file)!r} exists; allowed: a new name, or --overwrite, which "
                "replaces it"
            )
        ours = (file / ".zgroup").is_file() if file.suffix == ".zarr" else file.is_file()
        if not ours:
            raise UserError(
                f"argument --export: {str(file)!r} is not what an export makes, and is not replaced; "
                "allowed: a new name"
            )
    check_folder(file.parent, "--export")


def export(folder: Path, file: Path) -> None:
    """Write all end states of a folder to one file, netCDF or Zarr by its suffix, whole or not at all. What
    has that name is replaced.

    Raises StoreError if it cannot be written.
    """
    from ..runtime.files import temporary_name

    new = temporary_name(file)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".nc":
            ol.open_sweep(folder).to_netcdf(new, engine="h5netcdf")
        else:  # format 3 has no names of a fixed length
            ol.open_sweep(folder).to_zarr(new, zarr_format=2)
            if file.is_dir():  # which a folder cannot take the place of
                shutil.rmtree(file)
        new.replace(file)
    except OSError as error:
        why = error.strerror or error
        raise StoreError(f"argument --export: cannot write {str(file)!r}: {why}") from None
    finally:
        if new.is_dir():
            shutil.rmtree(new, ignore_errors=True)
        else:
            with suppress(OSError):
                new.unlink(missing_ok=True)
