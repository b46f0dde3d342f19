"""Build new and trained adapters for the sockets, and write them to files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.conditions import CONDITIONS, IMAGE_CONDITIONS
from ...adapter_models.config import AdapterConfig
from ...adapter_models.families import takes_tokens
from ...adapter_models.info import info_for_training
from ...adapter_models.loading import assemble
from ...adapter_models.networks import build_adapter
from ...adapter_models.saving import TRAINING_KEY, diffusers_config, layout_named, metadata_for_file, tensors_for_file
from ...training.checkpoints import write_whole
from ...training.init_from import inherited_weights
from .. import host
from ..loading import adapters

# For conditions without a published adapter.
OTHER = "other"
TRAINED_CONDITIONS = (*IMAGE_CONDITIONS, OTHER)


def new_adapter(
    config: AdapterConfig, condition: str, version: str | None, seed: int, start: T2IAdapter | None = None
) -> T2IAdapter:
    """Create an untrained adapter, or one with another adapter's weights.

    Args:
        config: Its shape.
        condition: One of :data:`TRAINED_CONDITIONS`.
        version: ``SD1.x``, ``SD2.x`` or a family of transformers, as the model tells; the shape tells SDXL.
        seed: Seed of the initial weights; unused with ``start``.
        start: An adapter whose weights it starts from.

    Returns:
        The adapter. Without ``start`` it has torch's default initialisation, as in the original training; for a
        transformer the last layer of each level is zero.

    Raises:
        TrainingError: ``start`` has another shape.
    """
    if start is None:
        # Leaves the global random generator unchanged.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            weights = build_adapter(config).state_dict()
        if takes_tokens(config):
            # The transformer's own tokens are unchanged at the start, however deep it is.
            weights |= {name: torch.zeros_like(each) for name, each in weights.items() if ".out_conv." in name}
    else:
        weights = inherited_weights(start, config)
    row = next((row for row in CONDITIONS if row.name == condition), None)
    info = info_for_training(config, row, version, sum(tensor.numel() for tensor in weights.values()))
    return adapters.own_adapter(assemble("the adapter", config, weights, host.OPERATIONS), info, bgr=False, dtype=None)


def trained_adapter(adapter: T2IAdapter, weights: Mapping[str, Tensor], name: str, training: str) -> T2IAdapter:
    """Return a copy of an adapter with trained weights.

    Args:
        adapter: The adapter that training started from; not changed.
        weights: The trained weights.
        name: Name of the result.
        training: Settings and result of the training, as JSON.
    """
    metadata = {**adapter.info.metadata, TRAINING_KEY: training}
    info = replace(adapter.info, name=name, dtype="float32", metadata=metadata, container="in memory")
    info = info.with_order(bgr=adapter.bgr)
    network = assemble("the adapter", adapter.network.config, weights, host.OPERATIONS)
    return adapters.own_adapter(network, info, bgr=adapter.bgr, dtype=adapter.dtype)


def _known_order(adapter: T2IAdapter) -> bool | None:
    """Return whether an adapter takes BGR; None if RGB was only assumed, which a file must not state as a fact."""
    if adapter.info.color_order.told_by:
        return adapter.info.bgr
    return True if adapter.bgr else None


def write_adapter(adapter: T2IAdapter, path: Path, layout: str, dtype: torch.dtype) -> Path:
    """Write an adapter to a file, or to a folder if the layout needs one.

    Args:
        adapter: The adapter.
        path: Target path without suffix.
        layout: A name of :data:`..adapter_models.saving.FILE_LAYOUTS`.
        dtype: Precision in the file.

    Returns:
        The file or the folder.

    Raises:
        AdapterError: The layout or the precision can't hold the adapter, or the target can't be written.
    """
    row, info = layout_named(layout), adapter.info
    tensors = tensors_for_file(adapter.network, row, dtype)
    metadata = metadata_for_file(
        adapter.network.config,
        family=info.family,
        condition=info.condition.name if info.condition else None,
        training=info.metadata.get(TRAINING_KEY),
        bgr=_known_order(adapter),
    )
    contents = safetensors.torch.save(tensors, dict(metadata))
    if not row.folder:
        file = path.with_name(f"{path.name}.safetensors")
        write_whole(file, lambda handle: handle.write(contents))
        return file
    config = json.dumps(diffusers_config(adapter.network.config), indent=2).encode()
    # Weights last: a folder counts as an adapter only once they exist.
    write_whole(path / "config.json", lambda handle: handle.write(config))
    write_whole(path / "diffusion_pytorch_model.safetensors", lambda handle: handle.write(contents))
    return path
