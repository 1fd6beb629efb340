"""Certificates read from files and proved again.

A file's claims are compared with what its statement proves with more bits and in a box within the file's
box: each enclosure that is claimed must contain the narrower one.
"""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from ..runtime.errors import UserError
from .balls import arb, ctx
from .certificate import Certificate
from .certify import certify
from .statement import Statement, as_floats, from_dyadic, to_dyadic

_MORE_BITS = 32  # of the proof that the claims are compared with
_NARROWER = 2**8  # the factor by which its box is smaller


def _statement_of(record: dict) -> Statement:
    """Return the statement of a certificate's JSON. Raises UserError if its numbers don't fit together."""
    s = Statement(
        sizes=as_floats(record["sizes"]),
        matched=tuple(int(b) for b in record["matched"]),
        free=int(record["free"]),
        readout=as_floats(record["readout"]),
        teacher_readout=as_floats(record["teacher_readout"]),
        slope=float(record["slope"]),
        names=tuple(map(str, record["names"])),
        centre=tuple(map(str, record["centre"])),
        radius=str(record["radius"]),
        bits=int(record["bits"]),
    )
    S, B = len(s.matched) + s.free, len(s.sizes)
    lengths = [len(x) for x in (s.readout, s.teacher_readout, s.centre, s.names)]
    count = len(s.matched) + S * B
    if lengths != [S, B, count, count] or not all(size > 0 for size in s.sizes):
        raise ValueError("the numbers of its statement don't fit together")
    if s.free < 0 or s.bits < 2 or not all(0 <= b < B and s.sizes[b] > 1 for b in s.matched):
        raise ValueError("its statement is of no ansatz")
    for number in (*s.centre, s.radius):
        from_dyadic(number)
    return s


@dataclass(frozen=True)
class _Claim:
    """An enclosure: of what, as a ball in decimals, and between two floating-point numbers."""

    of: str
    ball: str
    low: float
    high: float

    @classmethod
    def from_json(cls, of: str, value: dict) -> "_Claim":
        return cls(of, value["ball"], value["low"], value["high"])

    def contains(self, other: "_Claim") -> bool:
        inside = arb(self.ball).contains(arb(other.ball))
        return inside and self.low <= other.low and other.high <= self.high


@dataclass(frozen=True)
class Claims:
    """The claims of a certificate: about which statement, with which verdict, index and reason, and its
    enclosures (`loss` is empty if there is none)."""

    statement: Statement | None
    verdict: str
    index: list[float] | None
    reason: str
    loss: list[_Claim]
    parameters: list[_Claim]
    eigenvalues: list[_Claim]
    beyond: list[_Claim]

    @classmethod
    def from_json(cls, record: dict) -> "Claims":
        """Return the claims of a certificate's JSON. Raises UserError, KeyError, TypeError or
        AttributeError if it is none."""
        statement, loss = record["statement"], record["loss"]
        parameters = record["parameters"].items()
        return cls(
            statement=None if statement is None else _statement_of(statement),
            verdict=record["verdict"],
            index=record["index"],
            reason=record["reason"],
            loss=[_Claim.from_json("loss", loss)] if loss else [],
            parameters=[_Claim.from_json(name, value) for name, value in parameters],
            eigenvalues=_eigenvalue_claims(record["eigenvalues"]),
            beyond=_eigenvalue_claims(record["beyond"]),
        )

    def unproved(self, certificate: Certificate) -> list[str]:
        """Return those claims that a certificate of narrower enclosures doesn't imply."""
        proved = Claims.from_json(certificate.as_json())
        if (proved.verdict, proved.index) != (self.verdict, self.index):
            return [
                f"{self.verdict} of index {self.index}; proved is {proved.verdict} of index {proved.index}"
            ]
        return [
            *_unproved(self.loss, proved.loss),
            *_unproved(self.parameters, proved.parameters),
            *_unproved(self.eigenvalues, proved.eigenvalues),
            *_unproved(self.beyond, proved.beyond),
        ]


def _eigenvalue_claims(rows: list[dict]) -> list[_Claim]:
    return [
        _Claim.from_json(
            f"{row['multiplicity']!r} eigenvalues on {row['representation']}", row["value"]
        )
        for row in rows
    ]


def _unproved(claimed: list[_Claim], proved: list[_Claim]) -> list[str]:
    if [claim.of for claim in claimed] != [claim.of for claim in proved]:
        return ["other parameters or eigenvalues than there are"]
    return [
        f"{claim.of} in {claim.ball}"
        for claim, narrower in zip(claimed, proved, strict=True)
        if not claim.contains(narrower)
    ]


def read_claims(file: str | PathLike) -> Claims:
    """Return the claims of a saved certificate. Raises UserError if the file is none."""
    try:
        record = json.loads(Path(file).read_text(encoding="utf-8"))
        if record["odelandscape"] != "certificate":
            raise KeyError("odelandscape")
        return Claims.from_json(record)
    except (ValueError, KeyError, TypeError, AttributeError) as why:
        raise UserError(f"{str(file)!r} isn't a certificate: {why!r}") from None


def check_certificate(file: str | PathLike) -> Certificate:
    """Prove again what a saved certificate claims, from its statement alone, with more bits.

    Returns the certificate as proved now. Raises UserError if the file is no certificate, if it proves
    nothing, or if it claims what isn't proved: another verdict or index, or an enclosure that doesn't
    contain the one proved now.
    """
    claims = read_claims(file)
    s = claims.statement
    if s is None or not claims.loss:
        raise UserError(f"{str(file)!r} proves nothing: {claims.verdict} ({claims.reason})")
    certificate = certify(s)
    # In a box within that one, whose enclosures are narrower than those claimed.
    with ctx.workprec(s.bits + 2 * _MORE_BITS):
        radius = to_dyadic(from_dyadic(s.radius) / _NARROWER)
        narrow = certify(s._replace(radius=radius, bits=s.bits + _MORE_BITS))
        wrong = claims.unproved(narrow if certificate.loss is not None else certificate)
    if wrong:
        raise UserError(f"{str(file)!r} claims what isn't proved: {'; '.join(wrong)}")
    return certificate
