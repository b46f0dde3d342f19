"""Create T2I-Adapter and Train T2I-Adapter."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..adapter_models.adapter import T2IAdapter
from ..adapter_models.families import family_of
from ..training.settings import PRECISIONS, Settings
from ..training.sizes import IMAGE_CHANNELS, SIZES, config_for
from ..training.timesteps import TIME_SAMPLINGS
from . import host
from .sockets import LossSocket, T2IAdapterSocket
from .trained import KINDS, new_adapter
from .training_run import Materials, Saving, train
from .versions import version_of

CATEGORY = "T2I-Adapter/training"
# As large as ComfyUI's own seeds.
LARGEST_SEED = 0xFFFFFFFFFFFFFFFF


class CreateT2IAdapter(io.ComfyNode):
    """Make an adapter that has learned nothing."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="CreateT2IAdapter",
            display_name="Create T2I-Adapter",
            category=CATEGORY,
            description="Make a new adapter that fits a MODEL of SD1.x, SD2.x or SDXL. It has learned nothing yet: "
            "connect it to Train T2I-Adapter.",
            search_aliases=["new adapter", "empty adapter", "train adapter", "initialise adapter"],
            inputs=[
                io.Model.Input("model", tooltip="The diffusion model to train for: it decides widths and places."),
                io.Combo.Input(
                    "size",
                    options=[row.name for row in SIZES],
                    default="base",
                    tooltip="base (default): the paper's 77 million weights. small: 18 million, tiny: 5 million, "
                    "quicker to train and smaller on the disk, and pictures follow a little less closely.",
                ),
                io.Combo.Input(
                    "image_channels",
                    options=[str(count) for count in IMAGE_CHANNELS],
                    default="3",
                    tooltip="3 (default) for coloured condition images, 1 for lines and other gray ones, whose colours "
                    "it then does not see.",
                ),
                io.Combo.Input(
                    "kind",
                    options=list(KINDS),
                    default="sketch",
                    tooltip="What the condition images show. Written into the saved file, so that loaders and T2I "
                    "Annotate for Adapter know. Changes nothing in the training.",
                ),
                _seed("Which random weights it begins with. Hardly matters for the pictures."),
            ],
            outputs=[T2IAdapterSocket.Output("adapter", tooltip="The new adapter, for Train T2I-Adapter.")],
        )

    @classmethod
    def execute(
        cls, model: Any, size: str = "base", image_channels: str = "3", kind: str = "sketch", seed: int = 0
    ) -> io.NodeOutput:
        """Make the adapter."""
        config = config_for(host.unet_outline(model), size, int(image_channels))
        family = "SDXL" if family_of(config) == "SDXL" else version_of(model)
        return io.NodeOutput(new_adapter(config, kind, family, seed))


