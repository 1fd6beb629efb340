"""`prove` and `check` under hostile input: each refusal is one line that names the argument or the file and
the field, what was given, and what is allowed."""

import functools
import json
import os
import re
from pathlib import Path

import equinox as eqx
import jax.numpy as jnp
import pytest
from hostile.commands import answer, refusal
from proofs.proved_points import family

import odelandscape as ol
from odelandscape.cli.check import say_cost

pytest.importorskip("flint")
pytestmark = pytest.mark.usefixtures("private_cache")


@pytest.fixture
def private_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("odelandscape.runtime.cache.keep_programs", lambda: None)
    monkeypatch.setattr("odelandscape.runtime.self_test.ensure_numbers", lambda: None)
    monkeypatch.chdir(tmp_path)


GOOD = (Path(__file__).parents[1] / "proofs" / "saddle-K6-M6.json").read_text(encoding="utf-8")


def changed(text: str, path: str, value: str) -> str:
    """A certificate with other text, JSON or not, in place of one value, the path to which has slashes."""
    record = json.loads(text)
    *outer, last = [int(key) if key.isdecimal() else key for key in path.split("/")]
    functools.reduce(lambda x, key: x[key], outer, record)[last] = "here"
    return json.dumps(record).replace('"here"', value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ("--bits 1", "--bits: got '1'; allowed: whole numbers from 2 to 10000"),
        ("--bits 10000000000000000000", "--bits: got '10000000000000000000'; allowed: whole"),
        ("--bits 1000000", "from 2 to 10000"),
        (f"--bits {'9' * 5000}", "from 2 to 10000"),
        ("--bits 1e3", "from 2 to 10000"),
        ("--activation erf", "activation must be ReLU or LeakyReLU for a proof; got Erf"),
        ("--anti-aligned -1", "--anti-aligned: got '-1'"),
        ("--anti-aligned 7", "anti_aligned must be"),
        ("--slope 0.1", "slope"),
        ("-K 10000", "-K: got 10000 students for 6 teachers; allowed for a proof: up to M + 64"),
    ],
)
def test_what_cannot_be_proved_is_refused_before_a_search(arguments, words, monkeypatch):
    def searched(*_args, **_options):
        raise AssertionError("a search has begun")

    if "anti-aligned 7" not in arguments:
        monkeypatch.setattr("odelandscape.cli.prove.find_families", searched)
    line = refusal("prove", "-K", "6", "-M", "6", *arguments.split())
    assert words in line
    assert not list(Path.cwd().glob("prove-*/*.json"))


