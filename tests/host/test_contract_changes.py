"""The log has one line for each changed interface of ComfyUI. Nothing is refused."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.host


@pytest.fixture
def lines(caplog) -> Callable[[], list[str]]:
    """Load the pack's nodes as ComfyUI does; what the log says of interfaces."""
    from t2i_adapter_pack.nodes import NODES, T2IAdapterExtension

    def load() -> list[str]:
        extension = T2IAdapterExtension()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            asyncio.run(extension.on_load())
        assert asyncio.run(extension.get_node_list()) == list(NODES)
        return [record.getMessage() for record in caplog.records if "t2i_adapter_pack" in record.name]

    return load


def test_nothing_is_said_where_nothing_has_changed(lines):
    assert lines() == []


def without(owner: str, name: str) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.delattr(_found(owner), name)


def replaced(owner: str, name: str, value: Any) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setattr(_found(owner), name, value)


def _found(owner: str) -> Any:
    module, _, way = owner.partition(":")
    thing: Any = importlib.import_module(module)
    for step in filter(None, way.split(".")):
        thing = getattr(thing, step)
    return thing


def _no_fields(self: Any) -> None:
    self.cond_hint_original = self.cond_hint = self.timestep_range = self.previous_controlnet = None
    self.timestep_percent_range, self.compression_ratio, self.extra_hooks = (0.0, 1.0), 8, None


def _layers(*names: str) -> Any:
    return SimpleNamespace(**{name: getattr(_found("comfy.ops:manual_cast"), name) for name in names})


