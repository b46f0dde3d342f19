"""Combine T2I-Adapters in ComfyUI's sampler, compared with plain patches and prompts of the fused values."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import torch

from ..adapter_models import companion_samples as hand
from . import companions, oracle, tiny

pytestmark = pytest.mark.host
PIXELS = (64, 128)
NAMES = ("coadapter-sketch-sd15v1", "coadapter-depth-sd15v1")
TASKS = (0, 3)
STYLE_TASK = 5


def run(model: Any, count: int = 1, **values: Any) -> torch.Tensor:
    return tiny.sample(model, tiny.latent(8, 16, count), **{"steps": 2, **values})


def adapters() -> list[Any]:
    return [tiny.adapter(tiny.adapter_config(), seed, name=name) for seed, name in enumerate(NAMES)]


def pictures(counts: tuple[int, int] = (1, 1)) -> list[torch.Tensor]:
    return [tiny.hint(*PIXELS, count, seed=seed) for seed, count in enumerate(counts)]


def apply_two(model: Any, strengths: tuple[float, float] = (1.0, 1.0), images: list[Any] | None = None) -> Any:
    for adapter, image, strength in zip(adapters(), images or pictures(), strengths, strict=True):
        model = tiny.apply(model, adapter, image, strength=strength)
    return model


def features(images: list[torch.Tensor]) -> list[list[torch.Tensor]]:
    weights = [tiny.adapter_weights(tiny.adapter_config(), seed) for seed in (0, 1)]
    return [oracle.reference_features("SD", each, image) for each, image in zip(weights, images, strict=True)]


def fused(strengths: tuple[float, float], style: torch.Tensor | None = None, images: list[Any] | None = None) -> Any:
    """The summed maps and the style's tokens, written out from the description."""
    parts: list[Any] = [
        (task, [level * strength for level in levels])
        for task, strength, levels in zip(TASKS, strengths, features(images or pictures()), strict=True)
    ]
    parts += [] if style is None else [(STYLE_TASK, style)]
    return hand.reference_fuse(companions.fuser_weights(), parts)


def test_sum_is_what_it_was(sd):
    patched = apply_two(sd, (0.7, 1.2))
    assert torch.equal(run(companions.combine(patched, "sum")[0]), run(patched))


def test_a_mean_of_two_equal_strengths_adds_half_of_each(sd):
    first, second = features(pictures())
    half = [0.8 * (a + b) / 2 for a, b in zip(first, second, strict=True)]
    patched, _ = companions.combine(apply_two(sd, (0.8, 0.8)), "mean")
    torch.testing.assert_close(run(patched), run(oracle.inject_features(sd, "SD", half)), **tiny.CLOSE)
    one = tiny.apply(sd, adapters()[0], pictures()[0], strength=0.8)
    assert torch.equal(run(companions.combine(one, "mean")[0]), run(one))


def test_the_node_says_which_conditions_it_has_from_names(sd, caplog):
    caplog.set_level(logging.INFO)
    patched = apply_two(sd)
    companions.combine(patched, "mean")
    assert "files' names" not in caplog.text
    companions.combine(patched, "coadapter", fuser=companions.fuser())
    first, second = NAMES
    assert f"Conditions taken from the files' names: {first}: sketch, {second}: depth." in caplog.text


@pytest.mark.parity
@pytest.mark.parametrize("strengths", [(1.0, 1.0), (0.6, 1.3)])
def test_coadapter_adds_what_the_description_gives(sd, strengths):
    patched, _ = companions.combine(apply_two(sd, strengths), "coadapter", fuser=companions.fuser())
    result = run(patched)
    summed, _ = fused(strengths)
    torch.testing.assert_close(result, run(oracle.inject_features(sd, "SD", summed)), **tiny.CLOSE)
    assert (result - run(apply_two(sd, strengths))).abs().max() > 0.1


def test_an_untrained_fuser_is_the_plain_sum(sd):
    untrained = companions.fuser(hand.zero_outputs(companions.fuser_weights()))
    patched = apply_two(sd, (0.6, 1.3))
    assert torch.equal(run(companions.combine(patched, "coadapter", fuser=untrained)[0]), run(patched))


# --- with a style ----------------------------------------------------------------------------------------------------


def styled(conditioning: list[Any], count: int = 1, strength: float = 1.0) -> list[Any]:
    output = companions.vision(count)
    return companions.apply_style(conditioning, companions.style_adapter(), output, strength=strength)


