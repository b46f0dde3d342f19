"""The CoAdapter fuser's network: its file, and its numbers beside another implementation."""

import itertools

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import CorruptFileError, NotAnAdapterError
from t2i_adapter_pack.adapter_models.fuser import CoAdapterFuser, FusedPart, FuserConfig
from t2i_adapter_pack.adapter_models.style_and_fuser import FUSER, load_companion

from . import companion_samples as hand
from . import samples

WEIGHTS = hand.random_weights(hand.fuser_shapes(*hand.FUSER))
SKETCH, DEPTH, STYLE, COLOR = 0, 3, 5, 6


def load(folder, tensors=WEIGHTS, container="safetensors"):
    return load_companion(FUSER, samples.save(folder, tensors, container))


def maps(batch=1, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [
        torch.randn(batch, width, 8 >> level, 12 >> level, generator=generator) + 0.3
        for level, width in enumerate(hand.FUSER[1])
    ]


def tokens(batch=1, seed=9):
    return torch.randn(batch, 8, 24, generator=torch.Generator().manual_seed(seed))


def fuse(network, parts):
    """Fuse whole maps with the network, as the description has it."""
    seen = [
        FusedPart(task, (value,) if isinstance(value, torch.Tensor) else tuple(level.mean((2, 3)) for level in value))
        for task, value in parts
    ]
    with torch.no_grad():
        gains = network(seen)
    summed, styles = None, []
    for (_, value), gain in zip(parts, gains, strict=True):
        if isinstance(value, torch.Tensor):
            styles.append(value * gain[0])
            continue
        fused = [level * factor[..., None, None] for level, factor in zip(value, gain, strict=True)]
        summed = fused if summed is None else [a + b for a, b in zip(summed, fused, strict=True)]
    return summed, torch.cat(styles, 1) if styles else None


@pytest.mark.parametrize("shape", [hand.FUSER, hand.PUBLISHED_FUSER], ids=["small", "published"])
def test_the_names_and_shapes_are_those_of_the_published_file(shape):
    with torch.device("meta"):
        state = CoAdapterFuser(FuserConfig(*shape)).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == hand.fuser_shapes(*shape)


def test_the_published_shape_has_the_published_number_of_weights():
    assert len(hand.fuser_shapes(*hand.PUBLISHED_FUSER)) == 59
    with torch.device("meta"):
        network = CoAdapterFuser(FuserConfig(*hand.PUBLISHED_FUSER))
    assert sum(value.numel() for value in network.parameters()) == 27_285_184


@pytest.mark.parametrize("container", ["safetensors", "pth", "legacy.pth"])
@pytest.mark.parametrize("prefix", ["", "module.", "coadapter_fuser.", "model.coadapter_fuser."])
def test_a_file_loads_the_very_weights(container, prefix, tmp_path):
    network = load(tmp_path, samples.prefixed(prefix, WEIGHTS), container)
    assert network.config == FuserConfig(*hand.FUSER)
    assert samples.same_bits(network.state_dict(), WEIGHTS)


def test_the_fuser_of_a_training_checkpoint_is_found_among_its_adapters(tmp_path):
    bundle = {
        **samples.prefixed("coadapter_fuser.", WEIGHTS),
        **samples.prefixed("adapters.sketch.", samples.weights(samples.full(1))),
    }
    assert samples.same_bits(load(tmp_path, bundle).state_dict(), WEIGHTS)


PARTS = {
    "one map": [(SKETCH, maps())],
    "two maps": [(SKETCH, maps(seed=1)), (COLOR, maps(seed=2))],
    "maps and a style": [(DEPTH, maps(seed=1)), (STYLE, tokens()), (SKETCH, maps(seed=2))],
    "a style alone": [(STYLE, tokens())],
    "a batch": [(SKETCH, maps(3, 1)), (DEPTH, maps(3, 2)), (STYLE, tokens(3))],
}


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_it_fuses_as_the_description_says(parts, tmp_path):
    got, expected = fuse(load(tmp_path), parts), hand.reference_fuse(WEIGHTS, parts)
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("parts", PARTS.values(), ids=PARTS)
def test_zero_outputs_give_the_plain_sum_bit_for_bit(parts, tmp_path):
    summed, styles = fuse(load(tmp_path, hand.zero_outputs(WEIGHTS)), parts)
    levels = [value for _, value in parts if not isinstance(value, torch.Tensor)]
    if levels:
        assert all(torch.equal(a, sum(b)) for a, b in zip(summed, zip(*levels, strict=True), strict=True))
    for _, value in parts:
        assert not isinstance(value, torch.Tensor) or torch.equal(styles, value)


def test_a_new_network_is_the_plain_sum():
    network = CoAdapterFuser(FuserConfig(*hand.FUSER))
    summed, _ = fuse(network, PARTS["two maps"])
    assert all(torch.equal(a, b + c) for a, b, c in zip(summed, maps(seed=1), maps(seed=2), strict=True))


def test_the_order_of_the_parts_changes_nothing_but_rounding(tmp_path):
    network, parts = load(tmp_path), PARTS["maps and a style"]
    expected = fuse(network, parts)
    for order in itertools.permutations(parts):
        torch.testing.assert_close(fuse(network, order), expected, rtol=1e-4, atol=1e-4)


def test_each_part_and_each_task_counts(tmp_path):
    network = load(tmp_path)
    base, _ = fuse(network, [(SKETCH, maps(seed=1)), (DEPTH, maps(seed=2))])
    styled, _ = fuse(network, [(SKETCH, maps(seed=1)), (DEPTH, maps(seed=2)), (STYLE, tokens())])
    swapped, _ = fuse(network, [(DEPTH, maps(seed=1)), (SKETCH, maps(seed=2))])
    for other in (styled, swapped):
        assert (other[0] - base[0]).abs().max() > 0.01


def test_rows_of_a_batch_do_not_see_each_other(tmp_path):
    network, parts = load(tmp_path), PARTS["a batch"]
    whole = fuse(network, parts)
    for row in range(3):
        alone = [
            (
                task,
                value[row : row + 1] if isinstance(value, torch.Tensor) else [level[row : row + 1] for level in value],
            )
            for task, value in parts
        ]
        summed, styles = fuse(network, alone)
        torch.testing.assert_close(summed[0][0], whole[0][0][row], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(styles[0], whole[1][row], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("lost", WEIGHTS)
def test_a_file_that_lacks_any_one_tensor_is_refused(lost, tmp_path):
    rest = {name: value for name, value in WEIGHTS.items() if name != lost}
    with pytest.raises(CorruptFileError if lost != "seq_proj" else NotAnAdapterError):
        load(tmp_path, rest)


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (samples.weights(samples.full()), "This file is a T2I-Adapter, not a CoAdapter fuser."),
        (
            {"task_embedding": torch.zeros(6, 24), "control_add_embedding.linear_1.weight": torch.zeros(4)},
            "a ControlNet",
        ),
        (
            hand.random_weights(hand.style_shapes(*hand.STYLE)),
            "This file is a T2I style adapter, not a CoAdapter fuser.",
        ),
        ({**WEIGHTS, "seq_proj": torch.full((24, 24), float("nan"))}, "576 NaN or infinite numbers in seq_proj"),
        (
            {**WEIGHTS, "positional_embedding": torch.zeros(3, 24)},
            r"positional_embedding \[3, 24\]; expected \[4, 24\]",
        ),
        ({"task_embedding": torch.zeros(16), "seq_proj": torch.zeros(16)}, "impossible shapes"),
    ],
)
def test_other_and_broken_files_are_refused(tensors, message, tmp_path):
    with pytest.raises((NotAnAdapterError, CorruptFileError), match=message):
        load(tmp_path, tensors)
