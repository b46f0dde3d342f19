"""How long the fuzz tests try: shortly and always the same in the test suite, for hours where a night is theirs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, settings

# Nothing is kept between runs and nothing is timed, so that a busy machine finds what an idle one finds.
SHORT = settings(
    max_examples=100,
    # Without the phase that explains a failure: it takes minutes.
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

Test = Callable[..., Any]
