"""`python -m odelandscape`, and the script `odelandscape`."""

import sys


def main() -> int:
    """Run the command line in a process of its own and return the exit status."""
    from .cli.process import end_when_interrupted

    end_when_interrupted()
    from .cli.main import main as run

    return run(when_begun=end_when_interrupted)


if __name__ == "__main__":
    sys.exit(main())
