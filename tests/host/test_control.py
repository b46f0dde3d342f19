"""An adapter as CONTROL_NET: same pictures as on the MODEL, also combined with core's controls."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from . import oracle, tiny

pytestmark = pytest.mark.host
RANGE = {"strength": 0.7, "start_percent": 0.1, "end_percent": 0.9}


def control(adapter: Any, weights: Any = None) -> Any:
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    return T2IAdapterToControlNet.execute(adapter, weights)[0]


def prompts(net: Any, image: torch.Tensor, *, positive: Any = None, **values: Any) -> dict[str, Any]:
    first, second = tiny.apply_core(positive or tiny.conditioning(1), tiny.conditioning(2), net, image, **values)
    return {"positive": first, "negative": second}


@pytest.fixture(scope="module", params=["SD", "SDXL"])
def scene(request, inside_comfyui) -> Any:
    """A model, an adapter and its config, and two hints."""
    config = tiny.adapter_config(request.param)
    return tiny.model(request.param), tiny.adapter(config), config, tiny.hint(128, 128, 2)


def test_both_routes_give_the_same_picture_bit_for_bit(scene):
    model, adapter, _, image = scene
    latent = tiny.latent(16, 16, 2)
    direct = tiny.sample(tiny.apply(model, adapter, image, **RANGE), latent)
    assert torch.equal(tiny.sample(model, latent, **prompts(control(adapter), image, **RANGE)), direct)


@pytest.mark.parametrize("ours_first", [True, False])
def test_it_adds_up_with_a_core_adapter_in_either_order(scene, ours_first):
    model, adapter, config, image = scene
    other, hint = tiny.core_control(config, 5), tiny.hint(128, 128, seed=9)
    latent = tiny.latent(16, 16, 2)
    pairs = [(control(adapter), image, 0.7), (other, hint, 0.5)]
    first, second = pairs if ours_first else reversed(pairs)
    one = prompts(first[0], first[1], strength=first[2])
    both = tiny.apply_core(one["positive"], one["negative"], second[0], second[1], strength=second[2])
    stacked = tiny.apply(model, adapter, image, strength=0.7)
    stacked = tiny.apply(stacked, tiny.adapter(config, 5), hint, strength=0.5)
    torch.testing.assert_close(
        tiny.sample(model, latent, positive=both[0], negative=both[1]), tiny.sample(stacked, latent), atol=1e-2, rtol=0
    )


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
@pytest.mark.parametrize("ours_first", [True, False])
def test_it_chains_with_a_real_controlnet_in_either_order(inside_comfyui, kind, ours_first):
    """The oracle adds features by plain patches to a MODEL whose prompts carry the ControlNet alone."""
    config, image, other_image = tiny.adapter_config(kind), tiny.hint(128, 128), tiny.hint(128, 128, seed=9)
    model, real, latent = tiny.model(kind), tiny.real_control_net(kind), tiny.latent(16, 16)
    alone = prompts(real, other_image, strength=0.6)
    features = oracle.reference_features(kind, tiny.adapter_weights(config), image)
    expected = tiny.sample(oracle.inject_features(model, kind, features), latent, **alone)
    pairs = [(control(tiny.adapter(config)), image, 1.0), (real, other_image, 0.6)]
    first, second = pairs if ours_first else reversed(pairs)
    one = prompts(first[0], first[1], strength=first[2])
    both = tiny.apply_core(one["positive"], one["negative"], second[0], second[1], strength=second[2])
    result = tiny.sample(model, latent, positive=both[0], negative=both[1])
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    # Each of them matters.
    for less in (
        tiny.sample(model, latent, **alone),
        tiny.sample(oracle.inject_features(model, kind, features), latent),
    ):
        assert (less - expected).abs().max() > 0.1


def test_an_area_follows_the_part_of_the_image_under_it(scene):
    model, adapter, _, image = scene
    part = tiny.conditioning(1, area=(8, 8, 4, 8), strength=1.0)
    latent = tiny.latent(16, 16)
    direct = tiny.sample(tiny.apply(model, adapter, image), latent, positive=part)
    assert torch.equal(tiny.sample(model, latent, **prompts(control(adapter), image, positive=part)), direct)


def no_features(control: Any) -> None:
    """Let core, too, look at its image again."""
    control.cond_hint = control.control_input = None


# What somebody sets on a control between two steps.
CHANGES: dict[str, Any] = {
    "strength": lambda control, step: setattr(control, "strength", 0.5 - step),
    "timestep_range": lambda control, step: setattr(control, "timestep_range", (6.0, 0.8 if step else 5.0)),
    "cond_hint_original": lambda control, step: (
        no_features(control),
        setattr(control, "cond_hint_original", tiny.hint(128, 128, seed=step).movedim(-1, 1)),
    ),
    "cond_hint": lambda control, step: (
        no_features(control),
        setattr(control, "cond_hint", tiny.hint(128, 128, 1 + step % 2, seed=step).movedim(-1, 1)),
    ),
    "a cond_hint of another size": lambda control, step: (
        no_features(control),
        setattr(control, "cond_hint", tiny.hint(64, 128, seed=step).movedim(-1, 1)),
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_whoever_sets_something_between_steps_is_obeyed_as_by_core(scene, name):
    model, adapter, config, image = scene
    results, untouched = [], []
    for net in (control(adapter), tiny.core_control(config)):
        given = prompts(net, image)
        used = given["positive"][0][1]["control"]
        latent = tiny.latent(16, 16, 2)
        untouched.append(tiny.sample(model, latent, **given))

        def change(step: int, *_: Any, used: Any = used) -> None:
            CHANGES[name](used, step)

        results.append(tiny.sample(model, latent, callback=change, **given))
    torch.testing.assert_close(results[0], results[1], **tiny.CLOSE)
    same = name == "a cond_hint of another size"
    assert ((results[0] - untouched[0]).abs().max() < 1e-2) == same


def test_a_range_that_somebody_sets_goes_before_that_of_the_node(scene):
    model, adapter, config, image = scene
    results = []
    for net in (control(adapter), tiny.core_control(config)):
        given = prompts(net, image, start_percent=0.2, end_percent=0.6)
        used = given["positive"][0][1]["control"]

        def widen(step: int, *_: Any, used: Any = used) -> None:
            used.timestep_range = (999999999.9, 0.0)

        results.append(tiny.sample(model, tiny.latent(16, 16, 2), callback=widen, **given))
    torch.testing.assert_close(results[0], results[1], **tiny.CLOSE)


def test_sides_are_told_by_their_order_where_nothing_else_tells(scene):
    """A host that does not read the control's hooks, or a sampler past them."""
    from t2i_adapter_pack.nodes.weights import T2IAdapterWeights

    model, adapter, _, image = scene
    weights = T2IAdapterWeights.execute(positive=0.5, negative=2.0)[0]
    given = prompts(control(adapter, weights), image)
    given["positive"][0][1]["control"].extra_hooks = None
    direct = tiny.sample(tiny.apply(model, adapter, image, weights=weights), tiny.latent(16, 16))
    assert torch.equal(tiny.sample(model, tiny.latent(16, 16), **given), direct)