# The change, and the expected line: name and description.
BREAKS: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "a kind of wrapper is gone": (
        without("comfy.patcher_extension:WrappersMP", "APPLY_MODEL"),
        "comfy.patcher_extension.WrappersMP.APPLY_MODEL: got nothing; expected it as it was. Apply T2I-Adapter may",
    ),
    "a wrapper's arguments in another order": (
        replaced("comfy.samplers", "_calc_cond_batch", lambda model, x_in, conds, timestep, model_options: None),
        "comfy.samplers._calc_cond_batch: got (model, x_in, conds, timestep, model_options); "
        "expected (model, conds, x_in, timestep, model_options, ...). Regional prompts",
    ),
    "an argument less for a wrapped function": (
        replaced("comfy.model_base:BaseModel", "_apply_model",
                 lambda self, x, t, c_concat, c_crossattn, control: None),
        "comfy.model_base.BaseModel._apply_model: got (x, t, c_concat",
    ),
    "a field of controls is gone": (
        replaced("comfy.controlnet:ControlBase", "__init__", _no_fields),
        "comfy.controlnet.ControlBase.strength: got nothing; expected it as it was. T2I-Adapter as ControlNet",
    ),
    "controls want an argument": (
        replaced("comfy.controlnet:ControlBase", "__init__", lambda self, device: None),
        "comfy.controlnet.ControlBase: got (device); expected (). T2I-Adapter as ControlNet",
    ),
    "a method of controls has other arguments": (
        replaced("comfy.controlnet:ControlBase", "pre_run", lambda self, model: None),
        "comfy.controlnet.ControlBase.pre_run: got (model); expected (model, percent_to_timestep_function).",
    ),
    "there are no controls": (
        without("comfy.controlnet", "ControlBase"),
        "comfy.controlnet.ControlBase: got nothing",
    ),
    "a method of patchers has lost a keyword": (
        replaced("comfy.model_patcher:ModelPatcher", "clone", lambda self, model_override=None: None),
        "comfy.model_patcher.ModelPatcher.clone: got (model_override=); expected (*, disable_dynamic).",
    ),
    "a patcher's maker has other keywords": (
        replaced("comfy.model_patcher", "CoreModelPatcher", lambda model, device: None),
        "comfy.model_patcher.CoreModelPatcher: got (model, device); expected (_, *, load_device, offload_device).",
    ),
    "a kind of hook is gone": (without("comfy.hooks", "WrapperHook"), "comfy.hooks.WrapperHook: got nothing"),
    "windows name their frames otherwise": (
        replaced("comfy.context_windows", "IndexListContextWindow", lambda frames: None),
        "comfy.context_windows.IndexListContextWindow: got (frames); expected (index_list). Condition images for",
    ),
    "a kind of layer is gone": (
        lambda patch: patch.setattr(_found("comfy.ops"), "manual_cast", _layers("Conv2d", "Linear", "LayerNorm")),
        "comfy.ops.manual_cast.ConvTranspose2d: got nothing; expected it as it was. Loading and offloading adapters",
    ),
    "layers cast by another flag": (
        replaced("comfy.ops:manual_cast", "Conv2d", torch.nn.Conv2d),
        "comfy.ops.manual_cast.Conv2d.comfy_cast_weights: got nothing",
    ),
    "training has no flag": (
        without("comfy.model_management", "in_training"),
        "comfy.model_management.in_training: got nothing",
    ),
    "nothing loads models whole": (
        replaced("comfy.model_management", "load_models_gpu", lambda models, memory_required=0: None),
        "comfy.model_management.load_models_gpu: got (models, memory_required=); expected",
    ),
    "a kind of input is gone": (
        without("comfy_api.latest:io", "MultiType"),
        "comfy_api.latest.io.MultiType: got nothing; expected it as it was. The nodes may not work",
    ),
    "an input has lost a keyword": (
        replaced("comfy_api.latest:io.Float", "Input", lambda id, optional, tooltip, default, min, max: None),
        "comfy_api.latest.io.Float.Input: got (id, optional, tooltip, default, min, max); expected (_, *, default",
    ),
    "schemas have lost a keyword": (
        replaced("comfy_api.latest:io", "Schema", lambda node_id: None),
        "comfy_api.latest.io.Schema: got (node_id); expected (*, node_id, display_name",
    ),
    "a message wants more": (
        replaced("server:PromptServer", "send_progress_text", lambda self, text, node_id, prompt_id: None),
        "server.PromptServer.send_progress_text: got (text, node_id, prompt_id); expected (_, _). Texts and warnings",
    ),
    "a function of folders is gone": (
        without("folder_paths", "get_save_image_path"),
        "folder_paths.get_save_image_path: got nothing",
    ),
    "a function is a value": (
        replaced("folder_paths", "get_full_path", 7),
        "folder_paths.get_full_path: got no function; expected (_, _). Finding adapters and annotators may",
    ),
    "previews have no size": (
        without("latent_preview", "MAX_PREVIEW_RESOLUTION"),
        "latent_preview.MAX_PREVIEW_RESOLUTION: got nothing",
    ),
}  # fmt: skip


@pytest.mark.parametrize("change", BREAKS)
def test_a_changed_interface_is_one_line_that_names_it(lines, monkeypatch, change):
    breaks, says = BREAKS[change]
    breaks(monkeypatch)
    said = lines()
    monkeypatch.undo()
    assert len(said) == 1, said
    assert said[0].startswith(f"T2I-Adapter: this ComfyUI has changed {says}")
    assert said[0].endswith("may not work; look for an update of the pack.")
    assert "\n" not in said[0]


@pytest.mark.parametrize("owner, name", [("comfy.samplers", "_calc_cond_batch"),
                                         ("comfy.model_base:BaseModel", "_apply_model")])  # fmt: skip
def test_what_is_private_may_move(lines, monkeypatch, owner, name):
    monkeypatch.delattr(_found(owner), name)
    assert lines() == []


def test_more_is_no_change(lines, monkeypatch):
    """Arguments with defaults, and fields, come with every release."""
    from comfy.controlnet import ControlBase
    from comfy.model_patcher import ModelPatcher

    original = ControlBase.__init__

    def grown(self: Any, fast_disk: bool = False) -> None:
        original(self)
        self.cond_hints, self.fast_disk = {}, fast_disk

    def clone(self: Any, disable_dynamic: bool = False, *, fast_disk: bool = False, **more: Any) -> None:
        pass

    monkeypatch.setattr(ControlBase, "__init__", grown)
    monkeypatch.setattr(ModelPatcher, "clone", clone)
    assert lines() == []
