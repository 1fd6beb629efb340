"""Problems in words: those that differ can be told apart."""

import jax.numpy as jnp
import numpy as np
import pytest

import odelandscape as ol
from odelandscape.model.title import in_words, title_of


def quartic(x):
    return x**4


C = np.full((3, 3), 0.2) + 0.8 * np.eye(3)


@pytest.mark.parametrize(
    ("problem", "title"),
    [
        (ol.Problem(3, 3), "K = 3 students, M = 3 teachers, ReLU"),
        (
            ol.Problem(3, 2, ol.LeakyReLU(0.05)),
            "K = 3 students, M = 2 teachers, LeakyReLU(slope 0.05)",
        ),
        (
            ol.Problem(3, 2, ol.LeakyReLU(0.0)),
            "K = 3 students, M = 2 teachers, LeakyReLU(slope 0)",
        ),
        (
            ol.Problem(3, 3, ol.Quadrature(jnp.tanh)),
            "K = 3 students, M = 3 teachers, Quadrature(tanh)",
        ),
        (ol.Problem(3, 3, None, C), "K = 3 students, M = 3 teachers with overlap 0.2, ReLU"),
        (
            ol.Problem(3, 3, None, 4 * C),
            "K = 3 students, M = 3 teachers with length 2, overlap 0.8, ReLU",
        ),
        (
            ol.Problem(3, 3, None, None, [1.0, 1.0, -1.0]),
            "K = 3 students, M = 3 teachers with readouts (1, 1, -1), ReLU",
        ),
        (
            ol.Problem(3, 3, None, None, [1e-6] * 3),
            "K = 3 students, M = 3 teachers with readout 1e-06, ReLU",
        ),
        (
            ol.Problem(2, 2, None, np.diag([1.0, 2.0])),
            "K = 2 students, M = 2 teachers with overlaps T of eigenvalues 1 to 2, ReLU",
        ),
        (ol.Problem(1, 1, None, [[9.0]]), "K = 1 student, M = 1 teacher with length 3, ReLU"),
    ],
)
def test_a_title_names_what_a_problem_is(problem, title):
    assert title_of(problem) == title
    assert title_of(problem, "d = 9") == f"{title}, d = 9"


LAMBDAS = (
    lambda x: jnp.tanh(x / 2),
    lambda x: jnp.tanh(x / 3),
)


def test_each_value_of_a_study_has_a_title_of_its_own():
    """Slopes, correlations, readouts, functions, scales: whatever a study varies."""
    studies = [
        [ol.Problem(3, 3, ol.LeakyReLU(s)) for s in (0.0, 0.1, 0.1 + 1e-9)],
        [ol.Problem(3, 3, ol.Quadrature(f)) for f in (quartic, jnp.tanh, jnp.sin, *LAMBDAS)],
        [ol.Problem(3, 3, None, (1 - c) * np.eye(3) + c) for c in (0.0, 0.1, 0.99, 0.999999)],
        [ol.Problem(3, 3, None, s * np.eye(3)) for s in (1.0, 1e-6, 4.0)],
        [ol.Problem(3, 8, None, None, np.arange(8.0) ** n) for n in (0, 1, 2)],
        [ol.Problem(3, 3, None, np.diag([1.0, 2.0, x])) for x in (3.0, 4.0)],
    ]
    for study in studies:
        assert len({title_of(problem) for problem in study}) == len(study)


def test_a_flow_is_named_with_its_numbers():
    assert in_words(ol.GradientFlow()) == "GradientFlow"
    assert in_words(ol.OnlineSGD(0.3)) != in_words(ol.OnlineSGD(0.2))
    assert in_words(ol.OnlineSGD(0.3, train_readout=True)) == (
        "OnlineSGD(learning rate 0.3, train readout)"
    )
