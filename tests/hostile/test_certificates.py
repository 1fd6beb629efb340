"""Certificates that were tampered with: any change of any field is refused, or the certificate is still true.

The kind: a claim in a file that `check` passes over. Every leaf of true certificates is changed, by the last
digit, the sign, the type, and by what stands beside it; objects and lists lose, gain and exchange members.
What `check` accepts is compared with the fixed point in more bits.

No claims are (`docs/certificates.md`): `reason`, which is a remark, and `statement.bits`, which is how the
proof is computed again. The rest of `statement` is what the claims are about: another box that holds the
fixed point, or numbers of the network that differ by less than the box is wide, make another true statement.
"""

import copy
import functools
import itertools
import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from proofs.proved_points import exchanged, family

import odelandscape as ol
from odelandscape.landscape.fixed_points import solve
from odelandscape.proofs import check

NOT_CLAIMS = {("reason",), ("statement", "bits")}


class Case(NamedTuple):
    """A true certificate's JSON, the same fixed point in more bits, and the lengths of its directions."""

    record: dict
    truth: dict | None
    lengths: list[float]


def narrow_point(sizes):
    """K = M + 1: a stable point in a block of `sizes[0]` teachers and one more, two students free."""
    problem = ol.Problem(sum(sizes) + 1, sum(sizes))
    return ol.fixed_point(problem, ol.family(problem, 2, "split student"))


def at_width(width):
    """α = 2 at a width that isn't whole."""
    near = family(6, 2)
    return solve(near.ansatz.replace(sizes=jnp.array([width - 2, 2.0])), near.z)


POINTS = {
    "a minimum": (lambda: family(6, 1), 128),
    "a saddle": (lambda: family(6, 2), 64),
    "the teacher": (lambda: family(5, 0), 128),
    "the teacher, one student too many": (exchanged, 128),
    "one student too many": (lambda: narrow_point((16, 1)), 128),
    "a width that isn't whole": (lambda: at_width(5.3), 48),
    "many bits": (lambda: family(6, 1), 1100),
}
QUICK = {"a minimum": 13, "the teacher, one student too many": 3}  # one in how many changes


@functools.cache
def case(name: str) -> Case:
    make, bits = POINTS[name]
    point = make()
    certificate = ol.prove(point, bits)
    assert certificate.proved
    finer = ol.prove(point, 2 * bits + 128)
    students, blocks = point.ansatz.student_sizes.tolist(), point.ansatz.sizes.tolist()
    lengths = []
    for s, n in enumerate(students):
        for b, size in enumerate(blocks):
            lengths.append(math.sqrt(n * size))
            if s < len(point.ansatz.matched) and point.ansatz.matched[s] == b:
                lengths.append(math.sqrt(size))
    return Case(certificate.as_json(), finer.as_json(), lengths)


@pytest.fixture
def accepted(monkeypatch):
    """Whether `check` accepts a record. A statement is proved once, however often claims about it change."""
    monkeypatch.setattr(check, "certify", functools.cache(check.certify))

    def run(record) -> bool:
        try:
            claimed = check.parse_certificate(json.dumps(record).encode(), "changed.json")
            check.prove_claims(claimed, "changed.json")
        except ol.UserError as error:
            line = str(error)
        else:
            return True
        assert line.startswith("'changed.json' ")
        assert len(line.splitlines()) == 1
        return False

    return run


def ends(ball):
    middle, _, radius = ball.strip("[]").rpartition("+/-") if "+/-" in ball else (ball, "", "0")
    middle, radius = Fraction(middle.strip() or 0), Fraction(radius.strip())
    return middle - radius, middle + radius


def holds(claimed, true):
    (a, b), (x, y) = ends(claimed["ball"]), ends(true["ball"])
    return a <= x <= y <= b and claimed["low"] <= true["low"] <= true["high"] <= claimed["high"]


def exact(dyadic):
    mantissa, exponent = map(int, dyadic.split("p"))
    return mantissa * Fraction(2) ** exponent


def same_statement(changed, case) -> bool:
    """Whether a statement's box holds the finer one's centre, and its other numbers are those given, to less
    than the box is wide."""
    given, true = case.record["statement"], case.truth["statement"]
    radius = exact(changed["radius"])
    for name in ("sizes", "readout", "teacher_readout", "slope"):
        a, b = (x if isinstance(x, list) else [x] for x in (changed[name], given[name]))
        if any(abs(Fraction(x) - Fraction(y)) > radius for x, y in zip(a, b, strict=True)):
            return False
    if any(changed[name] != given[name] for name in ("matched", "free", "names")):
        return False
    return all(
        abs(exact(a) - exact(b)) * Fraction(length) <= radius
        for a, b, length in zip(changed["centre"], true["centre"], case.lengths, strict=True)
    )