def test_weights_act_as_on_the_model(scene):
    from t2i_adapter_pack.nodes.weights import T2IAdapterSchedule, T2IAdapterWeights

    model, adapter, _, image = scene
    soft = T2IAdapterWeights.execute({"preset": "soft (prompt first)"}, 0.5, 2.0)[0]
    weights = T2IAdapterSchedule.execute(1.0, 0.0, "linear", unit="sampling steps", weights=soft)[0]
    latent = tiny.latent(16, 16)
    direct = tiny.sample(tiny.apply(model, adapter, image, weights=weights), latent)
    assert torch.equal(tiny.sample(model, latent, **prompts(control(adapter, weights), image)), direct)


def test_the_adapter_runs_once_and_is_loaded_by_comfyui(scene):
    model, adapter, _, image = scene
    net = control(adapter)
    assert net.get_models() == [adapter.patcher]
    count = tiny.Count(adapter.network)
    tiny.sample(model, tiny.latent(16, 16), **prompts(net, image.clone()))
    assert count.calls == 1


def test_a_copy_shares_the_adapter_and_nothing_of_a_run(scene):
    model, adapter, _, image = scene
    net = control(adapter)
    given = prompts(net, image)
    tiny.sample(model, tiny.latent(16, 16), **given)
    used = given["positive"][0][1]["control"]
    assert used is not net
    assert used.adapter is adapter
    assert tiny.left_of_runs() == []
    assert net.cond_hint_original is None


@pytest.mark.needs("split over devices")
def test_a_clone_for_another_device_has_weights_of_its_own(scene):
    _, adapter, _, _ = scene
    net = control(adapter)
    clone = net.deepclone_multigpu(torch.device("cpu"), autoregister=True)
    assert net.get_instance_for_device(torch.device("cpu")) is clone
    assert clone.adapter.network is not adapter.network
    assert clone.adapter.cache is not adapter.cache
    pairs = zip(clone.adapter.network.parameters(), adapter.network.parameters(), strict=True)
    assert all(torch.equal(a, b) and a.data_ptr() != b.data_ptr() for a, b in pairs)


def test_a_run_that_failed_leaves_nothing_to_the_next(scene):
    model, adapter, _, image = scene
    given = prompts(control(adapter), image)

    def fail(*_: Any) -> None:
        raise RuntimeError("stop")

    latent = tiny.latent(16, 16, 2)
    with pytest.raises(RuntimeError, match="stop"):
        tiny.sample(model, tiny.latent(16, 16), callback=fail, **given)
    assert tiny.left_of_runs() == []
    expected = tiny.sample(tiny.apply(model, adapter, image), latent)
    assert torch.equal(tiny.sample(model, latent, **given), expected)


def test_another_family_is_refused_before_the_first_step(inside_comfyui):
    from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

    net = control(tiny.adapter(tiny.adapter_config("SD")))
    with pytest.raises(FamilyMismatchError, match="as made for SD1"):
        tiny.sample(tiny.model("SDXL"), tiny.latent(16, 16), **prompts(net, tiny.hint(128, 128)))
