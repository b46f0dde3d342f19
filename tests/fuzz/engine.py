"""How long the fuzz tests run: briefly and deterministically in the test suite, for hours in `fuzz`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

# Nothing is stored between runs or timed, so that results do not depend on the machine's load.
SHORT = settings(
    max_examples=100,
    # Without the explain phase, which takes minutes.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

Test = Callable[..., Any]
