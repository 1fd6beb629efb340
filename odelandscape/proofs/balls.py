r"""Validated linear algebra in ball arithmetic (Arb, by python-flint, which is optional).

A ball $[m \pm r]$ encloses the exact number that it stands for, and the result of an operation on balls
encloses every exact result (Johansson 2017). An approximate answer, in floating point or by the midpoints
of balls, is only used to choose what is then verified: here the zero of a map (Krawczyk's inclusion test)
and the eigenvalues of a symmetric-definite pencil (Weyl and Ostrowski, about an approximate
diagonalisation).
"""

from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
import scipy.linalg

try:
    from flint import arb, arb_mat, ctx
except ImportError as error:
    raise ImportError(
        'proofs need python-flint: python3 -m pip install "odelandscape[proof]"'
    ) from error


__all__ = [
    "approximate_inverse",
    "arb",
    "arb_mat",
    "ball_sum",
    "box",
    "column",
    "ctx",
    "enclosed_eigenvalues",
    "fraction_of",
    "independent_directions",
    "krawczyk_image",
]

_INDEPENDENT = 1e-10
"""The least squared sine of the angle of an independent direction with those chosen before."""
_SMALL_ROTATION = 0.125
"""Approximate eigenvectors that a refinement would mix more than this are refined as of equal eigenvalues."""
_REFINEMENTS = 16
"""At most, of the approximate eigenvectors; each doubles their correct bits, from some of the 53 of floating
point (at large widths, where eigenvalues differ by ten orders, few of them)."""


def ball_sum(values: Iterable[arb]) -> arb:
    """Return the sum of balls, 0 of none."""
    return sum(values, arb(0))


def fraction_of(x: arb) -> Fraction:
    """Return the exact number that a ball of radius 0 is."""
    mantissa, exponent = map(int, x.man_exp())
    return mantissa * Fraction(2) ** exponent


def box(centre: Sequence[arb], radii: Sequence[arb]) -> list[arb]:
    """Return the balls about the numbers of `centre`."""
    return [arb(x, r) for x, r in zip(centre, radii, strict=True)]


def column(x: Sequence[arb]) -> arb_mat:
    """Return a vector as a matrix of one column."""
    return arb_mat([[entry] for entry in x])


def _identity(n: int) -> arb_mat:
    return arb_mat(n, n, [arb(int(i == j)) for i in range(n) for j in range(n)])


def _midpoints(x: arb_mat) -> arb_mat:
    return arb_mat(x.nrows(), x.ncols(), [entry.mid() for entry in x.entries()])


def _to_float(x: arb_mat) -> np.ndarray:
    return np.array([[float(entry.mid()) for entry in row] for row in x.tolist()])


def approximate_inverse(H: arb_mat) -> arb_mat | None:
    """Return a matrix of points near the inverse of H's midpoints, of which nothing is claimed; None if
    they are singular."""
    try:
        return _midpoints(_midpoints(H).inv())
    except ZeroDivisionError:
        return None


def krawczyk_image(
    centre: list[arb], radii: list[arb], gradient: list[arb], H: arb_mat
) -> list[arb] | None:
    r"""Apply the Krawczyk operator to a box; return its image if the inclusion test succeeds, else None.

    With $x$ the centre, $X$ the box, $g$ the map, $H ⊇ g'(X)$ and $C$ near $H^{-1}$, the operator is
    $K(X) = x - C g(x) + (1 - C H)(X - x)$. If $K(X)$ lies in the interior of $X$, then $X$ holds exactly one
    zero of $g$, and it lies in $K(X)$.

    - `gradient`: encloses $g(x)$. `H`: encloses the Jacobian of $g$ on the box.
    """
    C = approximate_inverse(H)
    if C is None:
        return None
    n = len(centre)
    deviation = column([arb(0, r) for r in radii])
    displacement = (_identity(n) - C * H) * deviation - C * column(gradient)
    if not all(abs(displacement[i, 0]) < radii[i] for i in range(n)):
        return None
    return [x + displacement[i, 0] for i, x in enumerate(centre)]


