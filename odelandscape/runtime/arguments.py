"""Checks of arguments that several rooms share, without JAX."""

import numpy as np

from .errors import UserError


def check_whole_number(name: str, value: object, least: int) -> int:
    """Return `value` as an int.

    Raises UserError, naming the argument, unless it is a whole number of at least `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise UserError(f"{name} must be a whole number of at least {least}; got {value!r}")
    return int(value)


def check_positive_number(name: str, value: object) -> None:
    """Raise UserError, naming the argument, unless `value` is one finite number above 0.

    Arrays without axes count as numbers. (Of a traced array there is nothing to check.)
    """
    array = np.asarray(value)
    if array.shape != () or array.dtype.kind not in "iuf" or not 0 < float(array) < np.inf:
        raise UserError(f"{name} must be a finite number above 0; got {value!r}")
