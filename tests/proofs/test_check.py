"""Certificates as files: proved again, and refused where they claim too much."""

import json
from pathlib import Path

import pytest
from proofs.proved_points import exchanged, family, fifty_digit_loss

import odelandscape as ol
from odelandscape.cli.main import main
from odelandscape.proofs.balls import arb
from odelandscape.proofs.statement import to_dyadic


@pytest.fixture
def file(tmp_path):
    ol.prove(family(8, 2)).save(tmp_path / "two.json")
    return tmp_path / "two.json"


def test_a_certificate_is_proved_again(file):
    again = ol.check_certificate(file)
    assert again.verdict == "local minimum"
    assert again.as_json() == json.loads(file.read_text(encoding="utf-8"))


def test_a_certificate_of_an_earlier_version_is_proved_again():
    file = Path(__file__).parent / "saddle-K6-M6.json"
    record = json.loads(file.read_text(encoding="utf-8"))
    again = ol.check_certificate(file)
    assert again.verdict == record["verdict"] == "saddle"
    assert list(again.index) == record["index"]
    assert again.as_json().keys() == record.keys()


@pytest.mark.parametrize("parts", [(0.5, 0.5), (0.25, 0.75), (1.0, 0.0)])
def test_a_global_minimum_with_surplus_students_is_proved_to_be_one(parts, tmp_path):
    point = exchanged(*parts)
    assert abs(fifty_digit_loss(point)) < 1e-45
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("global minimum", None)
    assert certificate.loss.low <= 0 <= certificate.loss.high
    assert certificate.proved
    assert certificate.in_any_dimension
    certificate.save(tmp_path / "one.json")
    assert ol.check_certificate(tmp_path / "one.json") == certificate
    record = json.loads((tmp_path / "one.json").read_text())
    record["statement"]["centre"][-1] = to_dyadic(arb(0.5) + arb(2) ** -40)
    (tmp_path / "other.json").write_text(json.dumps(record))
    with pytest.raises(ValueError, match="claims other than what is proved"):
        ol.check_certificate(tmp_path / "other.json")


def _eigenvalue(record):
    record["eigenvalues"][0]["value"]["ball"] = "[0.0047 +/- 1e-9]"


def _narrow(record):
    record["eigenvalues"][0]["value"]["ball"] = record["eigenvalues"][0]["value"]["ball"].replace(
        "e-2", "e-3"
    )


def _loss(record):
    record["loss"]["high"] = record["loss"]["low"]


def _index(record):
    record["index"] = [1.0, 1.0]


def _verdict(record):
    record["verdict"] = "saddle"


def _multiplicity(record):
    record["eigenvalues"][0]["multiplicity"] += 1e-9


def _missing(record):
    record["eigenvalues"] = record["eigenvalues"][:-1]


def _parameter(record):
    name = next(iter(record["parameters"]))
    record["parameters"][name]["ball"] = "[1.0 +/- 1e-9]"


def _size(record):
    record["statement"]["sizes"] = [7.0, 2.0]


def _centre(record):
    man, exp = record["statement"]["centre"][0].split("p")
    record["statement"]["centre"][0] = f"{int(man) + 2**80}p{exp}"


@pytest.mark.parametrize(
    "change",
    [
        _eigenvalue,
        _narrow,
        _loss,
        _index,
        _verdict,
        _multiplicity,
        _missing,
        _parameter,
        _size,
        _centre,
    ],
)
def test_a_certificate_that_claims_too_much_is_refused(file, change):
    record = json.loads(file.read_text(encoding="utf-8"))
    change(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    with pytest.raises(ValueError, match="claims other than what is proved"):
        ol.check_certificate(file)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"odelandscape": "sweep"}', '{"odelandscape": "certificate"}', "[1]"]
)
def test_other_files_are_no_certificates(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="isn't a certificate"):
        ol.check_certificate(file)


def test_a_statement_that_does_not_fit_together_is_no_certificate(file):
    record = json.loads(file.read_text(encoding="utf-8"))
    for change in (
        {"matched": [0, 7]},
        {"free": -1},
        {"sizes": [4.0]},
        {"bits": 0},
        {"radius": "x"},
    ):
        wrong = record | {"statement": record["statement"] | change}
        file.write_text(json.dumps(wrong), encoding="utf-8")
        with pytest.raises(ValueError, match="isn't a certificate"):
            ol.check_certificate(file)


def test_an_unproved_certificate_proves_nothing(tmp_path):
    ol.prove(family(8, 2), bits=8).save(tmp_path / "none.json")
    with pytest.raises(ValueError, match="proves nothing"):
        ol.check_certificate(tmp_path / "none.json")


def test_the_commands_prove_and_check(tmp_path, capsys):
    out = tmp_path / "proofs"
    command = ["prove", "-K", "8", "-M", "8", "--anti-aligned", "2", "--out", str(out), "--quiet"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "1 of 1 families proved" in text
    assert "local minimum" in text
    assert (out / "proofs.txt").read_text(encoding="utf-8") == text
    (file,) = out.glob("*.json")
    assert main([*command, "--json"]) == 0
    (certificate,) = json.loads(capsys.readouterr().out).values()
    assert certificate == json.loads(file.read_text(encoding="utf-8"))
    assert main(["check", str(file)]) == 0
    assert "proved, local minimum" in capsys.readouterr().out
    record = json.loads(file.read_text(encoding="utf-8"))
    _verdict(record)
    file.write_text(json.dumps(record), encoding="utf-8")
    assert main(["check", str(file)]) == 2
    assert "claims other than what is proved" in capsys.readouterr().err
