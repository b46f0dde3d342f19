"""Small tensors are read and checked fastest on one thread."""

from ..adapter_models.conftest import one_thread

__all__ = ["one_thread"]
