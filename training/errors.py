"""Errors of training."""

from __future__ import annotations

from ..adapter_models.errors import AdapterError


class TrainingError(AdapterError):
    """Training can't start or continue."""


class CheckpointError(TrainingError):
    """A checkpoint can't be written, read or resumed."""


class LostProcessError(TrainingError):
    """Another process of the run has ended, or does not answer."""
