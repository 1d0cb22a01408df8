"""`python -m tests.contract --write`: write the golden files from the current code."""

import argparse
import os
import sys

import django


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.contract", description=__doc__)
    parser.add_argument("--write", action="store_true", required=True, help="write the golden files")
    parser.parse_args()
    os.environ.setdefault("HOOKHUB_HOME", ".hookhub/tests")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
    django.setup()
    from tests.contract.pages import write

    print("\n".join(write()) or "nothing has changed", file=sys.stderr)


if __name__ == "__main__":
    main()
