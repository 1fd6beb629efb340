"""Branches of fixed points in one number of the problem: `line` (the number), `corrector` (a point), `walk`
(the whole branch, compiled), `continuation` (for the user), `critical` (where stability changes)."""
