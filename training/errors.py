"""Errors of training: each says where it happened, what was got, what was expected, and the fix."""

from __future__ import annotations

from ..adapter_models.errors import AdapterError


class TrainingError(AdapterError):
    """Training can't begin, or can't go on."""


class CheckpointError(TrainingError):
    """A checkpoint can't be written, read, or continued from."""