NUMBER = "must be a number from -1e+100 to 1e+100; got"
BALL = 'must be text such as "[0.25 +/- 1e-9]"; got'


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("odelandscape", '"sweep"', 'odelandscape must be "certificate"; got "sweep"'),
        ("verdict", "null", "verdict must be"),
        ("verdict", '"Minimum\\u2028\\ud800"', "verdict must be"),
        ("reason", "7", "reason must be text; got 7"),
        ("index", "[]", "index must be null or a list of two numbers; got a list"),
        ("index/0", "-1", "index[0] must be a number from 0 to 1e+100; got -1"),
        ("loss", "1.5", "loss must be an object; got 1.5"),
        ("loss/ball", "true", f"loss.ball {BALL} true"),
        ("loss/ball", '"nan"', f'loss.ball {BALL} "nan"'),
        ("loss/ball", '"[0.1 +/- inf]"', f"loss.ball {BALL}"),
        ("loss/ball", '"[0.1 +/- 1e-999999999]"', f"loss.ball {BALL}"),
        ("loss/low", "1e400", f"loss.low {NUMBER} Infinity"),
        ("loss/high", "NaN", f"loss.high {NUMBER} NaN"),
        ("loss/high", '"0.1"', f'loss.high {NUMBER} "0.1"'),
        (
            "parameters/block 0, diagonal",
            "[]",
            'parameters["block 0, diagonal"] must be an object; got a list',
        ),
        ("eigenvalues/0/multiplicity", "0", "eigenvalues[0].multiplicity must be a number above 0"),
        (
            "eigenvalues/0/representation",
            "[1]",
            "eigenvalues[0].representation must be text; got a list",
        ),
        ("statement/slope", "1e400", f"statement.slope {NUMBER} Infinity"),
        ("statement/slope", "null", f"statement.slope {NUMBER} null"),
        ("statement/slope", "true", f"statement.slope {NUMBER} true"),
        ("statement/slope", '"0"', f'statement.slope {NUMBER} "0"'),
        ("statement/free", "1.0", "statement.free must be a whole number from 0 to 400; got 1.0"),
        ("statement/free", "1e9", "statement.free must be a whole number from 0 to 400"),
        ("statement/free", "9" * 5000, "statement.free must be a whole number from 0 to 400"),
        ("statement/free", "2", "statement.readout must have 4 numbers"),
        ("statement/sizes/0", "-5.0", "statement.sizes[0] must be a number above 0"),
        ("statement/matched/0", "7", "statement.matched[0] must be a block (from 0)"),
        (
            "statement/matched/0",
            "-1",
            "statement.matched[0] must be a whole number from 0 to 400; got -1",
        ),
        ("statement/names/0", '"a"', "statement.names must be those of its blocks"),
        (
            "statement/centre/0",
            '"x"',
            'statement.centre[0] must be text such as "3p-2" for 3·2⁻²; got "x"',
        ),
        ("statement/centre/0", '"1p999999999"', "statement.centre[0] must be text such as"),
        ("statement/radius", '"0p0"', "statement.radius must be text such as"),
        ("statement/radius", '"-1p-80"', "statement.radius must be text such as"),
        (
            "statement/bits",
            "1000000",
            "statement.bits must be a whole number from 2 to 10000; got 1000000",
        ),
        (
            "statement/bits",
            "128.0",
            "statement.bits must be a whole number from 2 to 10000; got 128.0",
        ),
        ("statement/bits", '128, "more": 0', 'statement."more" is no field'),
        ("statement/bits", '128, "bits": 64', '"bits" must be in an object once; got it twice'),
        ("statement/slope", '0.0, "slopes": 0', 'statement."slopes" is no field'),
    ],
)
def test_a_field_that_is_none_is_named(field, value, words, tmp_path):
    file = tmp_path / "file.json"
    file.write_text(changed(GOOD, field, value), encoding="utf-8")
    line = refusal("check", str(file))
    assert "argument FILE: " in line
    assert f"{str(file)!r} isn't a certificate: " in line
    assert words in line
    assert len(line) < 700


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it must be JSON in UTF-8"),
        (b"hello", "it must be JSON in UTF-8"),
        (bytes(range(256)), "it must be JSON in UTF-8"),
        ("{}".encode("utf-16"), "it must be JSON in UTF-8"),
        (b"[" * 100_000, "it must be JSON in UTF-8"),
        (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, "it must be JSON in UTF-8"),
        (b"[1, 2]", "it must be an object; got a list"),
        (b"null", "it must be an object; got null"),
        (b"9" * 100_000, "it must be an object; got Infinity"),
        (b"{}", "is missing"),
        (b'{"odelandscape": "certificate"}', "is missing"),
    ],
)
def test_a_file_that_is_no_certificate_is_named(content, words, tmp_path):
    file = tmp_path / "é\u2028 file.json"
    file.write_bytes(content)
    line = refusal("check", str(file))
    assert "isn't a certificate: " in line
    assert words in line
    assert "file.json" in line


def test_files_that_cannot_be_read_are_named(tmp_path):
    assert "cannot read 'nope.json': No such file" in refusal("check", "nope.json")
    assert f"cannot read {str(tmp_path)!r}: Is a directory" in refusal("check", str(tmp_path))
    with (tmp_path / "huge.json").open("wb") as file:
        os.truncate(file.fileno(), 10**11)  # sparse
    assert "it must have at most 16777216 bytes" in refusal("check", "huge.json")


def test_of_several_files_each_has_its_line(tmp_path):
    (tmp_path / "good.json").write_text(GOOD, encoding="utf-8")
    (tmp_path / "false.json").write_text(
        changed(GOOD, "verdict", '"local minimum"'), encoding="utf-8"
    )
    given = ("nope.json", "good.json", "false.json", "good.json")
    found = answer("check", *given)
    assert found.code == 2
    assert found.out.splitlines() == 2 * [found.out.splitlines()[0]]
    assert found.out.startswith("good.json: proved, saddle with loss [0.0438846441662147")
    first, second = found.err.splitlines()
    assert "cannot read 'nope.json'" in first
    assert (
        "'false.json' claims other than what is proved: local minimum of index 4; proved is saddle"
        in second
    )
    assert answer("check", "good.json", "good.json").code == 0


