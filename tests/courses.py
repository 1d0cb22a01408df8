"""Settings of the tests that try whole courses of events: `make hunt` tries twenty times as many, and new ones."""

from hypothesis import HealthCheck, settings

# What `make test` tries of each property, by default.
USUAL = 100


def any_course(*, examples: int, steps: int) -> settings:
    """Return settings for ``examples`` courses, times what the profile tries of each property more than usual."""
    times = settings.default.max_examples // USUAL
    return settings(
        max_examples=examples * times,
        stateful_step_count=steps,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
