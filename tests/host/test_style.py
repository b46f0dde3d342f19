"""Load and Apply T2I Style Adapter, compared with ComfyUI core's nodes with the same weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from ..adapter_models import companion_samples as hand
from ..adapter_models import samples
from . import companions, tiny

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def adapter(inside_comfyui) -> Any:
    return companions.style_adapter()


def core_style_model(weights: dict[str, torch.Tensor], shape: tuple[int, int, int, int]) -> Any:
    """ComfyUI core's STYLE_MODEL with the same weights."""
    import comfy.sd
    from comfy.t2i_adapter.adapter import StyleAdapter

    tokens, width, context, layers = shape
    network = StyleAdapter(width=width, context_dim=context, num_head=8, n_layes=layers, num_token=tokens)
    network.load_state_dict(weights)
    return comfy.sd.StyleModel(network)


def apply_core(conditioning: list[Any], model: Any, output: Any, strength: float = 1.0) -> list[Any]:
    """Run ComfyUI core's node Apply Style Model."""
    import nodes

    with torch.inference_mode():
        return nodes.StyleModelApply().apply_stylemodel(conditioning, model, output, strength, "multiply")[0]


def prompts(length: int = 77, count: int = 1, batch: int = 1, width: int = tiny.CONTEXT) -> list[Any]:
    """CONDITIONING of some prompts with other keys."""
    generator = torch.Generator().manual_seed(4)
    return [
        [torch.randn(batch, length, width, generator=generator), {"pooled_output": None, "strength": 0.5 + number}]
        for number in range(count)
    ]


def close(got: list[Any], expected: list[Any]) -> None:
    assert len(got) == len(expected)
    for (text, values), (other, others) in zip(got, expected, strict=True):
        torch.testing.assert_close(text, other, rtol=1e-4, atol=1e-4)
        assert {key: values[key] for key in others} == others


@pytest.mark.parity
@pytest.mark.parametrize("references", [1, 3])
@pytest.mark.parametrize("length", [77, 231])
@pytest.mark.parametrize("strength", [1.0, 0.3, 10.0])
def test_it_appends_what_core_appends(adapter, references, length, strength):
    core = core_style_model(companions.style_weights(), companions.STYLE)
    given, seen = prompts(length, count=2), companions.vision(references)
    got = companions.apply_style(given, adapter, seen, strength=strength)
    assert got[0][0].shape == (1, length + 8 * references, tiny.CONTEXT)
    close(got, apply_core(given, core, seen, strength))


@pytest.mark.parity
def test_the_published_shape_appends_what_core_appends(inside_comfyui):
    weights = hand.random_weights(hand.style_shapes(*hand.PUBLISHED_STYLE))
    given, seen = prompts(width=768), companions.vision(tokens=257, width=1024)
    got = companions.apply_style(given, companions.style_adapter(weights), seen)
    assert got[0][0].shape == (1, 85, 768)
    assert got[0][0][:, 77:].std() > 0.1
    close(got, apply_core(given, core_style_model(weights, hand.PUBLISHED_STYLE), seen))


@pytest.mark.parity
def test_pictures_are_those_of_core(sd, adapter):
    core = core_style_model(companions.style_weights(), companions.STYLE)
    given, seen, latent = tiny.conditioning(1), companions.vision(), tiny.latent(8, 8)
    styled = companions.apply_style(given, adapter, seen)
    result = tiny.sample(sd, latent, positive=styled, steps=2)
    expected = tiny.sample(sd, latent, positive=apply_core(given, core, seen), steps=2)
    torch.testing.assert_close(result, expected, **tiny.CLOSE)
    assert (result - tiny.sample(sd, latent, positive=given, steps=2)).abs().max() > 0.1


def test_strength_0_gives_the_very_same_prompt(adapter):
    given = prompts()
    count = tiny.Count(adapter.network)
    assert companions.apply_style(given, adapter, companions.vision(), strength=0.0) is given
    assert count.calls == 0


def test_the_prompt_that_was_given_is_not_changed(adapter):
    given, seen = prompts(count=2), companions.vision()
    pairs = [(pair, pair[0], pair[0].clone(), pair[1], dict(pair[1])) for pair in given]
    hidden = seen.last_hidden_state.clone()
    got = companions.apply_style(given, adapter, seen, strength=0.5)
    for now, (pair, text, numbers, values, keys) in zip(given, pairs, strict=True):
        assert now is pair
        assert now[0] is text
        assert now[1] is values
        assert torch.equal(text, numbers)
        assert values == keys
    assert torch.equal(seen.last_hidden_state, hidden)
    assert all(styled[1] is not pair[1] for styled, pair in zip(got, given, strict=True))


