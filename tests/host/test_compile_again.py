"""When a compiled UNet is compiled again: other batches, no adapter, core's control too; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import tiny
from .compiling import PIXELS, Compiler, compiled, lean_model, run

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def compiler() -> Any:
    yield Compiler()
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def lean(inside_comfyui: Any) -> Any:
    return lean_model()


def test_a_bare_model_adapters_and_a_core_control_take_turns_in_a_compiled_unet(lean, compiler):
    config, image = tiny.adapter_config("SDXL"), tiny.hint(*PIXELS)
    adapters = [tiny.adapter(config, seed) for seed in (1, 3, 4)]
    bare = compiled(lean, compiler)
    expected = run(lean), run(tiny.apply(lean, adapters[0], image))
    for _ in range(2):
        torch.testing.assert_close(run(bare), expected[0], **tiny.CLOSE)
        torch.testing.assert_close(run(tiny.apply(bare, adapters[0], image)), expected[1], **tiny.CLOSE)
    assert (expected[0] - expected[1]).abs().max() > 0.1
    assert compiler.graphs == 2

    positive, negative = tiny.apply_core(
        tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config, 7), tiny.hint(*PIXELS, seed=7)
    )
    prompts = {"positive": positive, "negative": negative}
    for second in adapters[1:]:
        stack, plain = (tiny.apply(tiny.apply(model, adapters[0], image), second, image) for model in (bare, lean))
        torch.testing.assert_close(run(stack, **prompts), run(plain, **prompts), **tiny.CLOSE)
    assert compiler.graphs == 3, "core's list of input blocks is longer, which Dynamo sees"
    assert compiler.breaks() == 0


def test_batches_of_images_and_masks_follow_and_another_size_is_compiled_once_more(lean, compiler):
    adapter, base = tiny.adapter(tiny.adapter_config("SDXL")), compiled(lean, compiler)
    for image, mask in (
        (tiny.hint(*PIXELS), None),
        (tiny.hint(*PIXELS, 2), None),
        (tiny.hint(*PIXELS), torch.rand(2, 8, 8)),
    ):
        expected = run(tiny.apply(lean, adapter, image, mask=mask), count=2)
        torch.testing.assert_close(run(tiny.apply(base, adapter, image, mask=mask), count=2), expected, **tiny.CLOSE)
    assert compiler.graphs == 1
    for count in (1, 2, 1):
        run(tiny.apply(base, adapter, tiny.hint(*PIXELS)), count=count)
    assert compiler.graphs <= 3  # the third has the batch as a symbol


def test_deep_shrink_in_a_compiled_unet_is_refused(sd, compiler):
    """ComfyUI adds no control of another size, and does not stop."""
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    shrunk = PatchModelAddDownscale.execute(sd, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")[0]
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    run(tiny.apply(shrunk, adapter, image))
    with pytest.raises(AdapterError, match="Remove TorchCompileModel"):
        run(tiny.apply(compiled(shrunk, compiler), adapter, image))


def test_a_core_control_of_another_unet_is_refused(compiler):
    """ComfyUI would only log that it could not be applied."""
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    config, image = tiny.adapter_config("SDXL"), tiny.hint(*PIXELS)
    positive, _ = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config), image)
    patched = tiny.apply(compiled(tiny.model("one block"), compiler), tiny.adapter(config), image)
    with pytest.raises(AdapterError, match=r"feature maps \(\d, 64, 4, 8\) where ours are \(1, 128, 2, 4\)"):
        run(patched, positive=positive)
