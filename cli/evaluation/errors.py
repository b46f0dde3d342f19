"""Errors of the evaluation."""

from __future__ import annotations

from ...adapter_models.errors import AdapterError


class EvaluationError(AdapterError):
    """The evaluation can't use an option, a file or a package."""