def prompt_with(text: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    rows = max(text.shape[0], tokens.shape[0])
    return torch.cat([text.expand(rows, -1, -1), tokens.expand(rows, -1, -1)], dim=1)


def length_of(text: list[Any], length: int) -> list[Any]:
    return [[torch.cat([tensor] * 3, dim=1)[:, :length], values] for tensor, values in text]


@pytest.mark.parity
@pytest.mark.parametrize("length", [77, 154])
@pytest.mark.parametrize("references", [1, 2])
def test_a_style_is_fused_with_the_maps_and_in_the_prompt(sd, length, references):
    text = length_of(tiny.conditioning(1), length)
    prompt = styled(text, references, strength=0.8)
    tokens = prompt[0][0][:, length:]
    patched, positive = companions.combine(
        apply_two(sd, (0.6, 1.3)), "coadapter", fuser=companions.fuser(), positive=prompt
    )
    summed, expected = fused((0.6, 1.3), tokens)
    assert (expected - tokens).abs().max() > 0.01
    plain = oracle.inject_features(sd, "SD", summed)
    result = run(patched, positive=positive)
    torch.testing.assert_close(result, run(plain, positive=[[prompt_with(text[0][0], expected), {}]]), **tiny.CLOSE)
    assert (result - run(plain, positive=prompt)).abs().max() > 0.1


@pytest.mark.parity
def test_each_picture_of_a_batch_gets_tokens_of_its_own(sd):
    images, text = pictures((2, 1)), tiny.conditioning(1)
    prompt = styled(text)
    tokens = prompt[0][0][:, 77:].expand(2, -1, -1)
    rows = [images[0], images[1].expand(2, -1, -1, -1)]
    summed, expected = fused((1.0, 1.0), tokens, rows)
    assert (expected[0] - expected[1]).abs().max() > 1e-3
    patched, positive = companions.combine(
        apply_two(sd, images=images), "coadapter", fuser=companions.fuser(), positive=prompt
    )
    plain = oracle.inject_features(sd, "SD", summed)
    wanted = run(plain, 2, positive=[[prompt_with(text[0][0], expected), {}]])
    torch.testing.assert_close(run(patched, 2, positive=positive), wanted, **tiny.CLOSE)


@pytest.mark.parity
@pytest.mark.parametrize("negative_length", [77, 154])
def test_several_prompts_with_areas_and_without_the_style_stay_their_own(sd, negative_length):
    """ComfyUI copies the area's entries to the other side, whose text must not change."""
    area = {"area": (8, 8, 0, 8), "set_area_to_bounds": False}
    texts = [*tiny.conditioning(1), *tiny.conditioning(5, **area), *tiny.conditioning(6)]
    prompt = [*styled(texts[:2]), texts[2]]
    tokens = prompt[0][0][:, 77:]
    patched, positive = companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser(), positive=prompt)
    summed, expected = fused((1.0, 1.0), tokens)
    by_hand = [[prompt_with(text, expected), values] for text, values in texts[:2]] + [texts[2]]

    def crop(level: int, h: torch.Tensor, _: dict[str, Any]) -> torch.Tensor:
        # The area is the right half: the last columns of each map.
        return summed[level][..., -h.shape[-1] :]

    negative = length_of(tiny.conditioning(2), negative_length)
    wanted = run(oracle.inject(sd, "SD", crop), positive=by_hand, negative=negative)
    torch.testing.assert_close(run(patched, positive=positive, negative=negative), wanted, **tiny.CLOSE)


def test_the_prompt_that_runs_is_a_copy(sd):
    prompt = styled(tiny.conditioning(1))
    text, before, values = prompt[0][0], prompt[0][0].clone(), dict(prompt[0][1])
    patched, positive = companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser(), positive=prompt)
    first = run(patched, positive=positive)
    assert torch.equal(run(patched, positive=positive), first)
    assert positive[0][0] is text
    assert torch.equal(text, before)
    assert positive[0][1] == values
    # The same prompt on a MODEL without the fuser carries the style as it was.
    alone = run(sd, positive=positive)
    assert torch.equal(alone, run(sd, positive=[[before, {}]]))


