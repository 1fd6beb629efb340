r"""Linear algebra in ball arithmetic (Arb, by python-flint, which is optional): zeros and eigenvalues,
enclosed.

A ball holds the number that is meant, and so does every ball computed from balls. An approximate answer in
floating point only says where to look.
"""

from collections.abc import Sequence

import numpy as np
import scipy.linalg

try:
    from flint import arb, arb_mat, ctx
except ImportError as error:
    raise ImportError(
        'proofs need python-flint: python3 -m pip install "odelandscape[proof]"'
    ) from error


__all__ = ["arb", "arb_mat", "column", "ctx", "eigenvalues", "independent", "inverse", "krawczyk"]


def _middle(x: arb_mat) -> arb_mat:
    return arb_mat(x.nrows(), x.ncols(), [entry.mid() for entry in x.entries()])


def column(x: Sequence[arb]) -> arb_mat:
    """A vector as a matrix."""
    return arb_mat([[entry] for entry in x])


def _identity(n: int) -> arb_mat:
    return arb_mat(n, n, [arb(int(i == j)) for i in range(n) for j in range(n)])


def inverse(H: arb_mat) -> arb_mat | None:
    """Near that of a matrix in the balls, without a claim; None if that is singular."""
    try:
        return _middle(_middle(H).inv())
    except ZeroDivisionError:
        return None


def krawczyk(
    centre: list[arb], radii: list[arb], gradient: list[arb], H: arb_mat
) -> list[arb] | None:
    """Krawczyk's test: the image of the box if it lies inside it, else None.

    - `gradient`: encloses that at the centre. `H`: encloses its Jacobian on the box.
    """
    C = inverse(H)
    if C is None:
        return None
    n = len(centre)
    spread = column([arb(0, r) for r in radii])
    moved = (_identity(n) - C * H) * spread - C * column(gradient)
    if not all(abs(moved[i, 0]) < radii[i] for i in range(n)):
        return None
    return [x + moved[i, 0] for i, x in enumerate(centre)]


def _numbers(x: arb_mat) -> np.ndarray:
    return np.array([[float(entry.mid()) for entry in row] for row in x.tolist()])


def independent(G: arb_mat) -> list[int]:
    """Directions, as many as are independent, by a Cholesky factor with pivots. In small blocks some copies
    coincide."""
    left = _numbers(G)
    scale = np.where(np.diag(left) > 0, np.diag(left), np.inf)
    left = left / np.sqrt(scale[:, None]) / np.sqrt(scale[None, :])
    chosen = []
    while len(chosen) < len(left):
        k = int(np.argmax(np.diag(left)))
        if left[k, k] < 1e-10:
            break
        chosen.append(k)
        left = left - np.outer(left[k], left[k]) / left[k, k]
    return sorted(chosen)


def eigenvalues(H: arb_mat, G: arb_mat) -> list[arb] | None:
    r"""Enclosures of all λ of H u = λ G u, ascending; None if G isn't proved positive definite or nothing
    finite comes out.

    With Q near the eigenvectors, the k-th eigenvalue of $S = Q^T H Q$ lies within the norm of what S has
    off its diagonal of the k-th number on it (Weyl), and λ within factors $1 ± ε$, $ε = |Q^T G Q - 1|$, of
    it (Ostrowski).
    """
    n = H.nrows()
    try:
        _, found = scipy.linalg.eigh(_numbers(H), _numbers(G))
    except (ValueError, np.linalg.LinAlgError):
        return None
    Q = arb_mat(found.tolist())
    for _ in range(2):
        Q = _sharper(Q, H, G)
    S, R = Q.transpose() * H * Q, Q.transpose() * G * Q - _identity(n)
    off = _norm(S - arb_mat([[S[i, j] if i == j else arb(0) for j in range(n)] for i in range(n)]))
    error = _norm(R)
    if not error < 1:
        return None
    # The k-th of numbers in balls lies between the k-th of their lower and of their upper ends.
    ends = (
        [x.lower() for x in (S[i, i] - off for i in range(n))],
        [(S[i, i] + off).upper() for i in range(n)],
    )
    low, high = (sorted(end) for end in ends)
    factor = (1 / (1 + error)).union(1 / (1 - error))
    return [a.union(b) * factor for a, b in zip(low, high, strict=True)]


def _norm(x: arb_mat) -> arb:
    """At least that of a symmetric matrix, by its rows."""
    rows = [sum((abs(entry) for entry in row), arb(0)).upper() for row in x.tolist()]
    total = arb(0)
    for row in rows:
        total = total.max(row)
    return total


def _sharper(Q: arb_mat, H: arb_mat, G: arb_mat) -> arb_mat:
    """One step of Ogita and Aishima's iteration, which doubles the digits of approximate eigenvectors."""
    n = Q.nrows()
    S, R = _middle(Q.transpose() * H * Q), _middle(Q.transpose() * G * Q)
    d = [S[i, i] / R[i, i] for i in range(n)]
    apart = 1e-8 * max(abs(float(x)) for x in d)

    def entry(i: int, j: int) -> arb:
        if i != j and abs(float(d[i] - d[j])) > apart:
            return (S[i, j] - d[j] * R[i, j]) / (d[j] - d[i])
        return (int(i == j) - R[i, j]) / 2

    return _middle(Q + Q * arb_mat([[entry(i, j) for j in range(n)] for i in range(n)]))
