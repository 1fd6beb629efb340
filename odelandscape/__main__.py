"""`python -m odelandscape`."""

import sys

from .cli.main import main

sys.exit(main())