def test_a_batch_of_prompts_gets_the_style_in_each_row(adapter):
    text = companions.apply_style(prompts(batch=2), adapter, companions.vision())[0][0]
    assert text.shape == (2, 85, tiny.CONTEXT)
    assert torch.equal(text[0, 77:], text[1, 77:])


def test_a_prompt_in_half_precision_keeps_it(adapter):
    given = [[text.half(), values] for text, values in prompts()]
    text = companions.apply_style(given, adapter, companions.vision())[0][0]
    assert text.dtype == torch.float16
    assert torch.equal(text[:, :77], given[0][0])


def test_style_and_strength_count(adapter):
    texts = [
        companions.apply_style(prompts(), adapter, companions.vision(seed=seed), strength=strength)[0][0]
        for seed, strength in ((3, 1.0), (4, 1.0), (3, 0.5))
    ]
    assert (texts[0] - texts[1]).abs().max() > 0.01
    torch.testing.assert_close(texts[2][:, 77:], texts[0][:, 77:] * 0.5)


@pytest.mark.parametrize("width", [1280, 1664, 768])
def test_another_clip_is_refused_with_both_widths(adapter, width):
    from t2i_adapter_pack.adapter_models.errors import HintError

    with pytest.raises(HintError, match=rf"clip_vision_output: .*{width}\); expected \(pictures, tokens, 32\)"):
        companions.apply_style(prompts(), adapter, companions.vision(width=width))


@pytest.mark.parametrize(("width", "model"), [(768, "SD1.x"), (1024, "SD2.x"), (2048, "SDXL")])
def test_the_prompt_of_another_model_is_refused_before_any_work(adapter, width, model):
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    count = tiny.Count(adapter.network)
    mixed = [*prompts(), *prompts(width=width)]
    with pytest.raises(AdapterError, match=rf"got a prompt of width {width} \({model}\); expected 64"):
        companions.apply_style(mixed, adapter, companions.vision())
    assert count.calls == 0


def test_an_output_without_tokens_is_refused(adapter):
    from t2i_adapter_pack.adapter_models.errors import HintError

    with pytest.raises(HintError, match="expected the output of CLIP Vision Encode"):
        companions.apply_style(prompts(), adapter, object())


# --- memory ----------------------------------------------------------------------------------------------------------


def test_comfyui_loads_the_style_adapter_and_can_unload_it(adapter):
    import comfy.model_management

    comfy.model_management.unload_all_models()
    first = companions.apply_style(prompts(), adapter, companions.vision())
    assert any(entry.model is adapter.patcher for entry in comfy.model_management.current_loaded_models)
    comfy.model_management.unload_all_models()
    assert {weight.device.type for weight in adapter.network.parameters()} == {adapter.patcher.offload_device.type}
    assert torch.equal(companions.apply_style(prompts(), adapter, companions.vision())[0][0], first[0][0])
    assert adapter.patcher.model_size() == sum(weight.nbytes for weight in adapter.network.parameters())


@pytest.mark.parametrize("make", [companions.style_adapter, companions.fuser])
def test_no_weight_stands_beside_a_layer(make):
    """ComfyUI moves leaf layers: parameters of modules that have children would not be moved."""
    import comfy.ops

    for module in make().network.modules():
        own = list(module.parameters(recurse=False))
        assert not own or not list(module.children())
        if own and type(module).__name__ != "BareWeight":
            assert isinstance(module, comfy.ops.CastWeightBiasOp)
            assert module.comfy_cast_weights


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_the_weights_keep_their_precision_and_the_tokens_are_computed_in_full(inside_comfyui, dtype):
    weights = {name: value.to(dtype) for name, value in companions.style_weights().items()}
    adapter, seen = companions.style_adapter(weights), companions.vision()
    text = companions.apply_style(prompts(), adapter, seen)[0][0]
    assert samples.same_bits(adapter.network.state_dict(), weights)
    full = {name: value.float() for name, value in weights.items()}
    expected = hand.reference_style(full, seen.last_hidden_state)
    torch.testing.assert_close(text[:, 77:], expected, rtol=1e-4, atol=1e-4)


