"""The style adapter: its file, its numbers, and what it refuses."""

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError, CorruptFileError, HintError, NotAnAdapterError
from t2i_adapter_pack.adapter_models.style import StyleAdapter, StyleConfig, T2IStyleAdapter
from t2i_adapter_pack.adapter_models.style_and_fuser import STYLE_ADAPTER, load_companion

from . import companion_samples as hand
from . import others, samples

WEIGHTS = hand.random_weights(hand.style_shapes(*hand.STYLE))


def load(path):
    return load_companion(STYLE_ADAPTER, path)


def saved(folder, tensors=WEIGHTS, container="safetensors"):
    return samples.save(folder, tensors, container)


def seen(count=1, tokens=17, width=32, seed=3):
    """What CLIP might say of pictures."""
    return torch.randn(count, tokens, width, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [hand.STYLE, hand.PUBLISHED_STYLE], ids=["small", "published"])
def test_the_names_and_shapes_are_those_of_the_published_files(shape):
    with torch.device("meta"):
        state = StyleAdapter(StyleConfig(*shape)).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == hand.style_shapes(*shape)


def test_the_published_shape_has_the_published_number_of_weights():
    shapes = hand.style_shapes(*hand.PUBLISHED_STYLE)
    assert len(shapes) == 42
    with torch.device("meta"):
        network = StyleAdapter(StyleConfig(*hand.PUBLISHED_STYLE))
    assert sum(value.numel() for value in network.parameters()) == 38_587_392


@pytest.mark.parametrize("container", samples.CONTAINERS)
@pytest.mark.parametrize("prefix", ["", "module.", "adapter.", "adapters.style.", "module.adapters.style."])
def test_a_file_of_any_kind_loads_the_very_weights(container, prefix, tmp_path):
    network = load(saved(tmp_path, samples.prefixed(prefix, WEIGHTS), container))
    assert network.config == StyleConfig(*hand.STYLE)
    assert samples.same_bits(network.state_dict(), WEIGHTS)
    assert not network.training
    assert not any(value.requires_grad for value in network.parameters())


@pytest.mark.parametrize("shape", [(8, 32, 24, 3), (4, 16, 64, 2), (1, 8, 8, 1)])
def test_its_tokens_are_those_of_the_description(shape, tmp_path):
    weights = hand.random_weights(hand.style_shapes(*shape), 1)
    network = load(saved(tmp_path, weights))
    hidden = seen(3, width=shape[1])
    expected = hand.reference_style(weights, hidden, shape[3])
    assert expected.shape == (3, shape[0], shape[2])
    assert expected.std() > 0.1
    torch.testing.assert_close(network(hidden), expected, rtol=1e-4, atol=1e-5)


def test_pictures_of_a_batch_do_not_see_each_other(tmp_path):
    network, hidden = load(saved(tmp_path)), seen(4)
    for row in range(4):
        torch.testing.assert_close(network(hidden)[row], network(hidden[row : row + 1])[0])


def ready(folder, dtype=torch.float32):
    weights = {name: value.to(dtype) for name, value in WEIGHTS.items()}
    return T2IStyleAdapter(load(saved(folder, weights)), "my style")


def test_a_batch_of_references_gives_one_row_of_tokens(tmp_path):
    adapter = ready(tmp_path)
    made = adapter.tokens(seen(3))
    assert made.shape == (1, 24, 24)
    assert torch.equal(made[0, 8:16], adapter.network(seen(3))[1])


def test_half_precision_of_the_picture_is_computed_in_full(tmp_path):
    adapter = ready(tmp_path)
    half = seen().half()
    assert torch.equal(adapter.tokens(half), adapter.tokens(half.float()))


def test_nan_in_the_picture_is_refused(tmp_path):
    with pytest.raises(CorruptFileError, match="my style: got NaN or infinite tokens"):
        ready(tmp_path).tokens(torch.full((1, 17, 32), float("nan")))


