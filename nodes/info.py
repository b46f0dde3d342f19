"""T2I-Adapter Info and Preview T2I-Adapter Features."""

from __future__ import annotations

import torch
from comfy_api.latest import io, ui
from torch.nn import functional

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.conditions import NAME
from ..adapter_models.families import family_by_strides
from ..adapter_models.hint import check_hint
from .inputs import checked
from .sampling import attach
from .sockets import T2IAdapterSocket


class T2IAdapterInfo(io.ComfyNode):
    """Describe a loaded adapter."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="T2IAdapterInfo",
            display_name="T2I-Adapter Info",
            category="T2I-Adapter",
            description="Tell what a loaded adapter is: family, size, precision, file format, and the condition image "
            "that it expects. Connect text to Preview as Text.",
            search_aliases=["adapter info", "which adapter", "inspect adapter", "what is this file", "metadata"],
            inputs=[T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter.")],
            outputs=[
                T2IAdapterSocket.Output("adapter", tooltip="The same adapter."),
                io.String.Output("text", tooltip="What it is, one fact a line."),
            ],
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter) -> io.NodeOutput:
        """Describe the adapter."""
        return io.NodeOutput(adapter, describe(adapter))


def describe(adapter: T2IAdapter) -> str:
    """Return the facts about an adapter, one a line."""
    info, config = adapter.info, adapter.network.config
    levels = ", ".join(f"{width} (1/{cell})" for width, cell in zip(config.channels, config.strides, strict=True))
    condition = info.condition
    rows = (
        ("file", info.name),
        ("family", info.family or family_by_strides(config)),
        ("kind", f"{config.kind}, {config.num_res_blocks} residual blocks per level"),
        ("levels", levels),
        ("condition", f"{condition.name}: {condition.expects}" if condition else "not named in the file or its name"),
        ("image channels", f"{config.image_channels} ({_color_order(adapter)})" if config.image_channels > 1
         else "1 (gray)"),
        ("parameters", f"{info.parameters / 1e6:.1f} M"),
        ("precision", f"{info.dtype}; computes in {adapter.dtype or 'the precision of the model'}"),
        ("file format", f"{info.layout}, {info.container}"),
        *((f"taken from {NAME}", named) for named in (_from_name(adapter),) if named),
    )  # fmt: skip
    return "\n".join(f"{name}: {value}" for name, value in rows)


def _from_name(adapter: T2IAdapter) -> str:
    """Return the facts that were read from the file's name alone."""
    info, colours = adapter.info, adapter.network.config.image_channels > 1
    sources = (
        ("family", info.family_from),
        ("condition", info.condition_from),
        ("order of colours", info.color_order.told_by if colours and adapter.bgr == info.bgr else ""),
    )
    return ", ".join(fact for fact, source in sources if source == NAME)


def _color_order(adapter: T2IAdapter) -> str:
    order, name = adapter.info.color_order, "BGR" if adapter.bgr else "RGB"
    if order.told_by or adapter.bgr != order.bgr:
        return name
    return f"{name}, assumed: neither the file nor its name tells"


class PreviewT2IAdapterFeatures(io.ComfyNode):
    """Show an adapter's features of a condition image."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        side = {"default": 512, "min": 16, "max": 8192, "step": 8}
        return io.Schema(
            node_id="PreviewT2IAdapterFeatures",
            display_name="Preview T2I-Adapter Features",
            category="T2I-Adapter",
            description="Show the four feature maps that an adapter makes of a condition image, fine to coarse, as "
            "heat maps: bright where it acts most. Black maps mean that the image is empty for this adapter.",
            search_aliases=["adapter features", "feature maps", "heat map", "debug adapter", "adapter has no effect"],
            inputs=[
                T2IAdapterSocket.Input("adapter", tooltip="From Load T2I-Adapter."),
                io.Image.Input("image", tooltip="The condition image. Of a batch the first is shown."),
                io.Int.Input(
                    "width", tooltip="Width of the picture to be made, in pixels: 16 to 8192, default 512.", **side
                ),
                io.Int.Input(
                    "height", tooltip="Height of the picture to be made, in pixels: 16 to 8192, default 512.", **side
                ),
            ],
            outputs=[io.Image.Output("images", tooltip="One heat map per level, fine to coarse.")],
            is_output_node=True,
        )

    @classmethod
    @checked
    def execute(cls, adapter: T2IAdapter, image: torch.Tensor, width: int, height: int) -> io.NodeOutput:
        """Compute the features and paint them."""
        hint = image.movedim(-1, 1) if image.ndim == 4 else image
        check_hint("Preview T2I-Adapter Features, image", hint)
        maps = heat_maps(compute_features(adapter, hint[:1], (height, width)), (height, width))
        return io.NodeOutput(maps, ui=ui.PreviewImage(maps, cls=cls))


def compute_features(adapter: T2IAdapter, image: torch.Tensor, size: tuple[int, int]) -> list[torch.Tensor]:
    """Compute an adapter's features outside of sampling.

    Args:
        adapter: The adapter; ComfyUI loads it.
        image: Condition images (B, C, H, W) in [0, 1].
        size: Height and width of the picture in pixels.

    Returns:
        One (B, C, h, w) per level in CPU memory, fine to coarse.
    """
    attach.load_network(adapter, adapter.forward_bytes(image.shape[0], size, torch.float32))
    device = adapter.patcher.load_device  # type: ignore[attr-defined]
    features = adapter.features(image, image.shape[0], size, "crop", device=device, dtype=torch.float32)
    return [level.float().cpu() for level in features.levels]


def heat_maps(levels: list[torch.Tensor], size: tuple[int, int]) -> torch.Tensor:
    """Render feature maps as heat maps.

    Args:
        levels: One (B, C, h, w) per level; only the first of each batch is rendered.
        size: Height and width of the pictures in pixels.

    Returns:
        (levels, H, W, 3) in [0, 1]: root mean square over channels, from black through red and yellow to white.
    """
    pictures = []
    for level in levels:
        energy = level[:1].float().square().mean(1, keepdim=True).sqrt()
        energy = energy / energy.max().clamp(min=torch.finfo(energy.dtype).tiny)
        energy = functional.interpolate(energy, size=size, mode="nearest-exact")[0, 0]
        pictures.append(torch.stack([(3 * energy - start).clamp(0, 1) for start in range(3)], dim=-1))
    return torch.stack(pictures)
