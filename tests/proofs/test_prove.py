"""Proofs against 50-digit numbers, autodiff, and everything that must not be proved."""

import importlib
import json
import sys

import equinox as eqx
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.cli.main import main
from odelandscape.proofs import ball_loss, balls, prove
from odelandscape.proofs.balls import arb, arb_mat, ctx
from odelandscape.proofs.certificate import ball as exact_ball
from odelandscape.proofs.certificate import exact


def family(K, alpha, branch="compensated", activation=None):
    problem = ol.Problem(K, K, activation or ol.ReLU())
    return ol.fixed_point(problem, ol.family(problem, alpha, branch))


def ball(enclosure):
    with ctx.workprec(300):
        return arb(enclosure.ball)


# --- 50 digits --------------------------------------------------------------------------------


def loss(W, teachers):
    """Of rows of mpmath numbers, by the arc-cosine kernel."""
    rows = [(1, w) for w in W] + [(-1, w) for w in teachers]

    def f(u, v):
        dot, a, b = mp.fdot(u, v), mp.norm(u), mp.norm(v)
        theta = mp.acos(max(min(dot / (a * b), mp.mpf(1)), mp.mpf(-1)))
        return a * b / (2 * mp.pi) * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta))

    return sum(a * b * f(u, v) for a, u in rows for b, v in rows) / 2


def students(K, z):
    """Of the family α = 1: K − 1 aligned students and one alone, from its five parameters."""
    diagonal, a, b, c, d = z
    W = [[diagonal if i == j else a for j in range(K - 1)] + [b] for i in range(K - 1)]
    return [*W, [c] * (K - 1) + [d]]


@pytest.fixture(scope="module")
def fifty():
    """K = M = 4, α = 1: the point, by Newton's method on numerical derivatives, its loss and its Hessian."""
    K, point = 4, family(4, 1)
    certificate = ol.prove(point)
    with mp.workdps(80):
        teachers = [[mp.mpf(i == j) for j in range(K)] for i in range(K)]

        def reduced(*z):
            return loss(students(K, z), teachers)

        def slope(k, z, h=mp.mpf(10) ** -25):
            up, down = ([x + s * h * (i == k) for i, x in enumerate(z)] for s in (1, -1))
            return (reduced(*up) - reduced(*down)) / (2 * h)

        start = [mp.mpf(float(x)) for x in point.z]
        z = mp.findroot(lambda *z: [slope(k, z) for k in range(5)], start, tol=1e-50)
        z = list(z)
        W = [x for row in students(K, z) for x in row]
        h, n = mp.mpf(10) ** -20, K * K

        def at(*moves):
            x = list(W)
            for i, s in moves:
                x[i] += s * h
            return loss([x[K * i : K * i + K] for i in range(K)], teachers)

        H = mp.matrix(n, n)
        for i in range(n):
            for j in range(i + 1):
                corners = sum(s * t * at((i, s), (j, t)) for s in (1, -1) for t in (1, -1))
                H[i, j] = H[j, i] = corners / (4 * h * h)
        values = sorted(mp.eigsy(H, eigvals_only=True))
        return certificate, z, reduced(*z), values


def holds(enclosure, value, error):
    """Whether a ball holds a number known to `error`."""
    with ctx.workprec(300):
        exact = arb(mp.nstr(value, 60)) + arb(0, error)
        return ball(enclosure).overlaps(exact)


def test_the_enclosures_hold_fifty_digits(fifty):
    certificate, z, value, eigenvalues = fifty
    assert certificate.verdict == "saddle"
    with mp.workdps(80):
        for told, x in zip(certificate.parameters.values(), z, strict=True):
            assert holds(told, x, 1e-45)
            assert ball(told).rad() < 1e-30
        assert holds(certificate.loss, value, 1e-50)
        assert ball(certificate.loss).rad() < 1e-28
        told = [row for row in certificate.eigenvalues for _ in range(round(row.multiplicity))]
        assert len(told) == len(eigenvalues) == 16
        for row, x in zip(told, eigenvalues, strict=True):
            assert holds(row.value, x, 1e-35)
            assert row.value.low < x < row.value.high
            assert ball(row.value).rad() < 1e-19


