"""Write one page, and one PDF, of the results in a folder, without computing any."""

from pathlib import Path

from matplotlib.backends.backend_pdf import PdfPages

from odelandscape.runtime.files import write_whole

from .comparison import headings_and_cells, tables
from .entries import entry
from .page import DIGITS, page
from .registry import SECTIONS
from .sheets import cover, sheets, table_sheets


class NothingToReportError(ValueError):
    """The folder holds no results."""


def write(folder: Path) -> list[Path]:
    """Write report.html and report.pdf into a folder of results.

    Raises NothingToReportError if it holds none.
    """
    sections = [
        (section.title, [entry(one, folder) for one in section.experiments]) for section in SECTIONS
    ]
    entries = [(one, one.printed) for _, some in sections for one in some if one.printed]
    if not entries:
        raise NothingToReportError(
            f"{folder} holds no results: python -m experiments all --out {folder} computes them"
        )
    html, pdf = folder / "report.html", folder / "report.pdf"
    write_whole(html, "\n".join(page(sections, folder)))
    with PdfPages(pdf) as kept:
        kept.savefig(cover(sections))
        for title, lines in tables(folder).items():
            for sheet in table_sheets(*headings_and_cells(lines, DIGITS), title):
                kept.savefig(sheet)
        for one, printed in entries:
            for sheet in sheets(one, printed, folder):
                kept.savefig(sheet)
    return [html, pdf]
