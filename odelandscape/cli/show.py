"""The command `show`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import odelandscape as ol

from ..runtime.errors import StoreError, UserError
from .options import add_command, require_extra
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
    add("folder", type=Path, metavar="DIR", help="folder of a sweep")
    add(
        "--export",
        type=_exportable,
        metavar="FILE",
        help="write all end states to one file, .nc (netCDF) or .zarr",
    )
    add("--json", action="store_true", help="print one JSON object instead of the table")


def _exportable(text: str) -> Path:
    file = Path(text)
    if file.suffix not in (".nc", ".zarr"):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a name that ends in .nc or .zarr")
    return file


def run(args: argparse.Namespace) -> None:
    """Print the table of a folder, draw its figure, and export the end states if asked to."""
    if args.export is not None and args.export.suffix == ".zarr":
        require_extra("zarr", "zarr", "argument --export: a name that ends in .zarr")
    runs = ol.read_sweep(args.folder)
    if not len(runs):
        raise UserError(f"the sweep in {str(args.folder)!r} has no finished seeds yet")
    report_sweep(runs, args.folder, args.json)
    if args.export is not None:
        export(args.folder, args.export)
        print(f"all end states: {args.export}", file=sys.stderr)
    print(f"\nfigure and table: {args.folder}/", file=sys.stderr)


def export(folder: Path, file: Path) -> None:
    """Write all end states of a folder to one file, netCDF or Zarr by its suffix.

    Raises StoreError if it cannot be written.
    """
    try:
        if file.suffix == ".nc":
            ol.open_sweep(folder).to_netcdf(file)
        else:  # format 3 has no names of a fixed length
            ol.open_sweep(folder).to_zarr(file, zarr_format=2)
    except OSError as error:
        raise StoreError(f"argument --export: cannot write {str(file)!r}: {error}") from None
