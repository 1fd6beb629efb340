"""Certificates read from files and proved again.

A file's claims are compared with what its statement proves with more bits and in a box within the file's
box: each enclosure that is claimed must contain the narrower one. `docs/certificates.md` lists the fields,
and which of them are no claims.
"""

import json
import math
import re
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from os import PathLike
from pathlib import Path
from typing import Any

from ..runtime.errors import UserError
from . import MOST_BITS, MOST_PARAMETERS
from .balls import ctx
from .certificate import (
    GLOBAL,
    MINIMUM,
    REFUTED,
    SADDLE,
    UNDECIDED,
    Certificate,
    Eigenvalue,
    Enclosure,
)
from .certify import certify, verdict_of
from .statement import DYADIC, Statement, from_dyadic, to_dyadic

_MORE_BITS = 32  # of the proof that the claims are compared with
_NARROWER = 2**8  # the factor by which its box is smaller
_MOST_BYTES = 2**24  # of a file: one of most bits and most parameters has fewer
_LARGEST = 1e100  # of any number, so that the Hessian's trace is one
_DECIMAL = r"-?[0-9]{1,4200}(?:\.[0-9]{1,4200})?(?:e[+-]?[0-9]{1,5})?"
_BALL = re.compile(rf"({_DECIMAL})|\[({_DECIMAL} )?\+/- ({_DECIMAL})\]")

Parser = Callable[[str, Any], Any]  # of the name of a field and its value in JSON


def _must(where: str, allowed: str, got: object) -> UserError:
    containers = {dict: "an object", list: "a list"}
    shown = containers.get(type(got)) or json.dumps(got)
    return UserError(
        f"{where} must be {allowed}; got {shown if len(shown) < 60 else shown[:50] + ' …'}"
    )


def _text(where: str, value: Any) -> str:
    if not isinstance(value, str):
        raise _must(where, "text", value)
    return value


def _one_of(*allowed: str) -> Parser:
    def parse(where: str, value: Any) -> Any:
        if value not in allowed:
            raise _must(where, " or ".join(map(json.dumps, allowed)), value)
        return value

    return parse


def _between(least: float, most: float, allowed: str) -> Parser:
    def parse(where: str, value: Any) -> float:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not least <= value <= most:
            raise _must(where, allowed, value)
        return float(value)

    return parse


_number = _between(-_LARGEST, _LARGEST, f"a number from {-_LARGEST:g} to {_LARGEST:g}")
_count = _between(0.0, _LARGEST, f"a number from 0 to {_LARGEST:g}")
_size = _between(5e-324, _LARGEST, f"a number above 0, up to {_LARGEST:g}")


def _whole(least: int, most: int) -> Parser:
    def parse(where: str, value: Any) -> int:
        whole = isinstance(value, int) and not isinstance(value, bool)
        if not whole or not least <= value <= most:
            raise _must(where, f"a whole number from {least} to {most}", value)
        return value

    return parse


def _written(pattern: re.Pattern, allowed: str) -> Parser:
    def parse(where: str, value: Any) -> Any:
        if not isinstance(value, str) or not pattern.fullmatch(value):
            raise _must(where, allowed, value)
        return value

    return parse


def _list(of: Parser, make: Callable = tuple) -> Parser:
    def parse(where: str, value: Any) -> Any:
        if not isinstance(value, list):
            raise _must(where, "a list", value)
        return make(of(f"{where}[{i}]", x) for i, x in enumerate(value))

    return parse