def independent_directions(G: arb_mat) -> list[int]:
    """Return the numbers of as many directions as are independent, of their Gram matrix G.

    They are chosen by a Cholesky factorisation with pivots in floating point. In small blocks some copies
    of a representation coincide. A wrong choice proves nothing false: with too many,
    G isn't proved positive definite; with too few, eigenvalues are missing, and their number is checked.
    """
    rest = _to_float(G)
    scale = np.where(np.diag(rest) > 0, np.diag(rest), np.inf)
    rest = rest / np.sqrt(scale[:, None]) / np.sqrt(scale[None, :])
    chosen = []
    while len(chosen) < len(rest):
        k = int(np.argmax(np.diag(rest)))
        if rest[k, k] < _INDEPENDENT:
            break
        chosen.append(k)
        rest = rest - np.outer(rest[k], rest[k]) / rest[k, k]
    return sorted(chosen)


def enclosed_eigenvalues(H: arb_mat, G: arb_mat) -> list[arb] | None:
    r"""Return enclosures of all λ of H u = λ G u, ascending; None if G isn't proved positive definite or no
    finite enclosure is found.

    With Q near the eigenvectors, the k-th eigenvalue of $S = Q^T H Q$ lies within the norm of the
    off-diagonal part of S of the k-th diagonal number (Weyl), and λ within factors $1 ± ε$, $ε = |Q^T G Q -
    1|$, of it (Ostrowski).
    """
    n = H.nrows()
    try:
        _, vectors = scipy.linalg.eigh(_to_float(H), _to_float(G))
    except (ValueError, np.linalg.LinAlgError):
        return None
    Q = arb_mat(vectors.tolist())
    for _ in range(_REFINEMENTS):
        Q, change = _refined_eigenvectors(Q, H, G)
        if change < 2.0 ** (-ctx.prec // 2):  # what is left is its square
            break
    S, R = Q.transpose() * H * Q, Q.transpose() * G * Q - _identity(n)
    diagonal = arb_mat([[S[i, j] if i == j else arb(0) for j in range(n)] for i in range(n)])
    off_diagonal, error = _norm_bound(S - diagonal), _norm_bound(R)
    if not error < 1:
        return None
    # The k-th smallest of numbers enclosed by balls lies between the k-th smallest of their lower ends and
    # the k-th smallest of their upper ends.
    low = sorted((S[i, i] - off_diagonal).lower() for i in range(n))
    high = sorted((S[i, i] + off_diagonal).upper() for i in range(n))
    factor = (1 / (1 + error)).union(1 / (1 - error))
    return [a.union(b) * factor for a, b in zip(low, high, strict=True)]


def _norm_bound(x: arb_mat) -> arb:
    """Return an upper bound of the spectral norm of a symmetric matrix: its largest absolute row sum."""
    bound = arb(0)
    for row in x.tolist():
        bound = bound.max(ball_sum(abs(entry) for entry in row).upper())
    return bound


def _refined_eigenvectors(Q: arb_mat, H: arb_mat, G: arb_mat) -> tuple[arb_mat, float]:
    """Take one step of the iteration of Ogita and Aishima, which doubles the correct digits of approximate
    eigenvectors; return them and the largest number that mixes two."""
    n = Q.nrows()
    S, R = _midpoints(Q.transpose() * H * Q), _midpoints(Q.transpose() * G * Q)
    d = [S[i, i] / R[i, i] for i in range(n)]
    # Closer ones are equal as far as rounding of S lets them be distinguished.
    rounding = max(abs(x) for x in d) * arb(2) ** (-ctx.prec // 2)
    E = arb_mat(n, n)
    for i in range(n):
        for j in range(n):
            E[i, j] = (int(i == j) - R[i, j]) / 2
            if i != j and abs(d[i] - d[j]) > rounding:
                mixed = (S[i, j] - d[j] * R[i, j]) / (d[j] - d[i])
                if abs(mixed) < _SMALL_ROTATION:
                    E[i, j] = mixed
    return _midpoints(Q + Q * E), max(abs(float(x.mid())) for x in E.entries())