# --- autodiff ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("K", "alpha", "branch", "activation"),
    [
        (6, 1, "compensated", None),
        (6, 2, "compensated", None),
        (5, 3, "hidden", None),
        pytest.param(7, 5, "hidden", None, marks=pytest.mark.slow),
        pytest.param(9, 2, "compensated", ol.LeakyReLU(0.05), marks=pytest.mark.slow),
    ],
)
def test_the_spectrum_is_that_of_autodiff(K, alpha, branch, activation):
    point = family(K, alpha, branch, activation)
    certificate = ol.prove(point)
    assert certificate.proved
    problem = ol.Problem(K, K, activation or ol.ReLU())
    # Dense, in the full weights of one more dimension.
    W = jnp.pad(point.weights.W, ((0, 0), (0, 1)))
    truth = ol.spectrum(problem, ol.Weights(W, point.weights.v), K + 1)
    wanted = np.repeat(truth.eigenvalues, truth.multiplicities.astype(int))
    rows = [*certificate.eigenvalues, *certificate.beyond]
    told = np.sort([row.value.low for row in rows for _ in range(round(row.multiplicity))])
    np.testing.assert_allclose(told, wanted, atol=3e-9)  # equal ones are told by their mean
    assert sum(row.multiplicity for row in certificate.eigenvalues) == K * K
    assert certificate.loss.low <= float(point.loss) + 1e-15
    assert certificate.loss.high >= float(point.loss) - 1e-15
    negative = int((wanted < 0).sum())
    assert certificate.index[0] <= negative
    assert (certificate.verdict == "saddle") == (truth.smallest < 0)


def test_where_students_coincide_with_teachers_the_minimum_is_proved():
    (point,) = ol.families(ol.Problem(5, 5), anti_aligned=0)
    certificate = ol.prove(point)
    assert certificate.verdict == "local minimum"
    assert certificate.in_any_dimension
    # At the teacher, angles are 0 and 90°: λ of Λ² is 1/4 − 1/2π, in the limit of any K.
    smallest = ball(certificate.eigenvalues[0].value)
    with ctx.workprec(200):
        assert smallest.overlaps(arb(1) / 4 - 1 / (2 * arb.pi()))
    assert ball(certificate.loss).contains(0)


def test_coincident_units_have_the_limits_of_close_ones():
    """Second derivatives at an angle of 0 lie in a ball that holds those at small angles."""

    def point(tilt):
        with ctx.workprec(128):
            const = [[arb(0), arb(0)], [tilt, arb(1)]]
            students = ball_loss.Rows(const, [arb(1), 0])
            one = [arb(1), arb(1)]
            made = ball_loss.Point([arb(3), arb(1)], (0,), 1, students, one, one, arb(0))
            there = [x for x in made.splits if x.component.dimension([3, 1]) > 0]
            return [made.hessian(split) for split in there]

    with ctx.workprec(128):
        around = point(arb(0, 1e-9))
        for tilt in (arb(0), arb(1e-12), arb(-1e-9)):
            for wide, narrow in zip(around, point(tilt), strict=True):
                for a, b in zip(wide.entries(), narrow.entries(), strict=True):
                    assert a.overlaps(b)
                    assert float(a.rad()) < 1e-6


@pytest.mark.slow
def test_a_family_with_a_student_too_many_is_proved():
    problem = ol.Problem(7, 6)
    points = ol.families(problem, blocks=1, starts=16)
    found = {
        ol.prove(p).verdict: p for p in points if ol.spectrum(problem, p).verdict != "marginal"
    }
    assert set(found) <= {"saddle", "local minimum"}
    assert found


def exchanged(first=0.5, second=0.5, elsewhere=0.0):
    """K = 6, M = 5: a teacher learned by two students, which have these parts of it."""
    (point,) = ol.families(ol.Problem(6, 5), anti_aligned=0)
    z = {"free 0, on block 1": first, "free 1, on block 1": second, "free 1, on block 0": elsewhere}
    z = [z.get(name, value) for name, value in point.parameters.items()]
    return eqx.tree_at(lambda p: p.z, point, jnp.array(z, float))


