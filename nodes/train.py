"""Create T2I-Adapter and Train T2I-Adapter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from comfy_api.latest import io

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.errors import AdapterError
from ..common.checks import check_choice
from ..training.settings import Settings
from ..training.sizes import IMAGE_CHANNELS, SIZES, config_for
from . import host
from .advice import in_node
from .inputs import checked
from .sampling.base_model import version_of, warn_of_version
from .search_words import search_words
from .sockets import LossSocket, T2IAdapterSocket
from .training.adapter_files import TRAINED_CONDITIONS, new_adapter
from .training.examples import Materials
from .training.frozen_denoiser import TRAIN_NODE
from .training.input_values import check_materials, first_values
from .training.inputs import seed_input, training_inputs
from .training.run import Saving, Showing, train_adapter

_CATEGORY = "T2I-Adapter/training"


class CreateT2IAdapter(io.ComfyNode):
    """Create an untrained adapter, or one that starts from another's weights."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="CreateT2IAdapter",
            display_name="Create T2I-Adapter",
            category=_CATEGORY,
            description="Make a new, untrained adapter that fits a MODEL of SD1.x, SD2.x or SDXL. Connect it to "
            "Train T2I-Adapter.",
            search_aliases=search_words(
                "CreateT2IAdapter", "new adapter", "empty adapter", "train adapter", "initialise adapter"
            ),
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model to train for; the adapter gets its channels."),
                io.Combo.Input(
                    "size",
                    options=[row.name for row in SIZES],
                    default="base",
                    tooltip="base (default): the paper's 77 million weights. small (18 million) and tiny (5 million) "
                    "train faster, save smaller files, and make pictures follow a little less closely.",
                ),
                io.Combo.Input(
                    "image_channels",
                    options=[str(count) for count in IMAGE_CHANNELS],
                    default="3",
                    tooltip="3 (default) for coloured condition images, 1 for lines and other gray ones; with 1 the "
                    "adapter does not see colours.",
                ),
                io.Combo.Input(
                    "kind",
                    options=list(TRAINED_CONDITIONS),
                    default="sketch",
                    tooltip="What the condition images show, default sketch. Stored in the saved file for loaders and "
                    "T2I Annotate for Adapter. Does not affect training.",
                ),
                seed_input("Seed of the initial weights, default 0. Hardly affects the pictures."),
                T2IAdapterSocket.Input(
                    "start_from",
                    optional=True,
                    tooltip="An adapter of the same size whose weights the new one starts with, instead of random "
                    "ones. With one for a similar condition, training takes fewer steps. Its image_channels "
                    "may differ.",
                ),
            ],
            outputs=[T2IAdapterSocket.Output("adapter", tooltip="The new adapter, for Train T2I-Adapter.")],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: Any,
        size: str = "base",
        image_channels: str = "3",
        kind: str = "sketch",
        seed: int = 0,
        start_from: T2IAdapter | None = None,
    ) -> io.NodeOutput:
        """Make the adapter."""
        check_choice(
            "Create T2I-Adapter, image_channels",
            image_channels,
            [str(count) for count in IMAGE_CHANNELS],
            error=AdapterError,
        )
        check_choice("Create T2I-Adapter, kind", kind, TRAINED_CONDITIONS, error=AdapterError)
        config = config_for(host.unet_outline(model), size, int(image_channels))
        return io.NodeOutput(new_adapter(config, kind, version_of(model), seed, start_from))


class TrainT2IAdapter(io.ComfyNode):
    """Train an adapter on a condition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TrainT2IAdapter",
            display_name="Train T2I-Adapter",
            category=_CATEGORY,
            description="Train an adapter on pictures, their condition images and prompts; the diffusion model stays "
            "unchanged. Queue a cancelled or crashed run again to resume it where it stopped.",
            search_aliases=search_words(
                "TrainT2IAdapter", "train controlnet", "finetune adapter", "teach sketch", "training", "resume training"
            ),
            inputs=training_inputs(),
            outputs=[
                T2IAdapterSocket.Output("adapter", tooltip="The trained adapter, to apply or to save."),
                LossSocket.Output("loss", tooltip="The loss of every step, for Plot Loss Graph."),
            ],
            is_input_list=True,
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    @in_node(TRAIN_NODE)
    def execute(
        cls,
        model: list[Any],
        adapter: list[T2IAdapter],
        latents: list[Any],
        images: list[Any],
        positive: list[Any],
        **settings: Sequence[Any],
    ) -> io.NodeOutput:
        """Train the adapter. Every input is a list because data sets come as lists; settings are lists of one."""
        check_materials({"latents": latents, "images": images, "positive": positive})
        one = first_values({"model": model, "adapter": adapter, **settings})
        how = Settings(**{field.name: one[field.name] for field in fields(Settings) if field.name in one})
        how.check()
        node_id = cls.hidden.unique_id if cls.hidden else None
        warn_of_version(one["model"], one["adapter"], node_id)
        materials = Materials(latents, images, [each for group in positive for each in group], one["empty"])
        saving = Saving(one["run_name"], one["save_every"])
        showing = Showing(one["preview_every"], one["validate_every"], node_id)
        return io.NodeOutput(*train_adapter(one["model"], one["adapter"], materials, how, saving, showing))
