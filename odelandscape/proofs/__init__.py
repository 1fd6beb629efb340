"""Fixed points proved in ball arithmetic, as certificates that can be checked.

In the order of the mathematics: `balls` (validated linear algebra), `groups` (units and directions),
`ball_loss` and `ball_hessian` (the loss and its variations), `statement` (what a proof is about), `certify`
(what is proved of it), `zero_loss` (where the loss is exactly 0), `certificate` (as a value and a file);
then `prove`, `prove_branch` and `check`.
"""

MOST_BITS = 10_000
"""Of the mantissas of a proof: it takes seconds with these, and Python reads no whole number much longer."""
MOST_PARAMETERS = 400
"""Of an ansatz that is proved; the cost grows like their cube."""
