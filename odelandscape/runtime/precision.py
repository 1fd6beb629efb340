"""The floating-point precision that results require."""

import jax

from .errors import UserError


def check_float64(why: str) -> None:
    """Raise UserError, beginning with `why`, unless JAX computes in float64."""
    if not jax.config.read("jax_enable_x64"):
        raise UserError(
            f"{why}, which float32 cannot give: call "
            'jax.config.update("jax_enable_x64", True) before anything else'
        )