def fifty_digit_loss(point):
    W = np.asarray(point.weights.W)
    with mp.workdps(50):
        rows = [[mp.mpf(x) for x in row] for row in W.tolist() if any(row)]
        return loss(rows, mp.eye(W.shape[1]).tolist())


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
    told = json.loads((tmp_path / "one.json").read_text())
    told["statement"]["centre"][-1] = exact(arb(0.5) + arb(2) ** -40)
    (tmp_path / "other.json").write_text(json.dumps(told))
    with pytest.raises(ValueError, match="claims what isn't proved"):
        ol.check_certificate(tmp_path / "other.json")


@pytest.mark.parametrize("parts", [(0.5, 0.25), (1.5, -0.5), (0.5, 0.5, 1e-12)])
def test_students_that_are_almost_the_teachers_prove_nothing(parts):
    # In the second the parts have the right sum, but ReLU doesn't add up what points opposite ways.
    point = exchanged(*parts)
    assert fifty_digit_loss(point) > 1e-26
    certificate = ol.prove(point)
    assert certificate.verdict in ("undecided", "refuted")


def test_at_real_sizes_no_loss_is_the_least():
    point = exchanged()
    point = eqx.tree_at(lambda p: p.ansatz.sizes, point, jnp.array([4.5, 1.0]))
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)


def test_of_surplus_units_that_can_be_exchanged_is_told_what_is_proved():
    certificate = ol.prove(exchanged(0.5, 0.5, 1e-12))
    assert (certificate.verdict, certificate.index) == ("undecided", None)
    assert "surplus students can be exchanged" in certificate.reason
    assert "its loss is [" in certificate.reason


def test_a_width_no_run_reaches():
    certificate = ol.prove(family(1_000_000, 1))
    assert certificate.verdict == "local minimum"
    assert sum(row.multiplicity for row in certificate.eigenvalues) == 10**12


# --- what must not be proved ------------------------------------------------------------------


def moved(point, by):
    return eqx.tree_at(lambda p: p.z, point, point.z + by)


def test_a_wrong_point_is_refuted():
    point = family(8, 2)
    for wrong in (moved(point, 1e-3), moved(point, 0.3)):
        certificate = ol.prove(wrong)
        assert certificate.verdict in ("refuted", "undecided")
        assert certificate.index is None
        assert certificate.loss is None
    assert ol.prove(moved(point, 1e-3)).verdict == "refuted"


def test_a_rounded_point_is_proved():
    point = family(8, 2)
    assert ol.prove(moved(point, 1e-8)).verdict == "local minimum"


def test_a_statement_with_a_wrong_centre_proves_nothing():
    s = ol.prove(family(8, 2)).statement
    for k in range(len(s.centre)):
        with ctx.workprec(128):
            wrong = exact((exact_ball(s.centre[k]) + arb(2) ** -60).mid())
        centre = (*s.centre[:k], wrong, *s.centre[k + 1 :])
        assert prove._certify(s._replace(centre=centre)).verdict == "undecided"


@pytest.mark.parametrize("bits", [2, 8, 16, 24])
def test_too_few_bits_prove_nothing(bits):
    assert ol.prove(family(8, 2), bits=bits).verdict in ("undecided", "refuted")


