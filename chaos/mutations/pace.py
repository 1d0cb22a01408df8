"""A quicker pace of verifications, so that those of a killed worker are repeated within a scenario."""

import os
from datetime import timedelta

QUICK = "CHAOS_QUICK_VERIFICATIONS"
LEASE, TIMEOUT = timedelta(seconds=5), timedelta(seconds=3)
SCHEDULE = (timedelta(seconds=1), timedelta(seconds=1), timedelta(seconds=2))


def set_pace() -> None:
    """Set shorter leases, deadlines and waits if CHAOS_QUICK_VERIFICATIONS is set; Django must be set up."""
    if not os.environ.get(QUICK):
        return
    from deliveries.webhooks import verification_queue, verifying

    for module, name, value in (
        (verification_queue, "LEASE", LEASE),
        (verification_queue, "TIMEOUT", TIMEOUT),
        (verifying, "SCHEDULE", SCHEDULE),
    ):
        assert name in vars(module), f"{module} has no {name}"
        setattr(module, name, value)
