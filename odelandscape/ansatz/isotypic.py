r"""Every eigenvalue of the Hessian at a block point, from a few numbers.

The Hessian at a block point commutes with the permutations inside the blocks, so it acts alike on all
copies of an irreducible representation and couples equal ones only (Schur). The coefficients of students
matched to a block of p teachers, on that block, are 2 trivial, 3 standard, one $(p-2,2)$ and one
$\Lambda^2$ representation; on another block or for free students they are products of trivial and
standard ones. One vector of each copy, chosen so that it changes only the first four units of a block, lies
in the refined ansatz (`refined`); second derivatives of the reduced loss between such vectors are small
matrices, whose eigenvalues are those of the full Hessian, as often as the representation has dimensions.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from .block_ansatz import AbstractBlocks, FormalBlocks
from .block_matrix import BlockMatrix
from .padding import padded
from .reduced_loss import block_overlaps, half_square_norm, rate_matrices, reduced_loss

PARTS_PER_BLOCK = 5
"""Parts that a refinement makes of a block: four single units and the others."""
_E = np.eye(PARTS_PER_BLOCK)
_ONE = np.ones(PARTS_PER_BLOCK)
_STANDARD = _E[0] - _E[1]
_SYMMETRIC = np.outer(_E[0] - _E[1], _E[2] - _E[3])
_CYCLE = np.outer(_E[0], _E[1]) + np.outer(_E[1], _E[2]) + np.outer(_E[2], _E[0])


def refined(blocks: AbstractBlocks) -> FormalBlocks:
    """Return each block of p teachers, and the students matched to it, split into {1, 1, 1, 1, p − 4}.

    Where p < 4 the last size is not positive: as multiplicities are polynomials in the sizes, second
    derivatives along what changes only the first p are right all the same.
    """
    ones = jnp.ones((blocks.sizes.shape[0], PARTS_PER_BLOCK - 1))
    others = (blocks.sizes - (PARTS_PER_BLOCK - 1))[:, None]
    return FormalBlocks(
        matched=refined_matches(blocks.matched),
        free=blocks.free,
        sizes=jnp.concatenate([ones, others], axis=1).ravel(),
        activation=blocks.activation,
        correlation=blocks.correlation,
        readout=blocks.readout[_coarse_students(blocks)],
        teacher_readout=jnp.repeat(blocks.teacher_readout, PARTS_PER_BLOCK),
    )


def refine(blocks: AbstractBlocks, z: Float[Array, " P"]) -> Float[Array, " P5"]:
    """Return the parameters of `refined` blocks for the same weights."""
    A = blocks.coefficients(z)
    rows = _coarse_students(blocks)
    columns = np.repeat(np.arange(blocks.sizes.shape[0]), PARTS_PER_BLOCK)
    fine = refined(blocks)
    at = np.ix_(rows, columns)
    return fine.parameters_of(BlockMatrix(A.const[at], jnp.asarray(fine.own) * A.same[at]))


def refined_matches(matched: tuple[int, ...]) -> tuple[int, ...]:
    """Return the parts of the blocks of teachers that `refined` matches its blocks of students to."""
    return tuple(PARTS_PER_BLOCK * b + k for b in matched for k in range(PARTS_PER_BLOCK))


def _coarse_students(blocks: AbstractBlocks) -> np.ndarray:
    """Return, for each student block of `refined`, the one it is a part of."""
    matched = len(blocks.matched)
    return np.concatenate(
        [np.repeat(np.arange(matched), PARTS_PER_BLOCK), matched + np.arange(blocks.free)]
    )


class Pattern(NamedTuple):
    """A direction: entries (5 | 1, 5) in the coefficients of a block of students (1 row if free) on a block
    of teachers, both split as in `refined`, and what is added on the diagonal."""

    students: int
    block: int
    entries: np.ndarray
    diagonal: np.ndarray | None = None


class Component(NamedTuple):
    """A representation: its name, the blocks it acts on, and one vector of each copy of it. All units of a
    block from `singles` on are alike."""

    name: str
    blocks: tuple[int, ...]
    patterns: list[Pattern]

    @property
    def singles(self) -> int:
        """How many units of its blocks the vectors distinguish from the others."""
        return {"trivial": 0, "(p−2, 2)": 4, "Λ²": 3}.get(self.name, 2)

    def dimension(self, sizes):
        """Return how often each of its eigenvalues occurs, in whatever numbers sizes are; 0 where a block is
        too small to have it."""
        p = [sizes[b] for b in self.blocks]
        if any(size < 1 for size in p):
            return 0.0
        return {
            "trivial": lambda: 1.0,
            "standard": lambda p: p - 1,
            "standard ⊗ standard": lambda p, q: (p - 1) * (q - 1),
            "(p−2, 2)": lambda p: p * (p - 3) / 2,
            "Λ²": lambda p: (p - 1) * (p - 2) / 2,
        }[self.name](*p)


@functools.cache
def components(matches: tuple[int, ...], blocks: int, free: int) -> tuple[Component, ...]:
    """Return the representations in the coefficients of an ansatz, with their vectors.

    `matches` and `free` are the ansatz's `matched` and `free`, `blocks` the number of its teacher blocks.
    """
    B, matched = blocks, len(matches)
    S = matched + free

    def one(s: int) -> np.ndarray:
        return _ONE if s < matched else np.ones(1)

    zero = np.zeros((PARTS_PER_BLOCK, PARTS_PER_BLOCK))
    found = [Component("trivial", (), [])]
    of_block = {b: Component("standard", (b,), []) for b in range(B)}
    of_pair = {
        (a, b): Component("standard ⊗ standard", (a, b), []) for b in range(B) for a in range(b)
    }
    symmetric = {b: Component("(p−2, 2)", (b,), []) for b in range(B)}
    alternating = {b: Component("Λ²", (b,), []) for b in range(B)}
    for s in range(S):
        group = matches[s] if s < matched else None
        for b in range(B):
            found[0].patterns.append(Pattern(s, b, np.outer(one(s), _ONE)))
            of_block[b].patterns.append(Pattern(s, b, np.outer(one(s), _STANDARD)))
            if group is None:
                continue
            of_block[group].patterns.append(Pattern(s, b, np.outer(_STANDARD, _ONE)))
            if group == b:
                found[0].patterns.append(Pattern(s, b, zero, _ONE))
                of_block[b].patterns.append(Pattern(s, b, zero, _STANDARD))
                symmetric[b].patterns.append(Pattern(s, b, _SYMMETRIC + _SYMMETRIC.T))
                alternating[b].patterns.append(Pattern(s, b, _CYCLE - _CYCLE.T))
            else:
                pair = (min(group, b), max(group, b))
                of_pair[pair].patterns.append(Pattern(s, b, np.outer(_STANDARD, _STANDARD)))
    for more in (of_block, of_pair, symmetric, alternating):
        found.extend(component for component in more.values() if component.patterns)
    return tuple(found)


def vectors(component: Component, matches: tuple[int, ...], blocks: int, free: int) -> np.ndarray:
    """Return its patterns as parameters of the refined ansatz, (n, P5)."""
    matched = len(matches)
    on_diagonal = np.arange(PARTS_PER_BLOCK * matched), list(refined_matches(matches))
    flat = []
    for s, b, entries, diagonal in component.patterns:
        const, same = np.zeros((2, PARTS_PER_BLOCK * matched + free, PARTS_PER_BLOCK * blocks))
        first = PARTS_PER_BLOCK * min(s, matched) + max(s - matched, 0)
        rows, columns = (
            slice(first, first + len(entries)),
            slice(PARTS_PER_BLOCK * b, PARTS_PER_BLOCK * (b + 1)),
        )
        const[rows, columns] = entries
        if diagonal is not None:
            same[rows, columns] = np.diag(diagonal)
        flat.append(np.concatenate([(const + same)[on_diagonal], const.ravel()]))
    return np.stack(flat)


@functools.lru_cache(maxsize=8)
def _directions(
    matches: tuple[int, ...], blocks: int, free: int
) -> tuple[tuple[Component, ...], np.ndarray]:
    """All components of blocks of this structure, and the vectors of all of them."""
    found = components(matches, blocks, free)
    return found, np.concatenate([vectors(one, matches, blocks, free) for one in found])


@eqx.filter_jit
def _quadratic_forms(
    blocks: AbstractBlocks, z: Float[Array, " P"], vectors: Float[Array, "n P5"]
) -> tuple[Float[Array, "n n"], Float[Array, "n n"], Float[Array, "n n"]]:
    """Return second derivatives of the loss, and scalar products in weight space and of the coefficients,
    between refined directions."""
    fine, at = refined(blocks), refine(blocks, z)
    apart = eqx.tree_at(lambda fine: fine.correlation, fine, jnp.zeros_like(fine.correlation))
    slope = jax.grad(lambda y: reduced_loss(fine, y))
    curved = jax.vmap(lambda u: jax.jvp(slope, (at,), (u,))[1])(vectors)
    flat, plain = (
        jax.vmap(jax.grad(lambda y, of=of: half_square_norm(of, y)))(vectors)
        for of in (fine, apart)
    )
    return vectors @ curved.T, vectors @ flat.T, vectors @ plain.T


def _orthonormal_directions(G: np.ndarray, coefficients: np.ndarray) -> Float[np.ndarray, "n r"]:
    """Return the directions that a point has, as columns with UᵀGU = 1.

    What has no coefficients is left out, by their scalar products: in small blocks some copies coincide, and
    in blocks of one or none some have no coefficient (where there is one, its length is of order 1). In G
    lengths may be anything, of teachers that are nearly parallel.
    """
    present = np.diag(coefficients) > 1e-6
    G, C = (X[np.ix_(present, present)] for X in (G, coefficients))
    scale = 1 / np.sqrt(np.diag(C))
    lengths, U = np.linalg.eigh(scale[:, None] * C * scale[None, :])
    U = scale[:, None] * U[:, lengths > 1e-10]
    G = U.T @ G @ U
    scale = 1 / np.sqrt(np.diag(G))
    squares, V = np.linalg.eigh(scale[:, None] * G * scale[None, :])
    V = scale[:, None] * V / np.sqrt(np.maximum(squares, np.finfo(float).eps))[None, :]
    directions = np.zeros((len(present), V.shape[1]))
    directions[present] = U @ V
    return directions


def _symmetric(H: np.ndarray, U: np.ndarray) -> np.ndarray:
    H = U.T @ H @ U
    return (H + H.T) / 2


Forms = tuple[Float[np.ndarray, "n n"], Float[np.ndarray, "n n"], Float[np.ndarray, "n n"]]


def hessian_forms(
    ansatz: AbstractBlocks, z: Float[Array, " P"]
) -> tuple[Float[Array, "n n"], Float[Array, "n n"], Float[Array, "n n"]]:
    """Return what `spectrum_of` needs of a block point, compiled and vmapped with other code."""
    _, stack = _directions(ansatz.matched, ansatz.sizes.shape[0], ansatz.free)
    return _quadratic_forms(ansatz, z, jnp.asarray(stack))


def spectrum_of(ansatz: AbstractBlocks, forms: Forms) -> list[tuple[float, float, str]]:
    """Return `hessian_spectrum`, not sorted, from the `hessian_forms` of a point."""
    found, _ = _directions(ansatz.matched, ansatz.sizes.shape[0], ansatz.free)
    H, G, C = forms
    sizes = np.asarray(ansatz.sizes)
    result, start = [], 0
    for component in found:
        part = slice(start, start + len(component.patterns))
        start = part.stop
        dimension = float(component.dimension(sizes))
        if dimension <= 1e-9:
            continue
        where = "".join(f" {b}" for b in component.blocks)
        U = _orthonormal_directions(G[part, part], C[part, part])
        for value in np.linalg.eigvalsh(_symmetric(H[part, part], U)):
            result.append((float(value), dimension, component.name + where))
    return result


class Part(NamedTuple):
    """The copies of one representation among the rows of `hessian_forms`: which rows, and orthonormal
    directions in them."""

    rows: Int[Array, " n"]
    directions: Float[Array, "n r"]

    def reduced(self, H: Float[Array, "N N"]) -> Float[Array, "r r"]:
        """Return the Hessian between the directions."""
        return self.directions.T @ H[jnp.ix_(self.rows, self.rows)] @ self.directions


def critical_part(
    ansatz: AbstractBlocks, representation: str, forms: Forms
) -> tuple[Part, Float[np.ndarray, " r"]]:
    """Return the part of a representation, by its name in `spectrum_of`, and the direction in it along which
    the curvature is least."""
    found, _ = _directions(ansatz.matched, ansatz.sizes.shape[0], ansatz.free)
    names = ["".join([one.name, *(f" {b}" for b in one.blocks)]) for one in found]
    index = names.index(representation)
    start = sum(len(one.patterns) for one in found[:index])
    rows = np.arange(start, start + len(found[index].patterns))
    H, G, C = (form[np.ix_(rows, rows)] for form in forms)
    U = _orthonormal_directions(G, C)
    return Part(jnp.asarray(rows), jnp.asarray(U)), np.linalg.eigh(_symmetric(H, U))[1][:, 0]


def hessian_spectrum(
    ansatz: AbstractBlocks, z: Float[Array, " P"], beyond: int = 0
) -> list[tuple[float, float, str]]:
    """Return (eigenvalue, multiplicity, representation) of the Hessian in the weights at a block point,
    ascending.

    `beyond` is the number of input directions that the teacher doesn't span, d − M: each adds the
    eigenvalues of X (Ẇ = −X W − Y W*) once.
    """
    padding = padded(ansatz)
    blocks, z = padding.blocks, padding.pad(z)
    H, G, C = (np.asarray(x) for x in hessian_forms(blocks, z))
    result = spectrum_of(blocks, (H, G, C))
    if beyond:
        for value, count, name in _spectrum_of_X(blocks, z):
            result.append((value, count * beyond, f"beyond the teacher, {name}"))
    return sorted(result)


@eqx.filter_jit
def _student_rate_matrix(blocks: AbstractBlocks, z: Float[Array, " P"]) -> BlockMatrix:
    return rate_matrices(blocks, *block_overlaps(blocks, z))[0]


def _spectrum_of_X(blocks: AbstractBlocks, z: Float[Array, " P"]) -> list[tuple[float, float, str]]:
    """Return the eigenvalues of X with multiplicities: X + the identity's part on block-constant vectors, and
    the diagonal numbers alone on what sums to zero in a block."""
    X = jax.tree.map(np.asarray, _student_rate_matrix(blocks, z))
    n, own, sizes = np.asarray(blocks.student_sizes), blocks.own, np.asarray(blocks.sizes)
    present = n > 0
    root = np.sqrt(n)
    scaled = X.const * root[:, None] * root[None, :] + X.same
    constant = scaled[np.ix_(present, present)]
    result = [(float(x), 1.0, "trivial") for x in np.linalg.eigvalsh((constant + constant.T) / 2)]
    for b in range(len(sizes)):
        rows = np.flatnonzero(own[:, b])
        if len(rows) and sizes[b] > 1 + 1e-9:
            part = X.same[np.ix_(rows, rows)]
            result += [(float(x), sizes[b] - 1, f"standard {b}") for x in np.linalg.eigvalsh(part)]
    return result
