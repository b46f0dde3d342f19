"""mypy reports nothing. It is a test so that it runs in parallel with others."""

from __future__ import annotations

import pytest
from t2i_adapter_pack.dev.tasks import typecheck


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_library_is_typed():
    assert typecheck.main([]) == 0
