"""The command `check`."""

import argparse

CHECK_EXAMPLES = """\
examples:
  odelandscape check prove-K17-M17-alpha2/compensated-2.json
  odelandscape check prove-K10-M10/*.json
"""


def run_check(args: argparse.Namespace) -> None:
    from ..proofs.check import check_certificate

    for file in args.files:
        certificate = check_certificate(file)
        print(f"{file}: proved, {certificate.verdict} with loss {certificate.loss}", flush=True)
