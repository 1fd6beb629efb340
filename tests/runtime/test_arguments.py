"""Checks of arguments: what passes, and what is refused by name."""

import numpy as np
import pytest

from odelandscape.runtime.arguments import check_positive_number, check_whole_number
from odelandscape.runtime.errors import UserError


@pytest.mark.parametrize("value", [1, np.int32(1), np.int64(7)])
def test_whole_numbers_pass_as_int(value):
    assert type(check_whole_number("count", value, 1)) is int


@pytest.mark.parametrize("value", [0, 1.0, "1", True, None, np.array([1])], ids=repr)
def test_others_are_refused(value):
    with pytest.raises(UserError, match="count must be a whole number of at least 1; got"):
        check_whole_number("count", value, 1)


@pytest.mark.parametrize("value", [1, 0.5, np.float32(2), np.array(3.0)], ids=repr)
def test_positive_numbers_pass(value):
    check_positive_number("step", value)


@pytest.mark.parametrize("value", [0, -1.0, np.inf, np.nan, "1", None, True, [1.0, 2.0]], ids=repr)
def test_numbers_that_are_not_positive_are_refused(value):
    with pytest.raises(UserError, match="step must be a finite number above 0; got"):
        check_positive_number("step", value)
