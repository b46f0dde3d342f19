"""Add to an error of the libraries which node and input it concerns, and what to do about it in the graph."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..common.errors import PackError
from . import host


@dataclass(frozen=True)
class Advice:
    """What to do in the graph about a problem that a library reports.

    Attributes:
        topic: The library's identifier of the problem, :attr:`PackError.topic`.
        text: One or more full sentences.
        nodes: The nodes that the text names, as ComfyUI shows them.
    """

    topic: str
    text: str
    nodes: tuple[str, ...] = ()


ADVICE = (
    # Files that are something else than the loader expects.
    Advice("t2i-adapter", "Load this file with Load T2I-Adapter.", ("Load T2I-Adapter",)),
    Advice("style-adapter", "Load this file with Load T2I Style Adapter.", ("Load T2I Style Adapter",)),
    Advice("fuser", "Load this file with Load CoAdapter Fuser.", ("Load CoAdapter Fuser",)),
    Advice("redux", "Load this file with Load Style Model, from models/style_models.", ("Load Style Model",)),
    Advice("ip-adapter", "Load this file with an IP-Adapter loader."),
    Advice("controlnet", "Load this file with Load ControlNet Model.", ("Load ControlNet Model",)),
    Advice("lora", "Load this file with Load LoRA, from models/loras.", ("Load LoRA",)),
    Advice("checkpoint", "Load this file with Load Checkpoint.", ("Load Checkpoint",)),
    Advice("diffusion-model", "Load this file with Load Diffusion Model.", ("Load Diffusion Model",)),
    Advice("vae", "Load this file with Load VAE.", ("Load VAE",)),
    Advice("vae-approx", "Load this file with Load VAE, from models/vae_approx.", ("Load VAE",)),
    Advice("clip-vision", "Load this file with Load CLIP Vision.", ("Load CLIP Vision",)),
    Advice("text-encoder", "Load this file with Load CLIP.", ("Load CLIP",)),
    Advice("embedding", "Name this file in the prompt: embedding:NAME."),
    Advice("upscaler", "Load this file with Load Upscale Model.", ("Load Upscale Model",)),
    # Values.
    Advice("number", "Check the node that makes the number."),
    Advice("image-shape", "Connect a node that makes images."),
    Advice("image-values", "Check the node that makes the image."),
    Advice("clip-vision-output", "Load that model in Load CLIP Vision.", ("Load CLIP Vision",)),
    Advice("latent", "Check the node that makes the latent."),
    Advice(
        "strength",
        "Lower strength in Apply T2I-Adapter, or the factors in T2I-Adapter Level Weights and T2I-Adapter Schedule.",
        ("Apply T2I-Adapter", "T2I-Adapter Level Weights", "T2I-Adapter Schedule"),
    ),
    Advice("no-fuser", "Connect Load CoAdapter Fuser.", ("Load CoAdapter Fuser",)),
    Advice("depth-map", "Connect a node that makes depth in gray values."),
    Advice("mask", "Connect a node that makes masks."),
    Advice("keypoints", "Check the node that detects the poses."),
    Advice("people", "Check the node that detects the people."),
    Advice("precision", "Set dtype to fp32 in Load T2I-Adapter.", ("Load T2I-Adapter",)),
)


@contextlib.contextmanager
def in_node(node: str, inputs: Mapping[str, Any] | None = None) -> Iterator[None]:
    """Add node, input and advice to the errors of the libraries, and show their sentence on the node; also a decorator.

    An error that passes several of these gets the innermost node. Class, parts and traceback stay as they are.

    Args:
        node: Display name of the node.
        inputs: Values of its inputs by id. The error names the input whose value it concerns.
    """
    try:
        yield
    except PackError as error:
        error.add_advice(advice_on(error, node, inputs or {}))
        host.show(error.says or str(error), host.running_node() or None)
        raise


def advice_on(error: PackError, node: str, inputs: Mapping[str, Any]) -> str:
    """Return the line to add to an error: node and input, unless its message names them, then the advice."""
    concerned = next((name for name, value in inputs.items() if _is_file(error.where, value)), "")
    place = "" if error.where.startswith(node) else f"Node: {node}{concerned and f', input {concerned}'}."
    text = next((row.text for row in ADVICE if row.topic == error.topic), "")
    return f"{place} {text}".strip()


def _is_file(where: str, value: Any) -> bool:
    """Return whether an error concerns this value: the name of a file, or a network from a file of that name."""
    name = value if isinstance(value, str) else getattr(value, "name", None)
    return isinstance(name, str) and f"/{where}".replace("\\", "/").endswith("/" + name.replace("\\", "/"))
