"""What would never end is refused at once, with its cost; what takes long says so first.

The kind: a number that is allowed by itself asks for more steps than anybody waits for.
"""

import jax
import jax.numpy as jnp
import optax
import pytest
from hostile.commands import answer, refusal

import odelandscape as ol

SGD = "trajectory -K 2 -M 2 --flow sgd --networks 2 --quiet".split()


@pytest.mark.parametrize("rate", ["1e-9", "1e-300", "5e-324"])
def test_networks_of_too_many_steps_are_refused_with_their_number(rate, tmp_path):
    line = refusal(*SGD, "--learning-rate", rate, "--out", str(tmp_path))
    assert "--time" in line
    assert "steps" in line
    assert "learning rate" in line
    if rate == "1e-9":  # 100 · 1000 / 1e-9
        assert "1.0e+14 steps" in line


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"times": [1e9], "flow": ol.OnlineSGD(1e-3), "key": jax.random.key(0)}, "times"),
        ({"times": [1e300], "flow": optax.sgd(0.1), "key": jax.random.key(0)}, "times"),
        ({"times": [1e9], "flow": ol.GradientFlow(), "step": 1e-3}, "times"),
    ],
)
def test_training_of_too_many_steps_is_refused(more, named):
    problem = ol.Problem(2, 2)
    weights = ol.Weights(jnp.eye(2), jnp.ones(2))
    with pytest.raises(ol.UserError, match=rf"{named} must end by .* steps"):
        ol.train_network(problem, weights=weights, **more)


def test_the_steps_of_networks_are_said_first_and_counted(tmp_path):
    command = "trajectory -K 1 -M 1 --activation erf --flow sgd --networks 2 -d 20 --time 5".split()
    told = answer(*command, "--learning-rate", "0.1", "--out", str(tmp_path))
    assert told.code == 0, told.err
    assert "training 2 networks, 1,000 steps each" in told.err
    assert "100%" in told.err
