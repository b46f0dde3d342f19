"""Cancelling or running out of memory in features, sampling and training: reported, all memory freed, next run right.

On a GPU, an oversized allocation really fails; on the CPU the same error is raised.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch

from ..host import lessons, tiny

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]
LATENT, PIXELS = (8, 16), (64, 128)
# More than any GPU has.
TOO_MUCH = 2**50


def run_out_of_memory() -> None:
    import comfy.model_management as management

    device = management.get_torch_device()
    if device.type == "cuda":
        torch.empty(TOO_MUCH, dtype=torch.uint8, device=device)
    raise management.OOM_EXCEPTION("Allocation on device: out of memory")


def cancel() -> None:
    """As the page does it: ComfyUI notices it at its next look."""
    import comfy.model_management as management

    management.interrupt_current_processing()


@dataclass(frozen=True)
class Scene:
    """A task, and the module that fails during it.

    Attributes:
        run: Does the work and returns its result; another picture each time, so that features are computed.
        failing: The module whose forward fails.
        calls: The call of it that does.
    """

    run: Callable[[], torch.Tensor]
    failing: torch.nn.Module
    calls: int


def features(model: Any, adapter: Any) -> Scene:
    return Scene(lambda: picture(model, adapter), adapter.network.body[1], 1)


def sampling(model: Any, adapter: Any) -> Scene:
    return Scene(lambda: picture(model, adapter), model.model.diffusion_model.output_blocks[0][0], 2)


def training(model: Any, adapter: Any) -> Scene:
    def run() -> torch.Tensor:
        trained = lessons.train(model, adapter, steps=3, run_name="run")[0]
        return torch.cat([weight.flatten().float().cpu() for weight in trained.network.state_dict().values()])

    return Scene(run, model.model.diffusion_model.output_blocks[0][0], 2)


def picture(model: Any, adapter: Any) -> torch.Tensor:
    result: torch.Tensor = tiny.sample(tiny.apply(model, adapter, tiny.hint(*PIXELS)), tiny.latent(*LATENT), steps=3)
    return result


def fail(scene: Scene, ending: Callable[[], None]) -> tuple[type[BaseException], str]:
    """Run and return the error without its traceback, which would keep tensors alive."""
    seen: list[int] = []

    def hook(*_: Any) -> None:
        seen.append(1)
        if len(seen) == scene.calls:
            ending()

    handle = scene.failing.register_forward_pre_hook(hook)
    try:
        scene.run()
    except BaseException as error:  # noqa: BLE001 - the test asks what it was
        return type(error), str(error)
    finally:
        handle.remove()
    pytest.fail(f"got a result after {len(seen)} calls; expected an error")


def held() -> int:
    """Bytes of live tensors: by the GPU's allocator, or on the CPU those reachable from Python."""
    import comfy.model_management as management

    management.unload_all_models()
    gc.collect()
    device = management.get_torch_device()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        return torch.cuda.memory_allocated(device)
    tensors = [thing for thing in gc.get_objects() if type(thing) in (torch.Tensor, torch.nn.Parameter)]
    tensors = [each for each in tensors if each.layout == torch.strided and not each.is_meta]
    storages = {each.untyped_storage()._cdata: each.untyped_storage().nbytes() for each in tensors}
    return sum(storages.values())


@pytest.fixture
def management(inside_comfyui: Any) -> Any:
    import comfy.model_management

    yield comfy.model_management
    comfy.model_management.interrupt_current_processing(False)


@pytest.mark.parametrize("ending", [run_out_of_memory, cancel])
@pytest.mark.parametrize("place", [features, sampling, training])
def test_it_is_told_everything_is_freed_and_the_next_run_is_right(management, output, place, ending):
    model, adapter = tiny.model("SD"), tiny.adapter(tiny.adapter_config())
    scene = place(model, adapter)
    expected = scene.run()
    start_anew(output)
    before = held()
    kind, words = fail(scene, ending)
    if ending is cancel:
        assert kind is management.InterruptProcessingException
    else:
        # What ComfyUI knows it by: it unloads every model and says what helps.
        assert issubclass(kind, management.OOM_EXCEPTION)
        assert "memory" in words
    assert tiny.left_of_runs() == []
    assert held() <= before
    assert getattr(management, "in_training", False) is False
    unet = model.model.diffusion_model
    assert all(weight.grad is None for weight in unet.parameters())
    assert not [name for name, module in unet.named_modules() if "forward" in module.__dict__]
    torch.testing.assert_close(scene.run(), expected, **tiny.CLOSE)


def start_anew(output: Any) -> None:
    """Delete the finished training run; the next one would resume it and compute nothing."""
    import shutil

    shutil.rmtree(output / "t2i_adapters", ignore_errors=True)
