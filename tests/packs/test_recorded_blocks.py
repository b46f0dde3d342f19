"""UNets that do not call their patches: recorded and replayed, or replaced. An unadapted picture is never silent.

Newer ComfyUI can record blocks as CUDA graphs; what ran in Python while recording does not run in a replay. A cache
that skips the UNet in some steps is different, and allowed.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ..host import tiny

pytestmark = pytest.mark.host
LATENT, PIXELS = (8, 16), (64, 128)


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT), steps=4, **values)


def adapted(model: Any, kind: str = "SD") -> Any:
    return tiny.apply(model, tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS))


def forgets(monkeypatch: Any, *names: str) -> None:
    """Make the UNet's forward leave out these patches, as a replay or another forward does."""
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    original = UNetModel._forward

    def forward(
        self: Any, x: Any, timesteps: Any, context: Any, y: Any, control: Any, options: Any, **kwargs: Any
    ) -> Any:
        patches = {name: found for name, found in options.get("patches", {}).items() if name not in names}
        return original(self, x, timesteps, context, y, control, {**options, "patches": patches}, **kwargs)

    monkeypatch.setattr(UNetModel, "_forward", forward)


@pytest.mark.parametrize(
    ("kind", "names", "blocks"),
    [
        ("SD", ("input_block_patch", "middle_block_after_patch"), "input"),
        ("SDXL", ("input_block_patch", "middle_block_after_patch"), "input and middle"),
        ("SDXL", ("middle_block_after_patch",), "middle"),
    ],
)
def test_a_unet_without_patches_is_refused_and_the_next_run_is_right(models, monkeypatch, kind, names, blocks):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    patched = adapted(models[kind], kind)
    expected = run(patched)
    with monkeypatch.context() as within:
        forgets(within, *names)
        run(models[kind])
        with pytest.raises(AdapterError, match=rf"patches of its {blocks} blocks.*--disable-cuda-graphs"):
            run(patched)
        assert not tiny.left_of_runs()
    assert torch.equal(run(patched), expected)


def test_steps_in_which_a_cache_skips_the_unet_are_allowed(sd):
    patched = adapted(sd)
    kept: list[torch.Tensor] = []

    def skip(executor: Any, *args: Any, **kwargs: Any) -> torch.Tensor:
        if len(kept) % 2 == 0:
            kept.append(executor(*args, **kwargs))
        else:
            kept.append(kept[-1])
        return kept[-1]

    from comfy.patcher_extension import WrappersMP

    clone = patched.clone()
    clone.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "cache", skip)
    assert (run(clone) - run(patched)).abs().max() > 0.1
    assert len(kept) == 4


def test_blocks_that_a_cache_skips_after_the_first_step_are_allowed(sd, monkeypatch):
    patched = adapted(sd)
    from comfy.ldm.modules.diffusionmodules.openaimodel import UNetModel

    original, calls = UNetModel._forward, []

    def forward(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        return original(self, *args, **kwargs) if len(calls) == 1 else torch.zeros_like(args[0])

    monkeypatch.setattr(UNetModel, "_forward", forward)
    run(patched)
    assert len(calls) == 4


@pytest.mark.parametrize("site", ["input", "middle"])
def test_being_recorded_is_refused(inside_comfyui, monkeypatch, site):
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.adapter_models.stack import AdapterStack
    from t2i_adapter_pack.nodes.sampling import patches
    from t2i_adapter_pack.nodes.sampling.handed import Handed
    from t2i_adapter_pack.nodes.sampling.options import AdapterOptions, with_adapter_options

    h = SimpleNamespace(is_cuda=True)  # nothing may be done with it
    residuals = Handed({("input", 2): torch.zeros(1), ("middle", 0): torch.zeros(1)})
    residuals.seen.add("input")
    options = with_adapter_options({"block": ("input", 2)}, AdapterOptions(residuals=residuals))
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: True)
    with pytest.raises(AdapterError, match=r"recorded as CUDA graphs.*--disable-cuda-graphs"):
        if site == "input":
            patches.InputPatch(AdapterStack())(h, options)
        else:
            patches.MiddlePatch(AdapterStack())({"h": h, "transformer_options": options})


@pytest.mark.gpu
def test_a_real_recording_is_refused():
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.adapter_models.stack import AdapterStack
    from t2i_adapter_pack.nodes.sampling import patches
    from t2i_adapter_pack.nodes.sampling.handed import Handed
    from t2i_adapter_pack.nodes.sampling.options import AdapterOptions, with_adapter_options

    h = torch.zeros(1, 4, 2, 2, device="cuda")
    residuals = Handed({("input", 2): torch.ones(1, 1, 4, 2, 2, device="cuda")})
    options = with_adapter_options({"block": ("input", 2)}, AdapterOptions(residuals=residuals))
    patch = patches.InputPatch(AdapterStack())
    assert float(patch(h, options).sum()) == 16
    with pytest.raises(AdapterError, match="recorded"), torch.cuda.graph(torch.cuda.CUDAGraph()):
        patch(h, options)
