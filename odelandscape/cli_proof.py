"""What the commands `prove` and `check` tell: certificates, as a table and as files."""

import re
from pathlib import Path

from .certificate import Certificate
from .fixed_points import FixedPoint


def names(points: list[FixedPoint]) -> list[str]:
    """One for each point's certificate, to be a file's name."""
    found: list[str] = []
    for point in points:
        branch = re.sub(r"\W+", "-", point.branch).strip("-") or "family"
        name = f"{branch}-{point.anti_aligned}"
        count = sum(other == name or other.startswith(f"{name}-no") for other in found)
        found.append(name if count == 0 else f"{name}-no{count + 1}")
    return found


def table(title: str, rows: list[tuple[str, Certificate]]) -> str:
    """A line for each certificate; all that one says, if it is the only one."""
    width = max([len(name) for name, _ in rows] + [11])
    head = f"{'certificate':<{width}}  {'verdict':<14}{'index':>7}  {'loss':<38}smallest eigenvalue"
    lines = [title, "", head, "-" * len(head)]
    for name, certificate in rows:
        lines.append(f"{name:<{width}}  {_line(certificate)}")
    if len(rows) == 1 and rows[0][1].proved:
        lines += ["", str(rows[0][1])]
    else:
        lines += [f"{name}: {one.reason}" for name, one in rows if one.reason]
    return "\n".join(lines)


def _line(certificate: Certificate) -> str:
    if certificate.loss is None:
        return certificate.verdict
    if certificate.index is None:
        return f"{certificate.verdict:<14}{'–':>7}  {certificate.loss.short()}"
    low, high = certificate.index
    index = f"{low:g}" if low == high else f"{low:g} – {high:g}"
    smallest = certificate.eigenvalues[0].value
    return f"{certificate.verdict:<14}{index:>7}  {certificate.loss.short():<38}{smallest.short()}"


def save(folder: Path, rows: list[tuple[str, Certificate]]) -> None:
    """Each as a file of its name."""
    for name, certificate in rows:
        certificate.save(folder / f"{name}.json")
