"""A compiled UNet obeys every change of an adapter, and compiles nothing again but for another size.

ComfyUI's node has Dynamo drop the guards on ``transformer_options``: what a patch reads there is baked into the graph.
The backend is ``eager``: Dynamo traces and guards as for any other, and its graphs run as they are.
"""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch

from . import tiny

pytestmark = [pytest.mark.host, pytest.mark.slow]
LATENT, PIXELS = (8, 16), (64, 128)


class Compiler:
    """Counts the graphs that Dynamo hands to its backend."""

    def __init__(self) -> None:
        self.graphs = 0

    def __call__(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.graphs += 1
        return graph.forward

    def breaks(self) -> int:
        return sum(torch._dynamo.utils.counters["graph_break"].values())


@pytest.fixture
def compiler() -> Any:
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield Compiler()
    torch._dynamo.reset()


def compiled(model: Any, compiler: Compiler) -> Any:
    """Do what the node TorchCompileModel does, with a backend that counts."""
    from comfy_api.torch_helpers import set_torch_compile_wrapper
    from comfy_extras.nodes_torch_compile import skip_torch_compile_dict

    clone = model.clone(disable_dynamic=True)
    set_torch_compile_wrapper(model=clone, backend=compiler, options={"guard_filter_fn": skip_torch_compile_dict})
    return clone


def run(model: Any, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(*LATENT, values.pop("count", 1)), **{"steps": 3, **values})


def weights(**values: Any) -> Any:
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    schedule = values.pop("schedule", None)
    made = T2IAdapterWeights.execute(**values)[0]
    return made if schedule is None else T2IAdapterSchedule.execute(*schedule, unit="sampling steps", weights=made)[0]


def changes(kind: str) -> list[tuple[Any, tuple[Any, ...], dict[str, Any]]]:
    """(adapter, image, arguments of the apply node), each different from the one before."""
    adapter, other = tiny.adapter(tiny.adapter_config(kind)), tiny.adapter(tiny.adapter_config(kind), 1)
    image = tiny.hint(*PIXELS)
    half = torch.zeros(1, *PIXELS)
    half[:, :, : PIXELS[1] // 2] = 1.0
    return [
        (adapter, image, {}),
        (adapter, image, {"strength": 0.3}),
        (adapter, image, {"start_percent": 0.3}),
        (adapter, image, {"weights": weights(schedule=(1.0, 0.0, "linear"))}),
        (adapter, image, {"weights": weights(positive=1.0, negative=0.0)}),
        (adapter, image, {"mask": half}),
        (adapter, tiny.hint(*PIXELS, seed=5), {}),
        (other, image, {}),
    ]


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("first", ["compiled", "applied"])
def test_every_change_gives_the_right_picture_from_one_graph(models, compiler, kind, first):
    """The order of the two nodes does not matter either."""
    bare = compiled(models[kind], compiler)
    for adapter, image, values in changes(kind):
        expected = run(tiny.apply(models[kind], adapter, image, **values))
        if first == "compiled":
            patched = tiny.apply(bare, adapter, image, **values)
        else:
            # A compile node after the adapter is run again with every change, but the UNet is the same.
            patched = tiny.apply(models[kind], adapter, image, **values)
            patched.wrappers = {**patched.wrappers, **{k: {**patched.wrappers.get(k, {}), **v}
                                                       for k, v in bare.wrappers.items()}}  # fmt: skip
        torch.testing.assert_close(run(patched), expected, **tiny.CLOSE)
    assert compiler.graphs == 1
    assert compiler.breaks() == 0


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


def test_a_step_of_a_compiled_unet_gets_the_same_tensors(sd, compiler, monkeypatch):
    from t2i_adapter_pack.nodes import run as runs

    seen: list[list[torch.Tensor]] = []
    original = runs.Run.controls

    def spy(self: Any, residuals: Any, rows: int) -> Any:
        answer = original(self, residuals, rows)
        seen.append([each for values in answer.values() for each in values if each is not None])
        return answer

    monkeypatch.setattr(runs.Run, "controls", spy)
    run(tiny.apply(compiled(sd, compiler), tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS), strength=0.4))
    assert len(seen) == 3
    assert all(a is b for first, later in itertools.pairwise(seen) for a, b in zip(first, later, strict=True))


def test_deep_shrink_in_a_compiled_unet_is_refused(sd, compiler):
    """ComfyUI adds no control of another size, and does not stop."""
    from comfy_extras.nodes_model_downscale import PatchModelAddDownscale
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    shrunk = PatchModelAddDownscale.execute(sd, 3, 2.0, 0.0, 0.35, True, "bicubic", "bicubic")[0]
    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    run(tiny.apply(shrunk, adapter, image))
    with pytest.raises(AdapterError, match="Remove TorchCompileModel"):
        run(tiny.apply(compiled(shrunk, compiler), adapter, image))
