"""`python -m odelandscape`."""

import sys

from .cli import main

sys.exit(main())
