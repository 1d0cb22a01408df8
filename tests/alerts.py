"""Steps of the alerts for the tests."""

from datetime import datetime

from hookhub.alerts import announcing, sending


def notify(*, now: datetime) -> int:
    """Announce what was disabled and what ends soon, and send; return how many alerts are done with."""
    announcing.announce_disabled(now=now)
    announcing.announce_ending(now=now)
    return sending.send_due(now=now)
