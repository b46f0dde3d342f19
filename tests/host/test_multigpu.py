"""Several devices at once: ComfyUI's threads share the adapters and never write to shared state.

There is no second GPU here. ComfyUI tells devices apart by name, so ``cpu`` and ``cpu:0`` are two of them to it, and
its own node splits the work between two threads; ``meta`` stands for a device on which a mix-up would show.
"""

from __future__ import annotations

import threading
from typing import Any

import pytest
import torch

from . import tiny

pytestmark = pytest.mark.host
SPLIT = pytest.mark.needs("split over devices")
LATENT, PIXELS = (8, 16), (64, 128)


@pytest.fixture
def split(monkeypatch) -> Any:
    """Run the node MultiGPU CFG Split on a MODEL, with a second device."""
    import comfy.model_management
    from comfy_extras.nodes_multigpu import MultiGPUCFGSplitNode

    devices = [torch.device("cpu"), torch.device("cpu", 0)]
    monkeypatch.setattr(comfy.model_management, "get_all_torch_devices", lambda exclude_current=False: devices)
    return lambda model: MultiGPUCFGSplitNode.execute(model, 2)[0]


def spread(kind: str) -> Any:
    """A MODEL that ComfyUI can make again for another device, as its own loaders' are."""
    model = tiny.model(kind)
    model.cached_patcher_init = (tiny.model, (kind,))
    return model


def watch_threads(monkeypatch) -> list[tuple[int, tuple[int, ...]]]:
    """Note which thread each call of a UNet comes from, and which prompts it works on."""
    import comfy.model_base

    calls: list[tuple[int, tuple[int, ...]]] = []
    original = comfy.model_base.BaseModel._apply_model

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        options = args[5] if len(args) > 5 else kwargs["transformer_options"]
        calls.append((threading.get_ident(), tuple(options["cond_or_uncond"])))
        return original(self, *args, **kwargs)

    monkeypatch.setattr(comfy.model_base.BaseModel, "_apply_model", spy)
    return calls


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@SPLIT
@pytest.mark.parametrize("order", ["split last", "split first"])
def test_the_split_model_gives_the_same_picture(inside_comfyui, split, monkeypatch, kind, order):
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    sides = T2IAdapterWeights.execute(positive=1.0, negative=0.3)[0]
    adapter, image = tiny.adapter(tiny.adapter_config(kind)), tiny.hint(*PIXELS, 2)
    model, latent, count = spread(kind), tiny.latent(*LATENT, 2), tiny.Count(adapter.network)
    values = {"strength": 0.7, "weights": sides}
    expected = tiny.sample(tiny.apply(model, adapter, image, **values), latent)
    both = split(tiny.apply(model, adapter, image, **values))
    if order == "split first":
        both = tiny.apply(split(model), adapter, image, **values)
    calls = watch_threads(monkeypatch)
    result = tiny.sample(both, latent)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert len({thread for thread, _ in calls}) == 2
    assert {prompts for _, prompts in calls} == {(0,), (1,)}
    assert count.calls == 1


@SPLIT
def test_a_control_net_is_copied_for_the_second_device(inside_comfyui, split, monkeypatch):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    model, latent = spread("SD"), tiny.latent(*LATENT)
    net = T2IAdapterToControlNet.execute(adapter)[0]
    first, second = tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), net, image)
    expected = tiny.sample(model, latent, positive=first, negative=second)
    calls = watch_threads(monkeypatch)
    result = tiny.sample(split(model), latent, positive=first, negative=second)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert len({thread for thread, _ in calls}) == 2
    used = first[0][1]["control"]
    clone = used.multigpu_clones[torch.device("cpu", 0)]
    assert clone.adapter.network is not adapter.network


def test_two_devices_never_meet(inside_comfyui):
    """Two threads ask one run for the residuals of two devices, many times over."""
    from t2i_adapter_pack.adapter_models.calls import Call, Chunk
    from t2i_adapter_pack.adapter_models.stack import ResidualComputer
    from t2i_adapter_pack.adapter_models.targets import Target

    adapter, image = tiny.adapter(tiny.adapter_config()), tiny.hint(*PIXELS)
    stack = tiny.apply(tiny.model("SD"), adapter, image, strength=0.6).get_attachment("t2i_adapter")
    run = ResidualComputer(stack.uses, 8, 1)
    weights = [parameter.clone() for parameter in adapter.network.parameters()]
    devices = (torch.device("cpu"), torch.device("meta"))
    run.prepare(Target(LATENT, devices[0], torch.float32), lambda *_: None)
    start, failures = threading.Barrier(2), []
    seen: dict[str, list[Any]] = {device.type: [] for device in devices}

    def ask(device: torch.device) -> None:
        start.wait()
        for number in range(40):
            factor = (0.1 * (number % 5),) * 4
            try:
                answer = run.residuals(Call((Chunk(LATENT, None, (0,)),), (factor,), device, torch.float32))
            except Exception as error:  # noqa: BLE001 - told after the threads have ended
                failures.append(error)
                return
            seen[device.type].append({residual.device.type for residual in answer.values()})

    threads = [threading.Thread(target=ask, args=(device,)) for device in devices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failures
    assert seen == {"cpu": [{"cpu"}] * 40, "meta": [{"meta"}] * 40}
    assert all(torch.equal(*pair) for pair in zip(adapter.network.parameters(), weights, strict=True))
    assert all(parameter.device.type == "cpu" for parameter in adapter.network.parameters())
    cached = [level for _, features in adapter.cache._entries.values() for level in features.levels]
    assert cached
    assert all(level.device.type == "cpu" for level in cached)