@pytest.mark.slow
def test_what_was_not_proved_is_said_to_prove_nothing(tmp_path):
    ol.prove(family(6, 1), bits=8).save(tmp_path / "none.json")
    assert "'none.json' proves nothing: its verdict is 'undecided'" in refusal("check", "none.json")


@pytest.mark.slow
def test_options_carry_through_to_the_certificate():
    """The slope is in each certificate, and what is printed is what is written."""
    options = "-K 6 -M 6 --anti-aligned 1 --activation leaky-relu --slope 0.05 --bits 64"
    found = answer("prove", *options.split(), "--json", "--quiet", "--out", "here")
    assert (found.code, found.err) == (0, "")
    (one,) = json.loads(found.out).values()
    assert one["statement"]["slope"] == 0.05
    assert one["statement"]["bits"] == 64
    (file,) = Path("here").glob("*.json")
    assert json.loads(file.read_text(encoding="utf-8")) == one
    assert answer("check", str(file)).code == 0


def test_the_sign_of_a_proved_eigenvalue_is_visible():
    """α = 1 at K = 6: 0.0047, of which 30 bits leave no certain digit."""
    found = answer(*"prove -K 6 -M 6 --anti-aligned 1 --bits 30 --quiet --out here".split())
    assert "local minimum" in found.out
    assert "[+/-" not in found.out


def test_the_cost_is_said_first(capsys):
    say_cost("proving", [5], 128)
    assert capsys.readouterr().err == ""
    say_cost("proving", [100, 100], 4096)
    assert re.fullmatch(
        r"proving with 4096 bits: about \d+ (minutes|seconds)\n", capsys.readouterr().err
    )


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("prover", [ol.prove, lambda x: ol.prove_between(family(6, 1), x)])
def test_only_fixed_points_can_be_proved(prover):
    """Weights, arrays, block points and classes are refused with what to give instead."""
    point = family(6, 1)
    others = (
        point.weights,
        point.z,
        point.ansatz_point,
        point.ansatz,
        point.overlaps,
        None,
        "x",
        5,
    )
    for wrong in (*others, ol.ReLU, [point], ol.family):
        with pytest.raises(
            ol.UserError, match=r"^(point|end) must be a fixed point in a block ansatz"
        ):
            prover(wrong)
    for z, residual in ((point.z + 0.1, 0.3), (point.z * jnp.nan, 0.0), (point.z, jnp.nan)):
        moved = eqx.tree_at(lambda p: (p.z, p.residual), point, (z, jnp.asarray(residual)))
        with pytest.raises(ol.UserError, match=r"^(point|end) must .* has converged; got one with"):
            prover(moved)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("bits", [1, -5, 10_001, 10**19, True, 53.0, "53", None, jnp.nan])
def test_bits_are_a_whole_number_that_is_not_too_large(bits):
    point = family(6, 1)
    for prover in (ol.prove, lambda *given: ol.prove_between(point, *given)):
        with pytest.raises(
            ol.UserError, match=r"^bits must be a whole number (of at least|from) 2"
        ):
            prover(point, bits)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("file", [None, 5, ["a.json"], {}, b"a.json", "nope.json", "a\0b", "."])
def test_check_certificate_takes_a_path(file):
    with pytest.raises(ol.UserError, match=r"^(file must be the path|cannot read)"):
        ol.check_certificate(file)


def test_a_certificate_that_cannot_be_written_is_said_so(tmp_path):
    certificate = ol.prove(family(6, 1))
    for place in (tmp_path / "none" / "a.json", tmp_path):
        with pytest.raises(ol.OperationError, match="cannot write the certificate"):
            certificate.save(place)


def test_an_interruption_keeps_the_certificates_so_far(tmp_path, monkeypatch):
    """Each may have taken hours."""
    prove, done = ol.prove, []

    def once(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(prove(*arguments))
        return done[0]

    monkeypatch.setattr(ol, "prove", once)
    monkeypatch.setattr("odelandscape.cli.prove.find_families", two_families)
    found = answer("prove", *"-K 3 -M 3 --quiet --out".split(), str(tmp_path / "out"))
    assert (found.code, found.out) == (130, "")
    assert "certificates so far are kept in" in found.err
    kept = {path.name for path in (tmp_path / "out").iterdir()}
    assert kept == {"teacher-0.json", "proofs.txt"}
    assert "1 of 2 families" in (tmp_path / "out" / "proofs.txt").read_text()


def two_families(args, problem):
    return [ol.fixed_point(problem, ol.family(problem, 0)) for _ in range(2)]
