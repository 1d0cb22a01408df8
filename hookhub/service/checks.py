"""System checks of the service: what its environment has that no setting reads."""

import os
import re
from collections.abc import Sequence
from difflib import get_close_matches

from django.apps import AppConfig
from django.core.checks import CheckMessage, register
from django.core.checks import Warning as CheckWarning

from hookhub.service.environment import NAMES

# Read elsewhere: by commands, the git hook, docker-compose.yml, tests, and an installation without servers of its own.
OTHERS = frozenset(
    {
        "HOOKHUB_API_KEY",
        "HOOKHUB_CLONE_URL",
        "HOOKHUB_CUSTOMER_ID",
        "HOOKHUB_DIALECT",
        "HOOKHUB_FAILPOINTS",
        "HOOKHUB_FOREGROUND",
        "HOOKHUB_HOME",
        "HOOKHUB_HTML_URL",
        "HOOKHUB_PORT",
        "HOOKHUB_PUSHER",
        "HOOKHUB_PUSHER_EMAIL",
        "HOOKHUB_PUSHER_ID",
        "HOOKHUB_REPOSITORY",
        "HOOKHUB_REPOSITORY_ID",
        "HOOKHUB_URL",
        "HOOKHUB_WEBHOOK_SECRET",
    }
)
# What Kubernetes tells a pod of the services beside it, and what the tests are told.
OF_OTHERS = re.compile(r"_(SERVICE_(HOST|PORT)|PORT_\d+_(TCP|UDP))|^HOOKHUB_(TESTS|FUZZ|WRITE)_")


@register
def check_variables(app_configs: Sequence[AppConfig] | None, **_: object) -> list[CheckMessage]:
    """Report variables whose names look like settings and are none."""
    del app_configs
    unknown = [name for name in os.environ if name.startswith("HOOKHUB_") and name not in NAMES | OTHERS]
    return [
        CheckWarning(f"{name} is no setting of HookHub, and does nothing.", hint=_similar(name), id="hookhub.W003")
        for name in sorted(unknown)
        if not OF_OTHERS.search(name)
    ]


def _similar(name: str) -> str | None:
    found = get_close_matches(name, NAMES, n=1)
    return f"Is it {found[0]}?" if found else None
