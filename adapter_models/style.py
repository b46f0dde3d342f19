"""The style adapter: turns CLIP's view of a picture into tokens appended to the prompt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from ..common.weights import LayerOperations
from .config import DEFAULT_OPERATIONS
from .errors import AdapterError, CorruptFileError, HintError
from .transformer import BareWeight, PublishedNetwork, blocks, count_blocks


@dataclass(frozen=True)
class StyleConfig:
    """The shape of a style adapter.

    Attributes:
        tokens: Tokens per picture: 8 in the published files.
        width: Width of CLIP's tokens: 1024, that of ViT-L/14.
        context: Width of the prompt's tokens: 768, that of SD1.x.
        layers: Layers of the transformer: 3.
    """

    tokens: int
    width: int
    context: int
    layers: int


class StyleAdapter(PublishedNetwork):
    """Computes style tokens from CLIP's tokens with a transformer.

    Args:
        config: Its shape.
        operations: Namespace that the layers come from.

    Source: TencentARC/T2I-Adapter ``StyleAdapter``.
    """

    def __init__(self, config: StyleConfig, operations: LayerOperations = DEFAULT_OPERATIONS) -> None:
        super().__init__()
        self.config = config
        scale = config.width**-0.5
        self.style_embedding = BareWeight(1, config.tokens, config.width, scale=scale)
        self.ln_pre = operations.LayerNorm(config.width)
        self.transformer_layes = blocks(config.layers, config.width, operations)  # spelled as in the files
        self.ln_post = operations.LayerNorm(config.width)
        self.proj = BareWeight(config.width, config.context, scale=scale)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the tokens of a style.

        Args:
            x: (N, T, width): CLIP's last hidden state, 257 tokens for each picture of 224 pixels.

        Returns:
            (N, tokens, context).
        """
        seen = x.shape[1]
        x = torch.cat([x, self.style_embedding(x).expand(x.shape[0], -1, -1)], dim=1)
        x = self.transformer_layes(self.ln_pre(x))
        x = self.ln_post(x[:, seen:])
        return x @ self.proj(x)  # type: ignore[no-any-return]


def read_style_config(shapes: Mapping[str, tuple[int, ...]]) -> StyleConfig:
    """Read the shape of a style adapter from its tensors.

    Args:
        shapes: Shape of each tensor, by its published name.

    Raises:
        LookupError: A tensor is missing.
        ValueError: A tensor has the wrong number of dimensions.
    """
    _, tokens, width = shapes["style_embedding"]
    _, context = shapes["proj"]
    return StyleConfig(tokens, width, context, count_blocks(shapes))


@dataclass(frozen=True, eq=False)
class StyleMark:
    """The place of a style in a prompt.

    Attributes:
        tokens: (1, n, context), as in the prompt: times the strength.
        start: Index of the first one in the prompt.
    """

    tokens: Tensor
    start: int


@dataclass(eq=False)
class T2IStyleAdapter:
    """A style adapter ready for use.

    Attributes:
        network: The network. Its weights keep the file's precision; layers cast as they compute.
        name: How the user names its file.
        patcher: The host's handle for managing the network's memory; this library never reads it.
    """

    network: StyleAdapter
    name: str
    patcher: object = None

    def check_picture(self, where: str, hidden: Tensor) -> None:
        """Refuse the output of another CLIP vision model.

        Args:
            where: The input, for messages.
            hidden: The last hidden state.

        Raises:
            HintError: It has the wrong width or shape.
        """
        width = self.network.config.width
        if hidden.ndim != 3 or hidden.shape[-1] != width or 0 in hidden.shape:
            raise HintError(
                where,
                f"the output of a CLIP vision model with tokens of shape {tuple(hidden.shape)}",
                f"(pictures, tokens, {width}), as {self.name} takes",
                "Use clip-vit-large-patch14 (ViT-L/14)." if width == 1024 else "",
                says="This style adapter needs the output of another CLIP vision model.",
                topic="clip-vision-output",
            )

    def check_text(self, where: str, text: Tensor) -> None:
        """Refuse a prompt encoded for another diffusion model.

        Args:
            where: The input, for messages.
            text: (B, tokens, width), the prompt.

        Raises:
            AdapterError: It has the wrong width.
        """
        context = self.network.config.context
        if text.ndim != 3 or text.shape[-1] != context:
            models = {768: "SD1.x", 1024: "SD2.x", 2048: "SDXL"}
            raise AdapterError(
                where,
                f"a prompt of width {text.shape[-1]} ({models.get(text.shape[-1], 'another model')})",
                f"{context} ({models.get(context, 'another model')}), as {self.name} makes",
                "Use the text encoder of a checkpoint that the style adapter was made for.",
                says="This style adapter was made for another diffusion model than the prompt.",
            )

    @torch.no_grad()
    def tokens(self, hidden: Tensor) -> Tensor:
        """Compute the tokens of reference pictures, concatenated in one row.

        Args:
            hidden: (N, T, width), on the device to compute on. The computation uses full precision.

        Returns:
            (1, N · tokens, context).

        Raises:
            CorruptFileError: The network gives NaN or infinite tokens.
        """
        made: Tensor = self.network(hidden.float()).flatten(0, 1).unsqueeze(0)
        if not torch.isfinite(made).all():
            raise CorruptFileError(
                self.name,
                "NaN or infinite tokens",
                "finite ones",
                "Check picture and file.",
                says="This style adapter gives no usable tokens for this picture.",
            )
        return made