@pytest.mark.parametrize("shape", [(1, 17, 40), (1, 32), (0, 17, 32), (1, 0, 32)])
def test_another_clip_is_refused_with_both_widths(shape, tmp_path):
    with pytest.raises(HintError, match=r"got the output .*; expected \(pictures, tokens, 32\), as my style takes"):
        ready(tmp_path).check_picture("here", torch.zeros(shape))


@pytest.mark.parametrize(("width", "model"), [(1024, "SD2.x"), (2048, "SDXL"), (4096, "another model")])
def test_the_prompt_of_another_model_is_refused_with_both_widths(width, model, tmp_path):
    with pytest.raises(AdapterError, match=f"got a prompt of width {width} \\({model}\\); expected 24"):
        ready(tmp_path).check_text("here", torch.zeros(1, 77, width))


# --- files that are something else, or damaged ----------------------------------------------------------------------


@pytest.mark.parametrize(("what", "_", "content"), others.CASES.values(), ids=others.CASES)
def test_other_files_are_named(what, _, content, tmp_path):
    if what == "a T2I style adapter":
        with pytest.raises(CorruptFileError):
            load(saved(tmp_path, content))
        return
    path = samples.save(tmp_path, content, "pth")
    with pytest.raises(NotAnAdapterError, match=rf"got {what}; expected a T2I style adapter\."):
        load(path)


@pytest.mark.parametrize("layout", samples.LAYOUTS)
def test_an_adapter_is_sent_to_its_own_loader(layout, tmp_path):
    config, naming = samples.LAYOUTS[layout]
    path = saved(tmp_path, samples.named(samples.weights(config), config, naming))
    with pytest.raises(NotAnAdapterError, match=r"This file is a T2I-Adapter, not a T2I style adapter\."):
        load(path)


def test_a_bundle_without_a_style_names_its_entries(tmp_path):
    tensors = samples.prefixed("adapters.sketch.", samples.weights(samples.full(1)))
    with pytest.raises(NotAnAdapterError, match="got a CoAdapter bundle of sketch; expected a T2I style adapter"):
        load(saved(tmp_path, tensors))


@pytest.mark.parametrize("lost", WEIGHTS)
def test_a_file_that_lacks_any_one_tensor_is_refused(lost, tmp_path):
    path = saved(tmp_path, {name: value for name, value in WEIGHTS.items() if name != lost})
    with pytest.raises(CorruptFileError if lost != "style_embedding" else NotAnAdapterError):
        load(path)


@pytest.mark.parametrize("name", ["style_embedding", "proj", "transformer_layes.1.attn.in_proj_weight", "ln_pre.bias"])
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_refused(name, bad, tmp_path):
    broken = WEIGHTS[name].clone()
    broken.view(-1)[3] = bad
    with pytest.raises(CorruptFileError, match=f"1 NaN or infinite numbers in {name}"):
        load(saved(tmp_path, {**WEIGHTS, name: broken}))


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("style_embedding", (8, 32)),
        ("proj", (32,)),
        ("proj", (31, 24)),
        ("ln_pre.weight", (31,)),
        ("transformer_layes.2.mlp.c_fc.weight", (64, 32)),
        ("something_else", (3,)),
    ],
)
def test_shapes_that_contradict_each_other_are_refused(name, shape, tmp_path):
    with pytest.raises(CorruptFileError):
        load(saved(tmp_path, {**WEIGHTS, name: torch.zeros(shape)}))


def test_a_width_that_eight_heads_do_not_share_is_refused(tmp_path):
    weights = hand.random_weights(hand.style_shapes(8, 36, 24, 1))
    with pytest.raises(CorruptFileError, match="got a transformer of width 36; expected a multiple of 8"):
        load(saved(tmp_path, weights))


@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
def test_truncated_copies_are_refused(container, tmp_path):
    path = saved(tmp_path, WEIGHTS, container)
    content = path.read_bytes()
    for share in (0.0, 0.01, 0.5, 0.99):
        path.unlink()
        path.write_bytes(content[: int(len(content) * share)])
        with pytest.raises(CorruptFileError):
            load(path)
