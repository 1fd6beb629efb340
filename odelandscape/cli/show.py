"""The command `show`."""

import argparse
import sys
from pathlib import Path

from ..runtime.errors import StoreError, UserError
from ..sweeps.result import read_sweep
from .sweep import report_sweep

SHOW_EXAMPLES = """\
examples:
  odelandscape show sweep-K10-M10-gd                           the table again, and losses.png
  odelandscape show sweep-K10-M10-gd --export landscape.nc     all end states as one netCDF file
  odelandscape show sweep-K10-M10-gd --export landscape.zarr   or as Zarr, where zarr is installed
"""


def run_show(args: argparse.Namespace) -> None:
    runs = read_sweep(args.folder)
    if not len(runs):
        raise UserError(f"the sweep in {str(args.folder)!r} has no finished seeds yet")
    report_sweep(runs, args.folder, args.json)
    if args.export is not None:
        _export(args.folder, args.export)
    print(f"\nfigure and table: {args.folder}/", file=sys.stderr)


def _export(folder: Path, file: Path) -> None:
    from ..sweeps.read import open_sweep

    if file.suffix not in (".nc", ".zarr"):
        raise UserError(
            f"argument --export: got {str(file)!r}; allowed: a name that ends in .nc or .zarr"
        )
    try:
        if file.suffix == ".nc":
            open_sweep(folder).to_netcdf(file)
        else:  # format 3 has no names of a fixed length
            open_sweep(folder).to_zarr(file, zarr_format=2)
    except (ImportError, OSError) as error:
        raise StoreError(f"argument --export: cannot write {str(file)!r}: {error}") from None
    print(f"all end states: {file}", file=sys.stderr)
