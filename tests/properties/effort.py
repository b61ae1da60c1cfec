"""How many examples a property gets: the same ones for every change, and many more, other ones at length."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

_UNHEALTHY = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]


def every_time(examples: int) -> settings:
    """For every change: always the same examples, so that a failure is the change's own."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=_UNHEALTHY,
    )


def at_length(examples: int) -> settings:
    """For `make interop-full`: new examples each time."""
    return settings(
        max_examples=examples, deadline=None, print_blob=True, database=None, suppress_health_check=_UNHEALTHY
    )