def test_a_partly_loaded_style_adapter_gives_the_same(adapter):
    expected = companions.apply_style(prompts(), adapter, companions.vision())
    adapter.patcher.load(torch.device("cpu"), lowvram_model_memory=adapter.patcher.model_size() // 3)
    got = companions.apply_style(prompts(), adapter, companions.vision())
    assert torch.equal(got[0][0], expected[0][0])


# --- the loaders -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folders(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """The folders that the loaders look in, empty; this is their parent."""
    import folder_paths

    for key, names in (("style_models", ["style_models"]), ("controlnet", ["controlnet", "t2i_adapter"])):
        for name in names:
            (tmp_path / name).mkdir()
        suffixes = folder_paths.folder_names_and_paths[key][1]
        paths = [str(tmp_path / name) for name in names]
        monkeypatch.setitem(folder_paths.folder_names_and_paths, key, (paths, suffixes))
    monkeypatch.setattr(folder_paths, "filename_list_cache", {})
    return tmp_path


def loaders() -> dict[str, tuple[Any, str, dict[str, torch.Tensor]]]:
    from t2i_adapter_pack.nodes.combine import LoadCoAdapterFuser
    from t2i_adapter_pack.nodes.style import LoadT2IStyleAdapter

    return {
        "style": (LoadT2IStyleAdapter, "style_name", companions.style_weights()),
        "fuser": (LoadCoAdapterFuser, "fuser_name", companions.fuser_weights()),
    }


@pytest.mark.parametrize("kind", ["style", "fuser"])
@pytest.mark.parametrize("folder", ["style_models", "controlnet", "t2i_adapter"])
def test_files_of_all_folders_are_offered_found_and_loaded(folders, kind, folder):
    loader, input_name, weights = loaders()[kind]
    (folders / folder / "sub").mkdir()
    save_file(weights, folders / folder / "sub" / "a.safetensors")
    (offered,) = loader.define_schema().inputs
    assert offered.id == input_name
    assert offered.options == [str(Path("sub", "a.safetensors"))]
    for name in (offered.options[0], "a.safetensors", "yours/a.safetensors"):
        assert loader.validate_inputs(name) is True
        loaded = loader.execute(name)[0]
        assert loaded.name == name
        assert samples.same_bits(loaded.network.state_dict(), weights)


@pytest.mark.parametrize("kind", ["style", "fuser"])
def test_a_missing_file_says_what_to_do(folders, kind):
    loader, input_name, _ = loaders()[kind]
    message = loader.validate_inputs("gone.safetensors")
    assert message == (
        "This file is not in ComfyUI's folders.\n"
        f"{input_name} 'gone.safetensors': got no such file; expected one of 0 files in models/style_models, "
        "models/controlnet and models/t2i_adapter. Put the file there and refresh the node definitions (R)."
    )


@pytest.mark.parametrize("kind", ["style", "fuser"])
def test_a_replaced_file_is_loaded_again(folders, kind):
    loader, _, weights = loaders()[kind]
    path = folders / "controlnet" / "a.pth"
    torch.save(weights, path)
    before = loader.fingerprint_inputs("a.pth")
    assert before == loader.fingerprint_inputs("a.pth")
    path.unlink()
    torch.save({**weights, "more": torch.zeros(100)}, path)
    assert loader.fingerprint_inputs("a.pth") != before


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("style", companions.fuser_weights, "got a CoAdapter fuser; .*Load CoAdapter Fuser"),
        ("fuser", companions.style_weights, "got a T2I style adapter; .*Load T2I Style Adapter"),
        ("style", lambda: tiny.adapter_weights(tiny.adapter_config()), "got a T2I-Adapter; .*Load T2I-Adapter"),
        ("fuser", lambda: tiny.adapter_weights(tiny.adapter_config()), "got a T2I-Adapter; .*Load T2I-Adapter"),
    ],
)
def test_files_of_another_kind_are_sent_to_their_node(folders, kind, content, message):
    from t2i_adapter_pack.adapter_models.errors import NotAnAdapterError

    save_file(content(), folders / "controlnet" / "a.safetensors")
    with pytest.raises(NotAnAdapterError, match=f"(?s)a.safetensors: {message}"):
        loaders()[kind][0].execute("a.safetensors")
