"""The rows of the table: where the pictures of each come from."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ...adapter_models.adapter import T2IAdapter
from ...adapter_models.errors import AdapterError
from ...nodes import host
from ...nodes.apply import ApplyT2IAdapter
from ...nodes.loading import adapters
from ...nodes.sampling import attach
from ...training.recipe import Wording, digest
from ..encode import LoadedCheckpoint, file_digest
from .errors import EvaluationError
from .inputs import EvaluationInput
from .options import EvaluationOptions

REAL, ROUND_TRIP, NO_ADAPTER = "real pictures", "real, through the VAE", "no adapter"


@dataclass(frozen=True)
class Contender:
    """A row of the table.

    Attributes:
        label: Its name.
        facts: JSON values that determine its pictures, besides the inputs.
        draw: Makes the picture (1, 3, H, W) in [0, 1] of an input.
        adapter: The row is of an adapter or ControlNet that the user named.
    """

    label: str
    facts: Mapping[str, Any]
    draw: Callable[[EvaluationInput], Tensor]
    adapter: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder of its pictures: another one for other facts."""
        plain = "".join(each if each.isalnum() or each in "._-" else "-" for each in self.label)
        return f"{plain[:80]}-{digest(dict(self.facts))[:8]}"


@dataclass(frozen=True)
class Guide:
    """An adapter or a ControlNet.

    Attributes:
        path: Its file or folder.
        network: The adapter, or ComfyUI's CONTROL_NET.
    """

    path: Path
    network: Any

    @property
    def adapter(self) -> T2IAdapter | None:
        """The adapter; None for a ControlNet."""
        return self.network if isinstance(self.network, T2IAdapter) else None


@dataclass(frozen=True)
class Studio:
    """What makes pictures.

    Attributes:
        checkpoint: The diffusion model.
        how: The sampler's settings.
        wording: How captions become prompts.
        negative: CONDITIONING of the negative prompt.
        strength: Strength of the adapters.
    """

    checkpoint: LoadedCheckpoint
    how: host.SamplerSettings
    wording: Wording
    negative: list[Any]
    strength: float

    def draw(self, one: EvaluationInput, guide: Guide | None = None) -> Tensor:
        """Make the picture of an input, (1, 3, H, W), as a workflow of ComfyUI's own nodes and ours does."""
        positive = host.encode_prompt(self.checkpoint.clip, self.wording.write(one.caption))
        model, prompts = self.checkpoint.model, (positive, self.negative)
        image = one.asked().movedim(1, -1)
        size = (image.shape[1], image.shape[2])
        if guide is not None and guide.adapter is not None:
            model = ApplyT2IAdapter.execute(model, guide.adapter, image, self.strength)[0]
        elif guide is not None:
            prompts = host.with_control_net(prompts, guide.network, image, self.strength, self.checkpoint.vae)
        picture = host.sample_picture(model, self.checkpoint.vae, prompts, size, one.seed, self.how)
        planes: Tensor = picture.movedim(-1, 1)
        return planes

    @torch.inference_mode()
    def round_trip(self, one: EvaluationInput) -> Tensor:
        """Encode and decode the real picture."""
        vae = self.checkpoint.vae
        decoded: Tensor = vae.decode(vae.encode(one.picture().movedim(1, -1)))
        return decoded.cpu().movedim(-1, 1)


def load_guide(path: Path, model: Any) -> Guide:
    """Load an adapter or a ControlNet.

    Args:
        path: A file or a diffusers folder.
        model: The MODEL that it must fit.

    Raises:
        AdapterError: The path does not exist, is neither, or does not fit the MODEL.
    """
    if not path.exists():
        raise EvaluationError(
            f"--adapter or --compare, {path}",
            "nothing there",
            "an adapter or a ControlNet",
            "Correct the path.",
            says=f"The file {path} does not exist.",
        )
    try:
        adapter = adapters.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
    except AdapterError as error:
        network = host.load_control_net(path) if error.topic == "controlnet" else None
        if network is None:
            raise
        return Guide(path, network)
    attach.sites_in(model, adapter)
    return Guide(path, adapter)


def contenders(studio: Studio, guides: Sequence[Guide], inputs: str, options: EvaluationOptions) -> list[Contender]:
    """Return the rows of the table.

    Args:
        studio: What makes pictures.
        guides: The adapters and ControlNets.
        inputs: Digest of the facts of the inputs.
        options: The user's choices.
    """
    drawn: dict[str, Any] = {
        "inputs": inputs,
        "checkpoint": file_digest(studio.checkpoint.path),
        **studio.checkpoint.part_digests(),
        **studio.checkpoint.part_digests(),
        "wording": studio.wording.name,
        **{name: getattr(options, name) for name in ("sampler", "scheduler", "steps", "cfg", "negative", "seed")},
    }
    encoded = {name: drawn[name] for name in drawn.keys() & {"inputs", "checkpoint", "parts"}}
    rows = [
        Contender(REAL, {"inputs": inputs}, lambda one: one.picture()),
        Contender(ROUND_TRIP, encoded, studio.round_trip),
        Contender(NO_ADAPTER, drawn, studio.draw),
    ]
    for guide, label in zip(guides, labels_for([guide.path for guide in guides]), strict=True):
        facts = {**drawn, "adapter": path_digest(guide.path), "strength": studio.strength}
        rows.append(Contender(label, facts, partial(studio.draw, guide=guide), adapter=True))
    return rows


def labels_for(paths: Sequence[Path]) -> list[str]:
    """Return a different name for each path: its stem, or more of the path where stems are equal."""
    stems = [path.stem for path in paths]
    names = [
        stem if stems.count(stem) == 1 else f"{path.parent.name}/{stem}"
        for path, stem in zip(paths, stems, strict=True)
    ]
    return [
        name if names.count(name) == 1 else f"{name} ({names[: place + 1].count(name)})"
        for place, name in enumerate(names)
    ]


def path_digest(path: Path) -> str:
    """Return a digest of a file, or of the files in a folder."""
    if path.is_file():
        return file_digest(path)
    return digest([file_digest(file) for file in sorted(path.rglob("*")) if file.is_file()])
