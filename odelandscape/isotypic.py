r"""Every eigenvalue of the Hessian at a block point, from a few numbers.

The Hessian at a block point commutes with the permutations inside the blocks, so it acts alike on all
copies of an irreducible representation and mixes equal ones only (Schur). The coefficients of students
matched to a block of p teachers, on that block, are 2 trivial, 3 standard, one $(p-2,2)$ and one
$\Lambda^2$ representation; on another block or for free students they are products of trivial and
standard ones. One vector of each copy, chosen so that it changes only the first four units of a block, lies
in the finer ansatz; second derivatives of the reduced loss between such vectors are small matrices, whose
eigenvalues are those of the full Hessian, as often as the representation has dimensions.
"""

import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .ansatz import SPLIT, BlockAnsatz, split
from .blocks import Blocks

_E = np.eye(SPLIT)
_ONE = np.ones(SPLIT)
_STANDARD = _E[0] - _E[1]
_SYMMETRIC = np.outer(_E[0] - _E[1], _E[2] - _E[3])
_CYCLE = np.outer(_E[0], _E[1]) + np.outer(_E[1], _E[2]) + np.outer(_E[2], _E[0])


class Component(NamedTuple):
    """A representation: its name, the blocks it lives on, its dimension for given sizes, and one vector
    of each copy, as parameters of the finer ansatz."""

    name: str
    blocks: tuple[int, ...]
    vectors: list[np.ndarray]

    def dimension(self, sizes: np.ndarray) -> float:
        """How often each of its eigenvalues occurs; 0 where a block is too small to have it."""
        p = [float(sizes[b]) for b in self.blocks]
        if min(p, default=2) < 1:
            return 0.0
        return {
            "trivial": lambda: 1.0,
            "standard": lambda p: p - 1,
            "standard ⊗ standard": lambda p, q: (p - 1) * (q - 1),
            "(p−2, 2)": lambda p: p * (p - 3) / 2,
            "Λ²": lambda p: (p - 1) * (p - 2) / 2,
        }[self.name](*p)


@functools.cache
def components(blocks: int, matches: tuple[int, ...], free: int) -> tuple[Component, ...]:
    """The representations in the coefficients of an ansatz, with their vectors.

    `blocks` is the number of teacher blocks, `matches` and `free` are the ansatz's `matched` and `free`.
    """
    B, matched = blocks, len(matches)
    S, fine_S = matched + free, SPLIT * matched + free
    on_diagonal = np.arange(SPLIT * matched), list(split(matches))

    def rows(s: int) -> slice:
        start = SPLIT * s if s < matched else SPLIT * matched + s - matched
        return slice(start, start + (SPLIT if s < matched else 1))

    def vector(s: int, b: int, entries: np.ndarray, diagonal: np.ndarray | None = None):
        const, same = np.zeros((2, fine_S, SPLIT * B))
        columns = slice(SPLIT * b, SPLIT * (b + 1))
        const[rows(s), columns] = entries
        if diagonal is not None:
            same[rows(s), columns] = np.diag(diagonal)
        return np.concatenate([(const + same)[on_diagonal], const.ravel()])

    def one(s: int) -> np.ndarray:
        return _ONE if s < matched else np.ones(1)

    zero = np.zeros((SPLIT, SPLIT))
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
            found[0].vectors.append(vector(s, b, np.outer(one(s), _ONE)))
            of_block[b].vectors.append(vector(s, b, np.outer(one(s), _STANDARD)))
            if group is None:
                continue
            of_block[group].vectors.append(vector(s, b, np.outer(_STANDARD, _ONE)))
            if group == b:
                found[0].vectors.append(vector(s, b, zero, _ONE))
                of_block[b].vectors.append(vector(s, b, zero, _STANDARD))
                symmetric[b].vectors.append(vector(s, b, _SYMMETRIC + _SYMMETRIC.T))
                alternating[b].vectors.append(vector(s, b, _CYCLE - _CYCLE.T))
            else:
                pair = (min(group, b), max(group, b))
                of_pair[pair].vectors.append(vector(s, b, np.outer(_STANDARD, _STANDARD)))
    for more in (of_block, of_pair, symmetric, alternating):
        found.extend(component for component in more.values() if component.vectors)
    return tuple(found)