class TrainT2IAdapter(io.ComfyNode):
    """Teach an adapter a condition."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="TrainT2IAdapter",
            display_name="Train T2I-Adapter",
            category=CATEGORY,
            description="Train an adapter on pictures, their condition images and prompts; the diffusion model stays "
            "as it is. A run that was cancelled or crashed goes on where it stopped when it is queued again.",
            search_aliases=["train controlnet", "finetune adapter", "teach sketch", "training", "resume training"],
            inputs=[*_materials(), *_schedule(), *_chances(), *_technique(), *_files(), _empty()],
            outputs=[
                T2IAdapterSocket.Output("adapter", tooltip="The trained adapter, to apply or to save."),
                LossSocket.Output("loss", tooltip="The loss of every step, for Plot Loss Graph."),
            ],
            is_input_list=True,
        )

    @classmethod
    def execute(
        cls,
        model: list[Any],
        adapter: list[T2IAdapter],
        latents: list[Any],
        images: list[Any],
        positive: list[Any],
        steps: list[int],
        batch_size: list[int],
        learning_rate: list[float],
        timesteps: list[str],
        prompt_dropout: list[float],
        condition_dropout: list[float],
        ema: list[float],
        gradient_accumulation: list[int],
        precision: list[str],
        seed: list[int],
        save_every: list[int],
        run_name: list[str],
        empty: list[Any] | None = None,
    ) -> io.NodeOutput:
        """Train the adapter. Every input is a list, because data sets come as lists; settings have one entry."""
        settings = Settings(
            steps[0],
            batch_size[0],
            learning_rate[0],
            timesteps[0],
            prompt_dropout[0],
            condition_dropout[0],
            ema[0],
            gradient_accumulation[0],
            precision[0],
            seed[0],
        )
        materials = Materials(
            latents, images, [one for group in positive for one in group], None if empty is None else empty[0]
        )
        result, losses = train(model[0], adapter[0], materials, settings, Saving(run_name[0], save_every[0]))
        return io.NodeOutput(result, {"loss": losses})


def _seed(tooltip: str) -> Any:
    # No button to change it after each run: a run with another seed is another run, and can't be continued.
    return io.Int.Input("seed", default=0, min=0, max=LARGEST_SEED, control_after_generate=False, tooltip=tooltip)


def _materials() -> list[Any]:
    return [
        io.Model.Input("model", tooltip="The diffusion model, without adapters. LoRAs in it count. It is not changed."),
        T2IAdapterSocket.Input("adapter", tooltip="From Create T2I-Adapter; a loaded one is trained further."),
        io.Latent.Input(
            "latents", tooltip="The pictures to learn from, from VAE Encode: a batch or a list, all of one size."
        ),
        io.Image.Input(
            "images",
            tooltip="Their condition images, one per latent in the same order, of the pictures' size.",
        ),
        io.Conditioning.Input(
            "positive", tooltip="Their prompts, one per latent in the same order, or one prompt for all."
        ),
    ]


def _schedule() -> list[Any]:
    return [
        io.Int.Input(
            "steps",
            default=1000,
            min=1,
            max=10_000_000,
            tooltip="Training steps in all, default 1000. More make pictures follow more closely. May be raised later: "
            "the run then goes on.",
        ),
        io.Int.Input(
            "batch_size",
            default=4,
            min=1,
            max=1024,
            tooltip="Pictures at a time, default 4. More make training steadier and need more memory.",
        ),
        io.Float.Input(
            "learning_rate",
            default=1e-5,
            min=1e-8,
            max=1.0,
            step=1e-7,
            tooltip="Length of a step, default 1e-5 as in the paper. Higher learns faster; too high gives noise.",
        ),
        io.Combo.Input(
            "timesteps",
            options=[row.name for row in TIME_SAMPLINGS],
            default="cubic",
            tooltip="Where in the noise it learns. cubic (default): mostly where the composition is decided, as in the "
            "paper. uniform: everywhere alike, for fine lines. late: noisy half only, for colours.",
        ),
    ]


def _chances() -> list[Any]:
    part = {"default": 0.0, "min": 0.0, "max": 1.0, "step": 0.01}
    return [
        io.Float.Input(
            "prompt_dropout",
            **part,
            tooltip="Part of the examples that are learned without their prompt, 0 (default) to 1. 0.5 makes pictures "
            "follow the condition image when the prompt says little. Needs empty.",
        ),
        io.Float.Input(
            "condition_dropout",
            **part,
            tooltip="Part of the examples that get a black condition image, 0 (default) to 1. About 0.1 teaches it to "
            "leave pictures alone where the condition image is empty.",
        ),
    ]


def _technique() -> list[Any]:
    return [
        io.Float.Input(
            "ema",
            default=0.0,
            min=0.0,
            max=0.99999,
            step=0.0001,
            tooltip="Decay of a moving average of the weights, which is then the result: steadier pictures in long "
            "runs. 0 (default): off. 0.999 suits some thousands of steps.",
        ),
        io.Int.Input(
            "gradient_accumulation",
            default=1,
            min=1,
            max=1024,
            tooltip="Batches in a step, default 1. 4 acts like four times the batch size in the memory of one.",
        ),
        io.Combo.Input(
            "precision",
            options=[row.name for row in PRECISIONS],
            default="fp32",
            tooltip="What the adapter computes in; its weights stay fp32. bf16 is quicker on newer GPUs, fp16 on older "
            "ones. fp32 (default) is the surest.",
        ),
        _seed("Decides noise, order and chances. The same seed gives the same adapter."),
    ]


def _files() -> list[Any]:
    return [
        io.Int.Input(
            "save_every",
            default=500,
            min=0,
            max=10_000_000,
            tooltip="Steps between checkpoints, default 500. Each is also an adapter file to try. 0: only at the end.",
        ),
        io.String.Input(
            "run_name",
            default="my_adapter",
            tooltip="Folder in output/t2i_adapters. An interrupted run of the same name and settings goes on exactly "
            "where it stopped.",
        ),
    ]


def _empty() -> Any:
    return io.Conditioning.Input(
        "empty",
        optional=True,
        tooltip="A prompt without text, from CLIP Text Encode. What prompt_dropout puts in the place of prompts.",
    )
