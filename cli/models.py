"""Load models that come in several files: UNet, text encoders and VAE, or a folder as diffusers writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from safetensors import SafetensorError

from ..common.containers import UNREADABLE
from ..nodes import host
from ..training.errors import TrainingError
from .encode import LoadedCheckpoint, find_checkpoint

_T = TypeVar("_T")


@dataclass(frozen=True)
class ModelPart:
    """A part of a diffusion model.

    Attributes:
        option: The option that names its file, without dashes.
        says: What it is called.
        folders: ComfyUI's folders of such files.
    """

    option: str
    says: str
    folders: tuple[str, ...]


UNET = ModelPart("unet", "UNet", ("diffusion_models",))
CLIP = ModelPart("clip", "text encoder", ("text_encoders",))
VAE = ModelPart("vae", "VAE", ("vae",))
# Names of weights in a diffusers folder, as ComfyUI looks for them: the first one there is taken.
_DIFFUSION = ("diffusion_pytorch_model",)
_TRANSFORMERS = ("model", "pytorch_model")
_ENDINGS = (".fp16.safetensors", ".safetensors", ".fp16.bin", ".bin")


class ModelOptions(Protocol):
    """The options of a command that name the diffusion model."""

    @property
    def checkpoint(self) -> str | None:
        """The whole model: a file, or a folder as diffusers writes it."""

    @property
    def unet(self) -> str | None:
        """The UNet's file, in place of the checkpoint."""

    @property
    def clip(self) -> tuple[str, ...]:
        """Files of the UNet's text encoders."""

    @property
    def vae(self) -> str | None:
        """The VAE's file."""


def in_one_file(options: ModelOptions) -> bool:
    """Return whether the options name one file with the whole model."""
    parts = (options.unet, options.vae)
    return parts == (None, None) and not (options.checkpoint and Path(options.checkpoint).expanduser().is_dir())


def read_parts(options: ModelOptions) -> LoadedCheckpoint:
    """Load a model whose parts are in several files.

    Args:
        options: The user's choices; not :func:`in_one_file`.

    Raises:
        TrainingError: A file does not exist, can't be loaded, or is not the part that it is named as.
    """
    named = None if options.vae is None else _found(VAE, options.vae)
    if options.unet is not None:
        clips = [_found(CLIP, name) for name in options.clip]
        return _joined(_found(UNET, options.unet), clips, named)
    folder = Path(options.checkpoint or "").expanduser()
    if folder.is_dir():
        encoders = [_in_folder(folder, "text_encoder", _TRANSFORMERS, CLIP)]
        if (folder / "text_encoder_2").is_dir():
            encoders.append(_in_folder(folder, "text_encoder_2", _TRANSFORMERS, CLIP))
        vae = named or _in_folder(folder, "vae", _DIFFUSION, VAE)
        return _joined(_in_folder(folder, "unet", _DIFFUSION, UNET), encoders, vae)
    path = find_checkpoint(options.checkpoint or "")
    model, clip, _ = _loaded("checkpoint", path, lambda: host.load_model_clip_vae(path))
    vae_file = named or path
    vae_of_file = _loaded(VAE.option, vae_file, lambda: host.load_vae(vae_file))
    return _complete(path, (model, clip, vae_of_file), (vae_file,))


def _joined(unet: Path, clips: Sequence[Path], vae: Path | None) -> LoadedCheckpoint:
    model = _loaded(UNET.option, unet, lambda: host.load_unet(unet))
    clip = _loaded(CLIP.option, clips[0], lambda: host.load_text_encoders(clips))
    decoder = None if vae is None else _loaded(VAE.option, vae, lambda: host.load_vae(vae))
    return _complete(unet, (model, clip, decoder), (*clips, *(() if vae is None else (vae,))))


def _complete(path: Path, loaded: tuple[Any, Any, Any], parts: tuple[Path, ...]) -> LoadedCheckpoint:
    missing = [part.says for part, one in zip((UNET, CLIP, VAE), loaded, strict=True) if one is None]
    if missing:
        raise TrainingError(
            f"checkpoint, {path}",
            f"no {' and no '.join(missing)}",
            "UNet, text encoder and VAE",
            "Name the missing parts with --unet, --clip and --vae, or use a complete checkpoint.",
            says=f"The model lacks its {' and '.join(missing)}.",
        )
    return LoadedCheckpoint(path, *loaded, parts)


def _found(part: ModelPart, name: str) -> Path:
    path = Path(name).expanduser()
    if path.is_file():
        return path
    known = host.model_files(part.folders)
    if name not in known:
        raise TrainingError(
            part.option,
            f"'{name}', which is not a file",
            f"a file with a {part.says}",
            f"ComfyUI's folder has: {', '.join(known) or 'none'}.",
            says=f"The {part.says} '{name}' does not exist.",
        )
    return Path(known[name])


def _in_folder(folder: Path, name: str, stems: Sequence[str], part: ModelPart) -> Path:
    names = [stem + ending for stem in stems for ending in _ENDINGS]
    found = next((folder / name / one for one in names if (folder / name / one).is_file()), None)
    if found is None:
        raise TrainingError(
            f"checkpoint, {folder}",
            f"no weights in {name}",
            f"{name}/{names[1]}",
            "Use a folder as diffusers writes it, with unet, text_encoder and vae.",
            says=f"The folder {folder.name} has no {part.says}.",
        )
    return found


def _loaded(option: str, path: Path, load: Callable[[], _T]) -> _T:
    try:
        return load()
    except (*UNREADABLE, SafetensorError, NameError) as error:  # NameError: ComfyUI's own, of an unknown text encoder
        raise TrainingError(
            f"{option}, {path}",
            f"a file that can't be loaded ({error})",
            f"a file for --{option}",
            "Use another file.",
            says=f"The file {path.name} is damaged, or not what --{option} needs.",
        ) from error
