"""Fixed points proved in ball arithmetic, as certificates that can be checked.

In the order of the mathematics: `balls` (validated linear algebra), `groups` (units and directions),
`ball_loss` and `ball_hessian` (the loss and its variations), `statement` (what a proof is about), `certify`
(what is proved of it), `certificate` (as a value and a file); then `prove`, `prove_branch` and `check`.
"""
