"""T2I-Adapter networks, file formats, UNet families and the engine that turns adapters into residuals; plain torch.

The names in ``__all__`` are the public API; see docs/libraries.md. Everything else may change between versions.
"""

from .adapter import T2IAdapter
from .config import AdapterConfig
from .errors import (
    AdapterError,
    CorruptFileError,
    FamilyMismatchError,
    HintError,
    NotAnAdapterError,
    UnsafeFileError,
)
from .info import AdapterInfo
from .standalone import AdapterModule, hint_features, load_adapter, unet_residuals

__all__ = [
    "AdapterConfig",
    "AdapterError",
    "AdapterInfo",
    "AdapterModule",
    "CorruptFileError",
    "FamilyMismatchError",
    "HintError",
    "NotAnAdapterError",
    "T2IAdapter",
    "UnsafeFileError",
    "hint_features",
    "load_adapter",
    "unet_residuals",
]
