"""When a compiled UNet is compiled again: other batches, no adapter, core's control too; and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import tiny
from .compiling import PIXELS, Compiler, compiled, run

pytestmark = [pytest.mark.host, pytest.mark.slow]


@pytest.fixture
def compiler() -> Any:
    yield Compiler()
    torch._dynamo.reset()


def test_a_bare_model_and_one_with_adapters_share_a_compiled_unet(sd, compiler):
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    bare = compiled(sd, compiler)
    patched = tiny.apply(bare, adapter, image)
    expected = run(sd), run(tiny.apply(sd, adapter, image))
    for _ in range(2):
        torch.testing.assert_close(run(bare), expected[0], **tiny.CLOSE)
        torch.testing.assert_close(run(patched), expected[1], **tiny.CLOSE)
    assert (expected[0] - expected[1]).abs().max() > 0.1
    assert compiler.graphs == 2
    assert compiler.breaks() == 0


def test_a_stack_and_a_core_control_add_up_in_a_compiled_unet(sd, compiler):
    config, image = tiny.adapter_config(), tiny.hint(*PIXELS)
    positive, negative = tiny.apply_core(
        tiny.conditioning(1), tiny.conditioning(2), tiny.core_control(config, 7), tiny.hint(*PIXELS, seed=7)
    )
    prompts = {"positive": positive, "negative": negative}
    base = compiled(sd, compiler)
    for seed in (3, 4):
        stack = tiny.apply(tiny.apply(base, tiny.adapter(config, 1), image), tiny.adapter(config, seed), image)
        plain = tiny.apply(tiny.apply(sd, tiny.adapter(config, 1), image), tiny.adapter(config, seed), image)
        torch.testing.assert_close(run(stack, **prompts), run(plain, **prompts), **tiny.CLOSE)
    assert compiler.graphs == 1


def test_batches_of_images_and_masks_follow_in_a_compiled_unet(sd, compiler):
    adapter, base = tiny.adapter(tiny.adapter_config()), compiled(sd, compiler)
    for image, mask in (
        (tiny.hint(*PIXELS), None),
        (tiny.hint(*PIXELS, 2), None),
        (tiny.hint(*PIXELS), torch.rand(2, 8, 8)),
    ):
        expected = run(tiny.apply(sd, adapter, image, mask=mask), count=2)
        torch.testing.assert_close(run(tiny.apply(base, adapter, image, mask=mask), count=2), expected, **tiny.CLOSE)
    assert compiler.graphs == 1


def test_another_size_is_compiled_once_more(sd, compiler):
    adapter, base = tiny.adapter(tiny.adapter_config()), compiled(sd, compiler)
    patched = tiny.apply(base, adapter, tiny.hint(*PIXELS))
    for count in (1, 2, 1, 2):
        run(patched, count=count)
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
