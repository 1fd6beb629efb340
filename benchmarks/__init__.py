"""What odelandscape costs, beside what one would otherwise write. See README.md."""

import os

# Must come before NumPy. On matrices this small BLAS gains nothing from threads, and where the cores
# are shared they make the NumPy side up to 17 times slower: a ratio that flatters. Set it to override.
for _name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"):
    os.environ.setdefault(_name, "1")
