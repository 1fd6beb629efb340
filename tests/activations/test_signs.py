"""The trapezoidal rule of the moment of four signs."""

import numpy as np

from odelandscape.activations.signs import rule


def test_nodes_grow_with_the_square_of_the_number_of_digits():
    digits = np.array([4, 6, 8, 10, 12, 14])
    nodes = [len(rule(10.0**-d)[0]) for d in digits]
    assert np.all(np.diff(nodes) > 0)
    # last/h of its docstring, for angles down to sqrt(32 ulp).
    e = np.log(10) * digits
    least = np.sqrt(32 * 2.0**-52)
    expected = (np.log(16 / least**3) + e) * (np.log(30) + e) / (4 * np.pi**2)
    assert np.all(np.abs(nodes - expected) <= 2)
    for tau, rest, weights in map(rule, (1e-6, 1e-13)):
        np.testing.assert_allclose(tau**2 + rest, 1, rtol=1e-15)
        np.testing.assert_allclose(np.sum(weights), 1, rtol=1e-5)  # ∫dτ