def _object(make: Callable, **fields: Parser) -> Parser:
    """Return a parser of an object with just these fields, which are passed to `make` by their names."""

    def parse(where: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _must(where or "it", "an object", value)
        inside = f"{where}." if where else ""
        for name in fields.keys() - value.keys():
            raise UserError(f"{inside}{name} is missing")
        for name in value.keys() - fields.keys():
            raise UserError(
                f"{inside}{json.dumps(name)} is no field; allowed are {', '.join(fields)}"
            )
        return make(**{name: parser(inside + name, value[name]) for name, parser in fields.items()})

    return parse


def _named(of: Parser) -> Parser:
    def parse(where: str, value: Any) -> Any:
        if not isinstance(value, dict):
            raise _must(where, "an object", value)
        return {name: of(f"{where}[{json.dumps(name)}]", x) for name, x in value.items()}

    return parse


def _or_null(of: Parser) -> Parser:
    return lambda where, value: None if value is None else of(where, value)


def _index(where: str, value: Any) -> tuple[float, float]:
    if not isinstance(value, list) or len(value) != 2:
        raise _must(where, "null or a list of two numbers", value)
    low, high = (_count(f"{where}[{i}]", x) for i, x in enumerate(value))
    return low, high


def _statement(sizes, matched, free, bits, names, **others) -> Statement:
    """Return a statement. Raises UserError, naming the field, if its numbers don't fit together."""
    S, B = len(matched) + free, len(sizes)
    if not sizes:
        raise UserError("statement.sizes must have at least one size; got none")
    for i, block in enumerate(matched):
        if block >= B or sizes[block] <= 1:
            allowed = f"a block (from 0) of more than one of {B} blocks of teachers"
            raise _must(f"statement.matched[{i}]", allowed, block)
    count = len(matched) + S * B
    if not 0 < count <= MOST_PARAMETERS:
        raise UserError(
            f"statement.matched and free must be of an ansatz of 1 to {MOST_PARAMETERS} parameters; got "
            f"{count}"
        )
    lengths = {"readout": S, "teacher_readout": B, "centre": count}
    for name, length in lengths.items():
        if len(others[name]) != length:
            numbers = f"{length} numbers for {S} groups of students and {B} of teachers"
            raise UserError(f"statement.{name} must have {numbers}; got {len(others[name])}")
    s = Statement(sizes, matched, free, bits=bits, **others)
    if names != s.names:
        raise UserError(f"statement.names must be those of its blocks, {'; '.join(s.names)}")
    return s


def _parsed(odelandscape, **fields) -> Certificate:
    return Certificate(**fields)


_DYADIC = _written(DYADIC, 'text such as "3p-2" for 3·2⁻²')
_ENCLOSURE = _object(
    Enclosure,
    ball=_written(_BALL, 'text such as "[0.25 +/- 1e-9]"'),
    low=_number,
    high=_number,
)
_EIGENVALUES = _list(
    _object(Eigenvalue, value=_ENCLOSURE, multiplicity=_size, representation=_text)
)
_CERTIFICATE = _object(
    _parsed,
    odelandscape=_one_of("certificate"),
    verdict=_one_of(GLOBAL, MINIMUM, SADDLE, UNDECIDED, REFUTED),
    reason=_text,
    index=_or_null(_index),
    loss=_or_null(_ENCLOSURE),
    parameters=_named(_ENCLOSURE),
    eigenvalues=_EIGENVALUES,
    beyond=_EIGENVALUES,
    statement=_or_null(
        _object(
            _statement,
            sizes=_list(_size),
            matched=_list(_whole(0, MOST_PARAMETERS)),
            free=_whole(0, MOST_PARAMETERS),
            readout=_list(_number),
            teacher_readout=_list(_number),
            slope=_number,
            names=_list(_text),
            centre=_list(_DYADIC),
            radius=_written(
                re.compile(r"0*[1-9][0-9]{0,4199}p-?[0-9]{1,5}"), 'text such as "1p-80"'
            ),
            bits=_whole(2, MOST_BITS),
        )
    ),
)


def _without_repeats(pairs: list[tuple[str, object]]) -> dict:
    found = {}
    for name, value in pairs:
        if name in found:
            raise UserError(f"{json.dumps(name)} must be in an object once; got it twice")
        found[name] = value
    return found


def read_certificate(file: str | PathLike) -> Certificate:
    """Return what a saved certificate claims. Raises UserError, naming file and field, if it is none."""
    if not isinstance(file, str | PathLike):
        raise UserError(f"file must be the path of a certificate; got {type(file).__name__}")
    try:
        with Path(file).open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {str(file)!r}: {why}") from None
    return parse_certificate(content, str(file))


def parse_certificate(content: bytes, name: str) -> Certificate:
    """Return what a file of this content claims. Raises UserError, naming file and field, if it is no
    certificate."""
    try:
        if len(content) > _MOST_BYTES:
            raise UserError(f"it must have at most {_MOST_BYTES} bytes")
        record = json.loads(
            content.decode(),
            parse_int=lambda digits: int(digits) if len(digits) < 400 else math.inf,
            object_pairs_hook=_without_repeats,
        )
        return _CERTIFICATE("", record)
    except UserError as why:
        raise UserError(f"{name!r} isn't a certificate: {why}") from None
    except (ValueError, RecursionError) as why:
        raise UserError(f"{name!r} isn't a certificate: it must be JSON in UTF-8 ({why})") from None


def _ends(of: Enclosure) -> tuple[Fraction, Fraction]:
    """Return the ends of a ball in decimals, exactly."""
    exact, middle, radius = _BALL.fullmatch(of.ball).groups()  # pyright: ignore
    middle, radius = Fraction(exact or middle or 0), Fraction(radius or 0)
    return middle - radius, middle + radius


def _contains(claimed: Enclosure, proved: Enclosure) -> bool:
    (low, high), (least, most) = _ends(claimed), _ends(proved)
    return (
        low <= least and most <= high and claimed.low <= proved.low and proved.high <= claimed.high
    )


def _verdict_follows(claimed: Certificate, proved: Certificate) -> bool:
    if claimed.index is None:
        return claimed.verdict == proved.verdict == GLOBAL
    if proved.index is None:
        return False
    (low, high), (least, most) = claimed.index, proved.index
    if not low <= least <= most <= high:
        return False
    if claimed.verdict == GLOBAL:
        return proved.verdict == GLOBAL and low == 0
    return claimed.verdict == verdict_of(low, high)


def _unproved_eigenvalues(
    claimed: tuple[Eigenvalue, ...], proved: tuple[Eigenvalue, ...]
) -> list[str]:
    """Return what doesn't follow of all eigenvalues, ascending. On each representation they are compared one
    by one; those of different ones may overlap, and change places in narrower enclosures."""
    left = list(proved)
    lowest = -math.inf
    for row in claimed:
        narrower = next((x for x in left if x.representation == row.representation), None)
        if narrower is None or narrower.multiplicity != row.multiplicity:
            break
        if not _contains(row.value, narrower.value):
            return [
                f"{row.multiplicity:.17g} eigenvalues on {row.representation!r} in {row.value.whole()}"
            ]
        if narrower.value.high < lowest:
            return ["that its eigenvalues ascend"]
        lowest = max(lowest, narrower.value.low)
        left.remove(narrower)
    else:
        return ["that there are no other eigenvalues"] if left else []
    return [f"{row.multiplicity:.17g} eigenvalues on {row.representation!r}"]


def _values(certificate: Certificate) -> dict[str, Enclosure]:
    """Return the loss and the parameters, by their names."""
    loss = {} if certificate.loss is None else {"loss": certificate.loss}
    return loss | certificate.parameters


def _unproved(claimed: Certificate, proved: Certificate) -> list[str]:
    """Return those claims that a certificate of narrower enclosures doesn't imply."""
    if not _verdict_follows(claimed, proved):
        reason = f", {proved.reason}" if proved.reason else ""
        return [
            f"{claimed.verdict} of index {claimed.index_text}; proved is {proved.verdict} of index "
            f"{proved.index_text}{reason}"
        ]
    # Without an index only that the loss is 0 is claimed.
    if claimed.index is None:
        proved = replace(proved, parameters={}, eigenvalues=(), beyond=())
    values, narrower = _values(claimed), _values(proved)
    if values.keys() != narrower.keys():
        return ["other parameters than there are"]
    return [
        *(
            f"{name} in {x.whole()}"
            for name, x in values.items()
            if not _contains(x, narrower[name])
        ),
        *_unproved_eigenvalues(claimed.eigenvalues, proved.eigenvalues),
        *_unproved_eigenvalues(claimed.beyond, proved.beyond),
    ]


def prove_claims(claimed: Certificate, name: str) -> Certificate:
    """Prove again what a certificate claims; see `check_certificate`. `name`: of its file, for messages."""
    s = claimed.statement
    if s is None or claimed.loss is None:
        raise UserError(f"{name!r} proves nothing: its verdict is {claimed.verdict!r}")
    certificate = certify(s)
    # In a box within that one, whose enclosures are narrower than those claimed.
    with ctx.workprec(s.bits + 2 * _MORE_BITS):
        radius = to_dyadic(from_dyadic(s.radius) / _NARROWER)
        narrow = certify(s._replace(radius=radius, bits=s.bits + _MORE_BITS))
        alone = claimed.index is None or certificate.index is not None
        wrong = _unproved(claimed, narrow if alone else certificate)
    if wrong:
        raise UserError(f"{name!r} claims other than what is proved: {'; '.join(wrong)}")
    return certificate


def check_certificate(file: str | PathLike) -> Certificate:
    """Prove again what a saved certificate claims, from its statement alone, with more bits.

    Returns the certificate as proved now. Raises UserError if the file is no certificate, with the field that
    isn't one's and what is allowed; if it proves nothing; or if it claims what isn't proved: another verdict
    or index, or an enclosure that doesn't contain the one proved now.
    """
    return prove_claims(read_certificate(file), str(file))