@pytest.mark.parametrize("bits", [53, 128, 300])
def test_more_bits_prove_more_digits(bits):
    certificate = ol.prove(family(8, 2), bits=bits)
    assert certificate.verdict == "local minimum"
    assert float(ball(certificate.eigenvalues[0].value).rad()) < 2.0 ** (-bits // 2 + 4)


def perturbed(monkeypatch, which, i, j, by):
    """The Hessian of one representation, with one pair of entries moved."""
    true = ball_loss.Point.hessian

    def hessian(self, split):
        H = true(self, split)
        if split.component.name == which:
            H[i, j] += by
            if i != j:
                H[j, i] += by
        return H

    monkeypatch.setattr(ball_loss.Point, "hessian", hessian)


@pytest.mark.parametrize(
    ("which", "i", "j"),
    [("trivial", 0, 0), ("trivial", 0, 3), ("standard", 1, 1), ("Λ²", 0, 0), ("(p−2, 2)", 0, 0)],
)
def test_a_perturbed_hessian_proves_nothing(monkeypatch, which, i, j):
    point = family(8, 2)
    perturbed(monkeypatch, which, i, j, arb(1e-6))
    certificate = ol.prove(point)
    assert (certificate.verdict, certificate.index) == ("undecided", None)


def test_an_uncertain_hessian_leaves_the_sign_open(monkeypatch):
    point = family(8, 2)
    perturbed(monkeypatch, "Λ²", 0, 0, arb(0, 10))
    certificate = ol.prove(point)
    assert certificate.verdict == "undecided"
    assert certificate.index == (0, 10)  # Λ² of a block of 6; a block of 2 has none
    assert "Λ²" in certificate.reason


def test_bad_arguments_are_told():
    point = family(8, 2)
    with pytest.raises(ValueError, match=r"bits must be a whole number of at least 2; got 1"):
        ol.prove(point, bits=1)
    erf = point.ansatz.replace(activation=ol.Erf())
    with pytest.raises(
        ValueError, match=r"activation must be ReLU or LeakyReLU for a proof; got Erf"
    ):
        ol.prove(eqx.tree_at(lambda p: p.ansatz, point, erf))
    tilted = eqx.tree_at(lambda p: p.ansatz.correlation, point, 0.1)
    with pytest.raises(
        ValueError, match=r"teachers must be orthonormal for a proof; got correlation 0\.1"
    ):
        ol.prove(tilted)


def test_without_python_flint_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "flint", None)
    with pytest.raises(ImportError, match=r'python3 -m pip install "odelandscape\[proof\]"'):
        importlib.reload(balls)
    monkeypatch.undo()
    importlib.reload(balls)


# --- linear algebra ---------------------------------------------------------------------------


def test_eigenvalues_are_enclosed_where_they_are_known():
    # −u″ on n points: 2 − 2 cos(kπ/(n + 1)); and in a basis that isn't orthogonal.
    n, rng = 6, np.random.default_rng(0)
    H = 2 * np.eye(n) - np.eye(n, k=1) - np.eye(n, k=-1)
    basis = rng.integers(-3, 4, (n, n)) + 7 * np.eye(n, dtype=int)
    with ctx.workprec(128):
        B = arb_mat(basis.tolist())
        found = balls.eigenvalues(B * arb_mat(H.tolist()) * B.transpose(), B * B.transpose())
        for k, value in enumerate(found, 1):
            assert value.contains(2 - 2 * arb.cos_pi(arb(k) / (n + 1)))
            assert float(value.rad()) < 1e-28


