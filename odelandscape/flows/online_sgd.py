r"""Online SGD at a finite learning rate, in infinitely many dimensions.

Each step of online SGD takes a fresh input $x \sim N(0, I_d)$,
$w_i \leftarrow w_i - \frac\eta d\, v_i \sigma'(\lambda_i) \Delta\, x$. For $d \to \infty$, with time
counted as steps · η/d, the order parameters follow an ODE: gradient flow, and what the noise adds to the
overlaps of students (paper, A.6; Saad and Solla 1995; Goldt et al. 2019),

$$\dot Q_{ij} = [\text{gradient flow}]_{ij}
  + \eta\, v_i v_j\, E[\sigma'(\lambda_i) \sigma'(\lambda_j) \Delta^2].$$
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float

from ..model.problem import Problem
from ..model.state import OrderParameters, Weights
from ..runtime.errors import UserError
from .base import AbstractFlow, Mixing
from .gradient import gradient_mixing
from .two_layer import TwoLayerFlow


def _check_positive(name: str, value) -> None:
    if isinstance(value, Tracer):
        return
    if not eqx.is_array_like(value) or np.shape(value) != () or not 0 < float(value) < np.inf:
        raise UserError(f"{name} must be a finite number above 0; got {value!r}")


class OnlineSGD(AbstractFlow):
    """Online SGD with steps of η/d in the limit of many dimensions d; an ODE of order parameters.

    - `learning_rate`: η > 0. A number, not a part of the program; at 0 it would be gradient flow.
    - `train_readout`: the readout learns too, with the same steps η/d (then no noise reaches it).
    - `tolerance`: absolute error of a fourth moment that is integrated numerically (ReLU, leaky ReLU).

    The noise grows in all directions at once, most of which no weights of finite dimension have room for: it
    acts on `OrderParameters` alone, and not on `Weights`. For ReLU and leaky ReLU an evaluation costs one
    integral for each set of four units with two students or more, C(K,2) C(M,2) + C(K,3) M + C(K,4) in all
    (53 at K = M = 4, 3,435 at K = M = 10, some 0.7 µs each); for others K(K+1)/2 · (K+M)(K+M+1)/2 fourth
    moments.

    Raises ValueError, outside `jit`, for a learning rate or a tolerance that isn't positive, and for
    `Weights`.
    """

    learning_rate: float | Float[Array, ""] = eqx.field(
        converter=lambda rate: float(rate) if isinstance(rate, int) else rate, default=0.1
    )
    train_readout: bool = eqx.field(static=True, default=False)
    tolerance: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self):
        _check_positive("learning_rate", self.learning_rate)
        _check_positive("tolerance", self.tolerance)

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def trains_readout(self) -> bool:
        return self.train_readout

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        # Noise would drive apart what rounding makes of Q_ij and Q_ji.
        state = OrderParameters((state.Q + state.Q.T) / 2, state.R, state.v)
        drift = (
            TwoLayerFlow().mixing(state, problem)
            if self.train_readout
            else gradient_mixing(state, problem)
        )
        Q, R, v = state.Q, state.R, state.v
        a = jnp.concatenate([v, -problem.readout])
        covariance = jnp.block([[Q, R], [R.T, problem.T]])
        products = problem.activation.slope_products(
            a, covariance, problem.students, self.tolerance
        )
        noise = self.learning_rate * v[:, None] * v[None, :] * products
        return drift._replace(noise=noise)

    def project_initial(self, weights: Weights) -> Weights:
        return weights

    def retract(self, weights: Weights) -> Weights:
        return weights

    def neutral_directions(self, weights: Weights, problem: Problem):
        raise UserError(
            "OnlineSGD has no gradient in the weights whose fixed points could be judged"
        )
