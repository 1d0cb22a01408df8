"""Regenerates what is generated in sdk/; `make sdk` runs it."""

import os

import django

from tests.sdk import document, types, unasync, vectors

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
    django.setup()
    document.write()
    vectors.write()
    unasync.write()
    types.write()
