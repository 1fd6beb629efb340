r"""Online SGD at a finite learning rate, in infinitely many dimensions.

Each step of online SGD takes a fresh input $x \sim N(0, I_d)$,
$w_i \leftarrow w_i - \frac\eta d\, v_i \sigma'(\lambda_i) \Delta\, x$. For $d \to \infty$, with time
counted as steps · η/d, the order parameters follow an ODE: gradient flow, and a term that the noise adds to
the overlaps of students (paper, A.6; Saad and Solla 1995; Goldt et al. 2019),

$$\dot Q_{ij} = [\text{gradient flow}]_{ij}
  + \eta\, v_i v_j\, E[\sigma'(\lambda_i) \sigma'(\lambda_j) \Delta^2].$$
"""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..model.problem import Problem, is_concrete
from ..model.state import OrderParameters, Weights
from ..runtime.arguments import check_instance, check_positive_number, whole_as_float
from ..runtime.errors import UserError
from .base import AbstractFlow, Mixing
from .gradient import gradient_mixing
from .two_layer import TwoLayerFlow


class OnlineSGD(AbstractFlow):
    """Online SGD with steps of η/d in the limit of many dimensions d; an ODE of order parameters.

    - `learning_rate`: η > 0. A number, not a part of the program; at 0 it would be gradient flow.
    - `train_readout`: train the readout too, with the same steps η/d (in this limit it has no noise).
    - `tolerance`: absolute error of a fourth moment that is integrated numerically (ReLU, leaky ReLU).

    The noise adds to Q in infinitely many directions at once, which weights of finite dimension cannot hold:
    the flow acts on `OrderParameters` alone, and not on `Weights`. For ReLU and leaky ReLU an evaluation
    costs one integral for each set of four units with two students or more, C(K,2) C(M,2) + C(K,3) M + C(K,4)
    in all (53 at K = M = 4, 3,435 at K = M = 10, some 0.7 µs each); for others K(K+1)/2 · (K+M)(K+M+1)/2
    fourth moments.

    Raises UserError, outside `jit`, for a learning rate or a tolerance that isn't positive, and for
    `Weights`.
    """

    learning_rate: float | Float[Array, ""] = eqx.field(converter=whole_as_float, default=0.1)
    train_readout: bool = eqx.field(static=True, default=False)
    tolerance: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self):
        if is_concrete(self.learning_rate):
            check_positive_number("learning_rate", self.learning_rate)
        check_instance("train_readout", self.train_readout, bool, "True or False")
        check_positive_number("tolerance", self.tolerance)

    @property
    def stochastic(self) -> bool:
        return True

    @property
    def trains_readout(self) -> bool:
        return self.train_readout

    def sample_step(self, dimension: int):
        return self.learning_rate / dimension

    def mixing(self, state: OrderParameters, problem: Problem) -> Mixing:
        # Rounding makes Q_ij and Q_ji differ, and the noise amplifies the difference.
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

    def neutral_directions(self, weights: Weights, problem: Problem):
        raise UserError(
            "flow must act on weights for its fixed points to be judged there; got OnlineSGD, which acts on "
            "order parameters alone"
        )
