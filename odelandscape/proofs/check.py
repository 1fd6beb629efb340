"""Certificates read from files and proved again."""

import json
from os import PathLike
from pathlib import Path
from typing import NamedTuple

from ..runtime.errors import UserError
from .balls import arb, ctx
from .certificate import Certificate, Statement, ball, exact
from .prove import certify


def _statement(told: dict) -> Statement:
    s = Statement(
        sizes=_floats(told["sizes"]),
        matched=tuple(int(b) for b in told["matched"]),
        free=int(told["free"]),
        readout=_floats(told["readout"]),
        teacher_readout=_floats(told["teacher_readout"]),
        slope=float(told["slope"]),
        names=tuple(map(str, told["names"])),
        centre=tuple(map(str, told["centre"])),
        radius=str(told["radius"]),
        bits=int(told["bits"]),
    )
    S, B = len(s.matched) + s.free, len(s.sizes)
    lengths = [len(x) for x in (s.readout, s.teacher_readout, s.centre, s.names)]
    count = len(s.matched) + S * B
    if lengths != [S, B, count, count] or not all(size > 0 for size in s.sizes):
        raise UserError("the numbers of its statement don't fit together")
    if s.free < 0 or s.bits < 2 or not all(0 <= b < B and s.sizes[b] > 1 for b in s.matched):
        raise UserError("its statement is of no ansatz")
    for number in (*s.centre, s.radius):
        ball(number)
    return s


def _unproved(told: list[tuple[str, dict]], proved: list[tuple[str, dict]]) -> list[str]:
    if [what for what, _ in told] != [what for what, _ in proved]:
        return ["other parameters or eigenvalues than there are"]
    wrong = []
    for (what, old), (_, new) in zip(told, proved, strict=True):
        inside = arb(old["ball"]).contains(arb(new["ball"]))
        if not (inside and old["low"] <= new["low"] and new["high"] <= old["high"]):
            wrong.append(f"{what} in {old['ball']}")
    return wrong


def _floats(x) -> tuple[float, ...]:
    return tuple(float(value) for value in x)


class Claims(NamedTuple):
    """What a file says: of what, with which verdict, index and reason, and its enclosures."""

    statement: Statement | None
    verdict: str
    index: list[float] | None
    reason: str
    loss: list[tuple[str, dict]]
    parameters: list[tuple[str, dict]]
    eigenvalues: list[tuple[str, dict]]
    beyond: list[tuple[str, dict]]

    def unproved(self, certificate: Certificate) -> list[str]:
        """Those claims that a certificate of narrower enclosures doesn't bear out."""
        found = _claims(certificate.as_json())
        if (found.verdict, found.index) != (self.verdict, self.index):
            return [
                f"{self.verdict} of index {self.index}; proved is {found.verdict} of index {found.index}"
            ]
        wrong = []
        for told, proved in zip(self[4:], found[4:], strict=True):
            wrong += _unproved(told, proved)
        return wrong


def _claims(told: dict) -> Claims:
    rows = [
        [
            (f"{row['multiplicity']!r} eigenvalues on {row['representation']}", row["value"])
            for row in told[part]
        ]
        for part in ("eigenvalues", "beyond")
    ]
    return Claims(
        statement=None if told["statement"] is None else _statement(told["statement"]),
        verdict=told["verdict"],
        index=told["index"],
        reason=told["reason"],
        loss=[("loss", told["loss"])] if told["loss"] else [],
        parameters=list(told["parameters"].items()),
        eigenvalues=rows[0],
        beyond=rows[1],
    )


def read_claims(file: str | PathLike) -> Claims:
    """Of a saved certificate. Raises ValueError if it is none."""
    try:
        told = json.loads(Path(file).read_text(encoding="utf-8"))
        if told["odelandscape"] != "certificate":
            raise KeyError("odelandscape")
        return _claims(told)
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise UserError(f"{str(file)!r} isn't a certificate: {why!r}") from None


def check_certificate(file: str | PathLike) -> Certificate:
    """Prove again what a saved certificate says, from its statement alone, with more bits.

    Returns the certificate as proved now. Raises ValueError if the file is no certificate, if it proves
    nothing, or if it claims what isn't proved: another verdict or index, or an enclosure that holds too
    little.
    """
    claims = read_claims(file)
    s = claims.statement
    if s is None or not claims.loss:
        raise UserError(f"{str(file)!r} proves nothing: {claims.verdict} ({claims.reason})")
    certificate = certify(s)
    # In a box within that one, whose enclosures are narrower than those told.
    with ctx.workprec(s.bits + 64):
        narrow = certify(s._replace(radius=exact(ball(s.radius) / 2**8), bits=s.bits + 32))
        wrong = claims.unproved(narrow if certificate.loss is not None else certificate)
    if wrong:
        raise UserError(f"{str(file)!r} claims what isn't proved: {'; '.join(wrong)}")
    return certificate
