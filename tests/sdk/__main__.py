"""Regenerates what is generated in sdk/; `make sdk` runs it."""

import os

from tests.sdk import unasync, vectors

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

if __name__ == "__main__":
    vectors.write()
    unasync.write()
