"""Property tests take the same examples in every run; `--hypothesis-seed=N` takes others."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

# No example fails because the machine is busy, and none comes from what an earlier run has found.
# Where the environment says CI, Hypothesis starts from a profile of its own, without randomness.
_ALWAYS = settings(
    database=None, deadline=None, suppress_health_check=[HealthCheck.too_slow], print_blob=True
)
settings.register_profile("fixed", _ALWAYS, derandomize=True)
settings.register_profile("random", _ALWAYS, derandomize=False)

# Hypothesis tries literals of the modules that are loaded, and which are depends on the tests that
# ran before in this process. There is no setting for it.
providers._get_local_constants = lambda: providers._local_constants


def pytest_configure(config: pytest.Config) -> None:
    """Examples are random if a seed is given; a profile that is asked for stands as it is."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("random" if config.getoption("--hypothesis-seed") else "fixed")