@eqx.filter_jit
def _forms(ansatz: BlockAnsatz, z: Float[Array, " P"], vectors: Float[Array, "n P5"]):
    """Second derivatives of the loss, and scalar products in weight space, between finer directions."""
    fine, at = ansatz.finer(), ansatz.refine(z)
    half_square = fine.half_square
    bent = jax.vmap(lambda u: jax.jvp(jax.grad(fine.loss), (at,), (u,))[1])(vectors)
    flat = jax.vmap(jax.grad(half_square))(vectors)
    return vectors @ bent.T, vectors @ flat.T


def _eigenvalues(H: np.ndarray, G: np.ndarray) -> np.ndarray:
    """Of H u = λ G u. What has no length in G is left out: in small blocks some copies coincide, and in
    blocks of one or none some have no coefficient (where there is one, its length is of order 1)."""
    there = np.diag(G) > 1e-6
    H, G = H[np.ix_(there, there)], G[np.ix_(there, there)]
    scale = 1 / np.sqrt(np.diag(G))
    lengths, U = np.linalg.eigh(scale[:, None] * G * scale[None, :])
    keep = lengths > 1e-10
    U = scale[:, None] * U[:, keep] / np.sqrt(lengths[keep])[None, :]
    H = U.T @ H @ U
    return np.linalg.eigvalsh((H + H.T) / 2)


def hessian_spectrum(
    ansatz: BlockAnsatz, z: Float[Array, " P"], beyond: int = 0
) -> list[tuple[float, float, str]]:
    """(eigenvalue, multiplicity, representation) of the Hessian in the weights at a block point.

    `beyond` is the number of input directions that the teacher doesn't span, d − M: each adds the
    eigenvalues of X once.
    """
    padding = ansatz.padding()
    ansatz, z = padding.ansatz, padding.pad(z)
    found = components(len(ansatz.sizes), ansatz.matched, ansatz.free)
    stack = np.stack([vector for component in found for vector in component.vectors])
    H, G = (np.asarray(x) for x in _forms(ansatz, z, jnp.asarray(stack)))
    sizes = np.asarray(ansatz.sizes)
    result, start = [], 0
    for component in found:
        part = slice(start, start + len(component.vectors))
        start = part.stop
        dimension = component.dimension(sizes)
        if dimension <= 1e-9:
            continue
        where = "".join(f" {b}" for b in component.blocks)
        for value in _eigenvalues(H[part, part], G[part, part]):
            result.append((float(value), dimension, component.name + where))
    if beyond:
        for value, count, name in _mixing_spectrum(ansatz, z):
            result.append((value, count * beyond, f"beyond the teacher, {name}"))
    return sorted(result)


@eqx.filter_jit
def _mixing(ansatz: BlockAnsatz, z: Float[Array, " P"]) -> Blocks:
    return ansatz.mixing(*ansatz.overlaps(z))[0]


def _mixing_spectrum(ansatz: BlockAnsatz, z: Float[Array, " P"]) -> list[tuple[float, float, str]]:
    """Eigenvalues of X with multiplicities: X + the identity's part on block-constant vectors, and the
    diagonal numbers alone on what sums to zero in a block."""
    X = jax.tree.map(np.asarray, _mixing(ansatz, z))
    n, own, sizes = np.asarray(ansatz.student_sizes), ansatz.own, np.asarray(ansatz.sizes)
    there = n > 0
    root = np.sqrt(n)
    whole = (X.const * root[:, None] * root[None, :] + X.same)[np.ix_(there, there)]
    result = [(float(x), 1.0, "trivial") for x in np.linalg.eigvalsh((whole + whole.T) / 2)]
    for b in range(len(sizes)):
        rows = np.flatnonzero(own[:, b])
        if len(rows) and sizes[b] > 1 + 1e-9:
            part = X.same[np.ix_(rows, rows)]
            result += [(float(x), sizes[b] - 1, f"standard {b}") for x in np.linalg.eigvalsh(part)]
    return result
