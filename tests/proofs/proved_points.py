"""Points that are proved or must not be, and their loss in fifty digits."""

import equinox as eqx
import jax.numpy as jnp
import mpmath as mp
import numpy as np

import odelandscape as ol
from odelandscape.proofs import certify
from odelandscape.proofs.balls import arb, ctx


def family(K, alpha, branch="compensated", activation=None):
    problem = ol.Problem(K, K, activation or ol.ReLU())
    return ol.fixed_point(problem, ol.family(problem, alpha, branch))


def moved(point, by):
    return eqx.tree_at(lambda p: p.z, point, point.z + by)


def exchanged(first=0.5, second=0.5, elsewhere=0.0):
    """K = 6, M = 5: a teacher reproduced by two students, which have these parts of it."""
    (point,) = ol.families(ol.Problem(6, 5), anti_aligned=0)
    z = {"free 0, on block 1": first, "free 1, on block 1": second, "free 1, on block 0": elsewhere}
    z = [z.get(name, value) for name, value in point.parameters.items()]
    return eqx.tree_at(lambda p: p.z, point, jnp.array(z, float))


def perturb_hessian(monkeypatch, which, i, j, by):
    """Move one pair of entries of the Hessian of one representation, as `certify` computes it."""
    exact = certify.hessian

    def hessian(point, directions):
        H = exact(point, directions)
        if directions.component.name == which:
            H[i, j] += by
            if i != j:
                H[j, i] += by
        return H

    monkeypatch.setattr(certify, "hessian", hessian)


def ball(enclosure):
    with ctx.workprec(300):
        return arb(enclosure.ball)


def encloses(enclosure, value, error):
    """Return whether a ball holds a number known to `error`."""
    with ctx.workprec(300):
        return ball(enclosure).overlaps(arb(mp.nstr(value, 60)) + arb(0, error))


def loss_in_digits(W, teachers):
    """Return the loss of rows of mpmath numbers, by the arc-cosine kernel."""
    rows = [(1, w) for w in W] + [(-1, w) for w in teachers]

    def f(u, v):
        dot, a, b = mp.fdot(u, v), mp.norm(u), mp.norm(v)
        theta = mp.acos(max(min(dot / (a * b), mp.mpf(1)), mp.mpf(-1)))
        return a * b / (2 * mp.pi) * (mp.sin(theta) + (mp.pi - theta) * mp.cos(theta))

    return sum(a * b * f(u, v) for a, u in rows for b, v in rows) / 2


def fifty_digit_loss(point):
    W = np.asarray(point.weights.W)
    with mp.workdps(50):
        rows = [[mp.mpf(x) for x in row] for row in W.tolist() if any(row)]
        return loss_in_digits(rows, mp.eye(W.shape[1]).tolist())