def test_the_prompts_of_a_run_are_replaced_and_not_changed(inside_comfyui):
    from comfy.conds import CONDCrossAttn
    from t2i_adapter_pack.nodes.sampling.style_prompts import STYLE_MARKS, put_fused

    text, values = styled(tiny.conditioning(1))[0]
    style = values[STYLE_MARKS][0].tokens
    prompt = {**values, "uuid": 3, "model_conds": {"c_crossattn": CONDCrossAttn(text), "y": None}}
    conds, before, prompts = prompt["model_conds"]["c_crossattn"], text.clone(), [prompt]
    assert put_fused(prompts, style, style * 2)
    assert prompt["model_conds"]["c_crossattn"] is conds
    assert torch.equal(conds.cond, before)
    replaced = prompts[0]["model_conds"]
    assert torch.equal(replaced["c_crossattn"].cond, prompt_with(before[:, :77], style * 2))
    assert (prompts[0]["uuid"], set(replaced)) == (3, {"c_crossattn", "y"})
    # Tokens that are already fused, or of another style, are not replaced.
    assert not put_fused(prompts, style, style)
    assert not put_fused([prompt], style.clone(), style)


def test_a_text_that_is_appended_later_keeps_the_style_in_its_place(sd):
    import nodes

    prompt = styled(tiny.conditioning(1))
    patched, positive = companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser(), positive=prompt)
    (longer,) = nodes.ConditioningConcat().concat(positive, tiny.conditioning(9))
    summed, expected = fused((1.0, 1.0), prompt[0][0][:, 77:])
    text = torch.cat([prompt_with(tiny.conditioning(1)[0][0], expected), tiny.conditioning(9)[0][0]], dim=1)
    wanted = run(oracle.inject_features(sd, "SD", summed), positive=[[text, {}]])
    torch.testing.assert_close(run(patched, positive=longer), wanted, **tiny.CLOSE)


def test_a_run_without_the_styled_prompt_says_so(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    prompt = styled(tiny.conditioning(1))
    patched, _ = companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser(), positive=prompt)
    with pytest.raises(AdapterError, match=r"whose prompts do not carry the style.*Connect that output"):
        run(patched, positive=tiny.conditioning(1))


def test_a_prompt_whose_style_has_strength_0_is_a_prompt_without_one(sd):
    prompt = styled(tiny.conditioning(1), strength=0.0)
    made = companions.fuser()
    patched, positive = companions.combine(apply_two(sd), "coadapter", fuser=made, positive=prompt)
    assert positive is prompt
    assert torch.equal(
        run(patched, positive=positive), run(companions.combine(apply_two(sd), "coadapter", fuser=made)[0])
    )


def test_two_styles_are_refused(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    twice = styled(styled(tiny.conditioning(1)))
    beside = [*styled(tiny.conditioning(1)), *styled(tiny.conditioning(2))]
    for prompt in (twice, beside):
        with pytest.raises(AdapterError, match="got 2 styles; expected one"):
            companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser(), positive=prompt)
        assert companions.combine(apply_two(sd), "mean", positive=prompt)[1] is prompt


# --- what runs, and when ---------------------------------------------------------------------------------------------


def test_another_seed_runs_neither_the_adapters_nor_the_fuser(sd):
    made, both, images = companions.fuser(), adapters(), pictures()
    prompt = styled(tiny.conditioning(1))
    counts = [tiny.Count(network) for network in (made.network, *(adapter.network for adapter in both))]

    def forwards(**changes: Any) -> list[int]:
        before = [count.calls for count in counts]
        patched = sd
        for adapter, image in zip(both, images, strict=True):
            patched = tiny.apply(patched, adapter, image, **changes)
        patched, positive = companions.combine(patched, "coadapter", fuser=made, positive=prompt)
        run(patched, positive=positive, steps=3, seed=len(changes))
        return [count.calls - old for count, old in zip(counts, before, strict=True)]

    assert forwards() == [1, 1, 1]
    assert forwards() == [0, 0, 0]
    assert forwards(end_percent=0.5) == [0, 0, 0]
    assert forwards(mask=torch.ones(1, 8, 8), end_percent=0.4) == [0, 0, 0]
    assert forwards(strength=0.5) == [1, 0, 0]