def is_the_teacher(statement: dict) -> bool:
    """Whether students at the centre of a box have the teacher's output for a hundred inputs."""
    sizes, matched = [int(x) for x in statement["sizes"]], statement["matched"]
    if sizes != statement["sizes"] or min(sizes) < 1:
        return False
    begins = np.cumsum([0, *sizes])
    rest = iter([float(exact(x)) for x in statement["centre"]])
    student_rows, readouts = [], []
    for s, readout in enumerate(statement["readout"]):
        block = matched[s] if s < len(matched) else None
        rows = np.zeros((sizes[block] if block is not None else 1, sum(sizes)))
        for b in range(len(sizes)):
            rows[:, begins[b] : begins[b + 1]] = next(rest)
            if b == block:
                rows[:, begins[b] : begins[b + 1]] += next(rest) * np.eye(sizes[b])
        student_rows.append(rows)
        readouts += len(rows) * [readout]
    x = np.random.default_rng(0).standard_normal((100, sum(sizes)))
    student, teacher = x @ np.concatenate(student_rows).T, x
    student, teacher = (np.where(u < 0, statement["slope"] * u, u) for u in (student, teacher))
    teacher = teacher @ np.repeat(statement["teacher_readout"], sizes)
    return bool(np.abs(student @ readouts - teacher).max() < 1e-9)


def still_true(changed: dict, case: Case) -> bool:
    """Whether all claims of a changed certificate hold of the fixed point in more bits."""
    true = case.truth
    if changed.keys() != true.keys() or changed["odelandscape"] != "certificate":
        return False
    if not holds(changed["loss"], true["loss"]):
        return False
    if changed["index"] is None:
        nothing_more = not any(changed[name] for name in ("parameters", "eigenvalues", "beyond"))
        is_global = changed["verdict"] == true["verdict"] == "global minimum"
        return nothing_more and is_global and is_the_teacher(changed["statement"])
    if not same_statement(changed["statement"], case):
        return False
    (low, high), (least, most) = changed["index"], true["index"]
    minima = {true["verdict"], "local minimum"}  # a global minimum that is alone is a local one
    verdicts = {"saddle"} if low > 0 else minima if most == 0 else {"undecided"}
    if not low <= least <= most <= high or changed["verdict"] not in verdicts:
        return False
    if changed["parameters"].keys() != true["parameters"].keys():
        return False
    pairs = [(x, true["parameters"][name]) for name, x in changed["parameters"].items()]
    for name in ("eigenvalues", "beyond"):
        if len(changed[name]) != len(true[name]):
            return False
        # On each representation one by one; those of different ones may overlap and change places.
        rows = [sorted(x[name], key=lambda row: row["representation"]) for x in (changed, true)]
        for a, b in zip(*rows, strict=True):
            if (a["multiplicity"], a["representation"]) != (b["multiplicity"], b["representation"]):
                return False
            pairs.append((a["value"], b["value"]))
    return all(holds(a, b) for a, b in pairs)


def nodes(x, path=()) -> Iterator[tuple]:
    yield path
    members = x.items() if isinstance(x, dict) else enumerate(x) if isinstance(x, list) else ()
    for key, value in members:
        yield from nodes(value, (*path, key))


def at(record, path):
    return functools.reduce(lambda x, key: x[key], path, record)


def replaced(record, path, value):
    changed = copy.deepcopy(record)
    if not path:
        return value
    at(changed, path[:-1])[path[-1]] = value
    return changed


