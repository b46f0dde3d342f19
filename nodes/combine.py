"""Load CoAdapter Fuser and Combine T2I-Adapters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from comfy_api.latest import io
from torch import Tensor

from ..adapter_models.applied import AppliedAdapter
from ..adapter_models.combine import METHODS, WHERE, Combination, Method, T2IFuser
from ..adapter_models.conditions import NAME
from ..adapter_models.errors import AdapterError
from ..adapter_models.stack import AdapterStack
from ..common.checks import check_choice
from . import host
from .inputs import checked, name_error
from .loading import adapters
from .loading.model_files import FUSER_FILES, file_error, file_fingerprint, file_names, find_file
from .sampling import attach
from .sampling.style_prompts import styles_of
from .sockets import FuserSocket


class LoadCoAdapterFuser(io.ComfyNode):
    """Load a fuser's file."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="LoadCoAdapterFuser",
            display_name="Load CoAdapter Fuser",
            category="T2I-Adapter",
            description="Load the network that balances CoAdapters which act together, for Combine T2I-Adapters.",
            search_aliases=["coadapter", "fuser", "combine adapters", "multi adapter"],
            inputs=[
                io.Combo.Input(
                    "fuser_name",
                    options=file_names(FUSER_FILES),
                    tooltip="A file in models/controlnet, models/t2i_adapter or models/style_models, such as "
                    "coadapter-fuser-sd15v1.",
                ),
            ],
            outputs=[FuserSocket.Output("fuser", tooltip="For Combine T2I-Adapters.")],
        )

    @classmethod
    def validate_inputs(cls, fuser_name: str | None = None) -> bool | str:
        """Accept names that a shared workflow has with another subfolder."""
        return name_error("fuser_name", fuser_name) or file_error(FUSER_FILES, fuser_name) or True

    @classmethod
    def fingerprint_inputs(cls, fuser_name: str | None = None) -> object:
        """Load again when the file was replaced."""
        return file_fingerprint(FUSER_FILES, fuser_name)

    @classmethod
    @checked
    def execute(cls, fuser_name: str) -> io.NodeOutput:
        """Load the fuser."""
        return io.NodeOutput(adapters.load_fuser(find_file(FUSER_FILES, fuser_name)[0], fuser_name))


class CombineT2IAdapters(io.ComfyNode):
    """Set how the adapters of a MODEL are combined."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Describe the node."""
        return io.Schema(
            node_id="CombineT2IAdapters",
            display_name="Combine T2I-Adapters",
            category="T2I-Adapter",
            description="Choose how the adapters of this MODEL act together: added up, as a weighted mean, or balanced "
            "by the CoAdapter fuser. Costs nothing per step.",
            search_aliases=["coadapter", "multi adapter", "fuse adapters", "mix adapters", "mean", "several adapters"],
            inputs=[
                io.Model.Input("model", tooltip="A model that went through Apply T2I-Adapter. It is cloned."),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default=METHODS[0],
                    tooltip="sum (default): the adapters add up, as without this node. mean: they share one strength, "
                    "the largest of theirs, in proportion to their strengths; good against overdone pictures. "
                    "coadapter: the fuser balances them; for CoAdapters of SD1.5, one of each condition.",
                ),
                FuserSocket.Input(
                    "fuser", optional=True, tooltip="From Load CoAdapter Fuser, for the method coadapter."
                ),
                io.Conditioning.Input(
                    "positive",
                    optional=True,
                    tooltip="The prompt from Apply T2I Style Adapter, if its style is to take part in the fuser. Use "
                    "the output positive instead of it.",
                ),
            ],
            outputs=[
                io.Model.Output("model", tooltip="The model, for a sampler or for more adapters."),
                io.Conditioning.Output(
                    "positive", tooltip="The prompt, for the sampler: its style is fused when the sampler runs."
                ),
            ],
        )

    @classmethod
    @checked
    def execute(
        cls,
        model: Any,
        method: Method = METHODS[0],
        fuser: T2IFuser | None = None,
        positive: list[Any] | None = None,
    ) -> io.NodeOutput:
        """Clone the model and set the combination."""
        stack = attach.stack_of(model)
        if not stack.uses:
            raise AdapterError(
                f"{WHERE}, model", "a MODEL without adapters", "one with", "Put Apply T2I-Adapter before this node."
            )
        check_choice(f"{WHERE}, method", method, METHODS, error=AdapterError)
        style = _one_style(positive) if method == "coadapter" and positive is not None else None
        combination = Combination(method, fuser if method == "coadapter" else None, style)
        # Without the input there is no output: nodes that use it show this message.
        through = host.blocked(f"{WHERE}: connect its input positive to use its output positive.")
        patched = attach.with_stack(model, AdapterStack(stack.uses, combination))
        if method == "coadapter":
            _tell_names(stack.uses)
        return io.NodeOutput(patched, through if positive is None else positive)


def _tell_names(uses: Sequence[AppliedAdapter]) -> None:
    """Show the conditions that were taken from file names alone."""
    by_name = [use.adapter.info for use in uses if use.adapter.info.condition_from == NAME]
    if by_name:
        pairs = ", ".join(f"{info.name}: {info.condition.name}" for info in by_name if info.condition is not None)
        host.tell(f"Conditions taken from the files' names: {pairs}.", host.running_node() or None)


def _one_style(positive: list[Any]) -> Tensor | None:
    styles = styles_of(positive)
    if len(styles) > 1:
        raise AdapterError(
            f"{WHERE}, positive",
            f"{len(styles)} styles",
            "one, because the fuser has one number for styles",
            "Apply one style adapter to all prompts; several reference pictures may come as a batch.",
        )
    return styles[0] if styles else None