@pytest.mark.parametrize("method", ["mean", "coadapter"])
def test_a_step_does_nothing_but_add_in_place(sd, monkeypatch, method):
    from t2i_adapter_pack.nodes.sampling import patches, wrappers

    operations = oracle.Operations()
    for owner, name in (
        (wrappers.SamplingWrappers, "apply_model"),
        (wrappers.SamplingWrappers, "calc_cond_batch"),
        (patches.InputPatch, "__call__"),
        (patches.MiddlePatch, "__call__"),
    ):
        operations.watch(monkeypatch, owner, name)
    patched, _ = companions.combine(apply_two(sd, (0.5, 0.7)), method, fuser=companions.fuser())
    starts: list[tuple[int, int]] = []
    spied = oracle.spied(patched, lambda *_: starts.append((len(operations.names), len(operations.allocated))))
    with operations:
        run(spied, steps=3)
    assert len(starts) == 3
    names, allocated = starts[1]
    later = operations.names[names:]
    assert [name for name in later if "flatten" not in name] == ["aten.add_.Tensor"] * 8
    assert operations.allocated[allocated:] == []


def test_comfyui_loads_the_fuser_when_it_has_to_run(sd):
    import comfy.model_management

    def is_loaded() -> bool:
        return any(entry.model is made.patcher for entry in comfy.model_management.current_loaded_models)

    made = companions.fuser()
    patched, _ = companions.combine(apply_two(sd), "coadapter", fuser=made)
    comfy.model_management.unload_all_models()
    first = run(patched)
    assert is_loaded()
    comfy.model_management.unload_all_models()
    assert torch.equal(run(patched), first)
    assert not is_loaded()
    back, _ = companions.combine(apply_two(sd), "sum")
    run(back)
    assert not is_loaded()


def test_branches_keep_their_own_method(sd):
    patched = apply_two(sd)
    before = run(patched)
    mean, _ = companions.combine(patched, "mean")
    coadapter, _ = companions.combine(patched, "coadapter", fuser=companions.fuser())
    results = [run(model) for model in (mean, coadapter, patched)]
    assert torch.equal(results[2], before)
    assert (results[0] - before).abs().max() > 0.1
    assert (results[1] - before).abs().max() > 0.1
    assert torch.equal(run(companions.combine(coadapter, "mean")[0]), results[0])


@pytest.mark.parametrize("method", ["mean", "coadapter"])
def test_an_adapter_that_is_applied_afterwards_joins_in_the_same_way(sd, method):
    (first, second), images, made = adapters(), pictures(), companions.fuser()
    early, _ = companions.combine(tiny.apply(sd, first, images[0]), method, fuser=made)
    late, _ = companions.combine(tiny.apply(tiny.apply(sd, first, images[0]), second, images[1]), method, fuser=made)
    assert torch.equal(run(tiny.apply(early, second, images[1])), run(late))


# --- what is refused -------------------------------------------------------------------------------------------------


def test_a_model_without_adapters_is_refused(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    for method in ("sum", "mean", "coadapter"):
        with pytest.raises(AdapterError, match=r"got a MODEL without adapters; .*Put Apply T2I-Adapter before"):
            companions.combine(sd, method, fuser=companions.fuser())


def test_coadapter_without_a_fuser_is_refused(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    with pytest.raises(AdapterError, match="Connect Load CoAdapter Fuser"):
        companions.combine(apply_two(sd), "coadapter")


def test_an_sdxl_adapter_is_refused(sdxl):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    patched = tiny.apply(sdxl, tiny.adapter(tiny.adapter_config("SDXL"), name=NAMES[0]), tiny.hint(*PIXELS))
    with pytest.raises(AdapterError, match=r"coadapter-sketch-sd15v1 with channels 32 \(1/16\)"):
        companions.combine(patched, "coadapter", fuser=companions.fuser())
    assert companions.combine(patched, "mean")[0] is not patched


def test_a_second_adapter_of_a_condition_is_refused_also_afterwards(sd):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    patched, _ = companions.combine(apply_two(sd), "coadapter", fuser=companions.fuser())
    again = tiny.adapter(tiny.adapter_config(), 5, name="t2iadapter_sketch_sd14v1")
    with pytest.raises(AdapterError, match="two adapters of the condition sketch: coadapter-sketch-sd15v1 and t2iad"):
        tiny.apply(patched, again, tiny.hint(*PIXELS))


def test_a_prompt_that_was_not_connected_says_so_where_it_is_used(sd):
    from comfy_execution.graph_utils import ExecutionBlocker

    _, positive = companions.combine(apply_two(sd), "mean")
    assert isinstance(positive, ExecutionBlocker)
    assert "connect its input positive" in positive.message
