"""How ComfyUI names our errors before their messages: shortly, and without the path of the pack on the disk."""

from __future__ import annotations

import pytest
from t2i_adapter_pack.adapter_models import errors as adapters
from t2i_adapter_pack.annotators import errors as annotators
from t2i_adapter_pack.training import errors as training

MODULES = (adapters, annotators, training)
ERRORS = [kind for module in MODULES for kind in vars(module).values() if isinstance(kind, type)]


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__qualname__)
def test_an_error_is_shown_by_a_short_name(kind):
    assert issubclass(kind, ValueError)
    assert f"{kind.__module__}.{kind.__qualname__}" == f"t2i_adapter.{kind.__name__}"