def test_equal_eigenvalues_are_enclosed():
    with ctx.workprec(128):
        B = arb_mat([[1, 2, 2], [2, 1, -2], [2, -2, 1]]) * (arb(1) / 3)
        D = arb_mat([[1, 0, 0], [0, 1, 0], [0, 0, 5]])
        one = arb_mat([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
        found = balls.eigenvalues(B * D * B.transpose(), one)
    assert [value.contains(x) for value, x in zip(found, (1, 1, 5), strict=True)] == [True] * 3


def test_forms_without_length_have_no_eigenvalues():
    with ctx.workprec(64):
        assert balls.eigenvalues(arb_mat([[1, 0], [0, 1]]), arb_mat([[1, 1], [1, 1]])) is None
        assert balls.independent(arb_mat([[1, 1], [1, 1]])) == [0]
        assert balls.independent(arb_mat([[0, 0], [0, 1]])) == [1]


def test_krawczyk_finds_a_single_zero_and_no_double_one():
    with ctx.workprec(128):

        def test(zero, f, slope, radius=1e-10):
            x, r = arb(zero), arb(radius)
            return balls.krawczyk([x], [r], [f(x)], arb_mat([[slope(arb(x, r))]]))

        (root,) = test(2**0.5, lambda x: x * x - 2, lambda x: 2 * x)
        assert root.contains(arb(2).sqrt())
        assert test(0.0, lambda x: x * x, lambda x: 2 * x) is None
        assert test(2**0.5 + 1e-6, lambda x: x * x - 2, lambda x: 2 * x) is None


# --- branches ---------------------------------------------------------------------------------


def test_a_critical_width_is_enclosed():
    """α = 2: at K = 7.56119 a saddle, at 7.56120 a minimum, on one branch."""
    problem = ol.Problem(9, 9)
    ends = []
    for width in (7.56119, 7.5612):
        *_, last = ol.continue_family(problem, family(9, 2), "teachers", width, step=0.3)
        assert last.event == "end"
        ends.append(last.point)
    below, above = (ol.prove(end) for end in ends)
    assert (below.verdict, above.verdict) == ("saddle", "local minimum")
    assert below.eigenvalues[0].representation == above.eigenvalues[0].representation
    assert prove.prove_between(*ends)
    with pytest.raises(ValueError, match="same blocks"):
        prove.prove_between(ends[0], family(9, 1))


def test_different_families_are_not_joined():
    assert not prove.prove_between(family(8, 2), family(8, 3, "hidden"))


# --- certificates as files --------------------------------------------------------------------


@pytest.fixture
def file(tmp_path):
    ol.prove(family(8, 2)).save(tmp_path / "two.json")
    return tmp_path / "two.json"


def test_a_certificate_is_proved_again(file):
    again = ol.check_certificate(file)
    assert again.verdict == "local minimum"
    assert again.as_json() == json.loads(file.read_text(encoding="utf-8"))


def _eigenvalue(told):
    told["eigenvalues"][0]["value"]["ball"] = "[0.0047 +/- 1e-9]"


def _narrow(told):
    told["eigenvalues"][0]["value"]["ball"] = told["eigenvalues"][0]["value"]["ball"].replace(
        "e-2", "e-3"
    )


def _loss(told):
    told["loss"]["high"] = told["loss"]["low"]


def _index(told):
    told["index"] = [1.0, 1.0]


def _verdict(told):
    told["verdict"] = "saddle"


def _multiplicity(told):
    told["eigenvalues"][0]["multiplicity"] += 1e-9


def _missing(told):
    told["eigenvalues"] = told["eigenvalues"][:-1]


def _parameter(told):
    name = next(iter(told["parameters"]))
    told["parameters"][name]["ball"] = "[1.0 +/- 1e-9]"


def _size(told):
    told["statement"]["sizes"] = [7.0, 2.0]


def _centre(told):
    man, exp = told["statement"]["centre"][0].split("p")
    told["statement"]["centre"][0] = f"{int(man) + 2**80}p{exp}"


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
    told = json.loads(file.read_text(encoding="utf-8"))
    change(told)
    file.write_text(json.dumps(told), encoding="utf-8")
    with pytest.raises(ValueError, match="claims what isn't proved"):
        ol.check_certificate(file)


@pytest.mark.parametrize(
    "text", ["", "{}", '{"odelandscape": "sweep"}', '{"odelandscape": "certificate"}', "[1]"]
)
def test_other_files_are_no_certificates(file, text):
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="isn't a certificate"):
        ol.check_certificate(file)


def test_a_statement_that_does_not_fit_together_is_no_certificate(file):
    told = json.loads(file.read_text(encoding="utf-8"))
    for change in (
        {"matched": [0, 7]},
        {"free": -1},
        {"sizes": [4.0]},
        {"bits": 0},
        {"radius": "x"},
    ):
        wrong = told | {"statement": told["statement"] | change}
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
    told = capsys.readouterr().out
    assert "1 of 1 families proved" in told
    assert "local minimum" in told
    assert (out / "proofs.txt").read_text(encoding="utf-8") == told
    (file,) = out.glob("*.json")
    assert main([*command, "--json"]) == 0
    (certificate,) = json.loads(capsys.readouterr().out).values()
    assert certificate == json.loads(file.read_text(encoding="utf-8"))
    assert main(["check", str(file)]) == 0
    assert "proved, local minimum" in capsys.readouterr().out
    told = json.loads(file.read_text(encoding="utf-8"))
    _verdict(told)
    file.write_text(json.dumps(told), encoding="utf-8")
    assert main(["check", str(file)]) == 2
    assert "claims what isn't proved" in capsys.readouterr().err