def other_digits(text: str) -> Iterator[str]:
    """Text with another digit at its begin, its last places and its exponent, another sign, and cut."""
    places = [i for i, c in enumerate(text) if c.isdecimal()]
    for i in {*places[:1], *places[-1:], *places[len(places) // 2 :][:1]}:
        for step in (1, 9):
            yield text[:i] + str((int(text[i]) + step) % 10) + text[i + 1 :]
    yield text.replace("-", "", 1) if "-" in text else text.replace("[", "[-").replace("p", "p-")
    yield from (f"-{text}", text.replace("e-", "e-1"), text[:-1], text[::-1])


def other_values(x) -> Iterator:
    """What a member of a certificate may be changed to."""
    yield from (None, True, "", "x", [], {}, [x], {"x": x}, math.nan, math.inf)
    if isinstance(x, bool) or x is None:
        return
    if isinstance(x, int | float):
        yield from (math.nextafter(x, math.inf), math.nextafter(x, -math.inf), -x, x + 1, str(x))
        yield from (x * 2, 0, 10**400)
    elif isinstance(x, str):
        yield from (x + " ", x.upper(), "global minimum", "local minimum", "saddle", "refuted")
        yield from other_digits(x)
    elif isinstance(x, list):
        yield from (x[:-1], [*x, *x[-1:]], x[::-1], [*x[1:2], *x[:1], *x[2:]])
    else:
        yield from ({k: x[k] for k in x if k != name} for name in x)
        yield {**x, "more": 1}
        names = list(x)
        for a, b in itertools.pairwise(names):
            yield {**x, a: x[b], b: x[a]}


def is_claim(path) -> bool:
    return path not in NOT_CLAIMS


def check_changes(name, accepted, every: int):
    """Check one in `every` of all changes of a certificate."""
    one = case(name)
    assert accepted(one.record)
    assert still_true(one.record, one)
    passed = set()
    changes = [(path, x) for path in nodes(one.record) for x in other_values(at(one.record, path))]
    assert len(changes) > 300
    for path, value in changes[::every]:
        changed = replaced(one.record, path, value)
        if accepted(changed):
            passed.add(path)
            assert not is_claim(path) or still_true(changed, one), (path, value)
    assert every > 1 or passed == passed | NOT_CLAIMS  # the walk meets what is no claim, too


@pytest.mark.parametrize(
    "name",
    [pytest.param("a minimum", marks=pytest.mark.slow), "the teacher, one student too many"],
)
def test_a_change_is_refused_or_harmless(name, accepted):
    check_changes(name, accepted, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", POINTS)
def test_any_change_is_refused_or_harmless(name, accepted):
    check_changes(name, accepted, 1)


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(
    max_examples=50,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_json_in_place_of_any_field_is_refused_or_harmless(data, accepted):
    one = case("a minimum")
    path = data.draw(st.sampled_from(list(nodes(one.record))))
    changed = replaced(one.record, path, data.draw(JSON_VALUES))
    assert not accepted(changed) or not is_claim(path) or still_true(changed, one)


def test_names_that_change_places_in_both_lists_are_refused(accepted):
    """Names follow from the blocks: exchanged in the statement and in the parameters they agree with each
    other, and with no ansatz."""
    record = copy.deepcopy(case("a minimum").record)
    names = record["statement"]["names"]
    a, b = names[:2]
    names[0], names[1] = b, a
    values = record["parameters"]
    record["parameters"] = {**values, a: values[b], b: values[a]}
    assert not accepted(record)


@pytest.mark.parametrize("change", ["larger", "shifted"])
def test_a_box_in_which_uniqueness_is_not_proved_is_refused(change, accepted):
    """Enclosures in a narrower box say nothing of a box that may hold other fixed points."""
    record = copy.deepcopy(case("a minimum").record)
    statement = record["statement"]
    if change == "larger":
        statement["radius"] = "1p-2"
    else:
        statement["centre"][0] = statement["centre"][0].replace("p", "1p")
    assert not accepted(record)


def test_the_teacher_in_a_box_that_is_too_large_is_refused(accepted):
    """The loss is 0 in it, which says that the point is a global minimum, not that it is alone."""
    one = ol.prove(family(5, 0)).as_json()
    assert accepted(one)
    one["statement"]["radius"] = "1p-1"
    assert not accepted(one)


def test_real_multiplicities_are_exact(accepted):
    """At K = 5.3 = 3.3 + 2 the index is 1 + (3.3 − 1), to the last bit of a float at any bits."""
    point = at_width(5.3)
    first = Fraction(float(point.ansatz.sizes[0]))
    for bits in (48, 53, 128):
        certificate = ol.prove(point, bits)
        assert certificate.verdict == "saddle"
        assert certificate.index == (float(first), float(first))
        assert accepted(certificate.as_json())
        counts = {row.representation: row.multiplicity for row in certificate.eigenvalues}
        assert counts["standard 0"] == float(first - 1)
        assert counts["Λ² 0"] == float((first - 1) * (first - 2) / 2)
