"""The engine: what a stack of adapters adds at each site, and that it is computed once."""

import itertools

import pytest
import torch
from t2i_adapter_pack.adapter_models import stack
from t2i_adapter_pack.adapter_models.features import crop_level
from torch.utils._python_dispatch import TorchDispatchMode

from . import engine, samples

SITES = tuple(("input", index) for index in engine.SD_SITES)


def levels(applied, hint, size=(64, 64)):
    """The features of condition images, straight from the network."""
    with torch.no_grad():
        return applied.features(hint.clone(), len(hint), size, "crop", device=engine.CPU, dtype=torch.float32).levels


def close(got, expected):
    assert got.keys() == expected.keys()
    for site, residual in got.items():
        torch.testing.assert_close(residual, expected[site], rtol=1e-5, atol=1e-5)


def equal(got, expected):
    return got.keys() == expected.keys() and all(torch.equal(got[site], expected[site]) for site in got)


def test_one_use_adds_its_features_times_its_weight():
    hint = engine.pictures()
    applied = engine.adapter()
    for weight in (1.0, 0.7, -0.5, 0.0):
        got = engine.run(engine.use(applied, hint)).residuals(engine.call(weight))
        assert tuple(got) == SITES
        for site, level in zip(SITES, levels(applied, hint), strict=True):
            assert torch.equal(got[site], level[None] * weight)


def test_strength_a_and_b_in_two_uses_is_one_use_of_both():
    applied, hint = engine.adapter(), engine.pictures()
    twice = engine.run(engine.use(applied, hint), engine.use(applied, hint)).residuals(engine.call(0.3, 0.6))
    close(twice, engine.run(engine.use(applied, hint)).residuals(engine.call(0.9)))


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_the_order_of_a_stack_does_not_matter(order):
    weights = (0.3, 1.0, -0.4)
    uses = [engine.use(engine.adapter(seed=seed), engine.pictures(seed=seed)) for seed in range(3)]
    expected = engine.run(*uses).residuals(engine.call(*weights))
    got = engine.run(*(uses[i] for i in order)).residuals(engine.call(*(weights[i] for i in order)))
    close(got, expected)


def test_weight_zero_takes_part_like_nothing():
    first, second = (engine.use(engine.adapter(seed=seed), engine.pictures(seed=seed)) for seed in range(2))
    both = engine.run(first, second).residuals(engine.call(0.8, 0.0))
    assert equal(both, engine.run(first).residuals(engine.call(0.8)))


def test_adapters_of_three_and_four_levels_share_sites():
    full, three = engine.adapter(), engine.adapter(samples.full(**samples.THREE), seed=1)
    hint = engine.pictures()
    got = engine.run(engine.use(three, hint), engine.use(full, hint)).residuals(engine.call(1.0, 1.0))
    assert sorted(got) == sorted(SITES)
    for site, level, other in zip(SITES, levels(full, hint), [*levels(three, hint), 0], strict=True):
        torch.testing.assert_close(got[site][0], level + other)


@pytest.mark.parametrize("size", [(8, 8), (5, 7), (9, 16)])
def test_a_mask_of_ones_is_no_mask_bit_for_bit(size):
    applied, hint = engine.adapter(), engine.pictures()
    request = engine.call(0.7, chunks=(engine.chunk(size=size),))
    mask = torch.ones(1, 8 * size[0], 8 * size[1])
    masked = engine.run(engine.use(applied, hint, mask=mask)).residuals(request)
    assert equal(masked, engine.run(engine.use(applied, hint)).residuals(request))


def test_a_mask_of_zeros_adds_zeros():
    got = engine.run(engine.use(engine.adapter(), engine.pictures(), mask=torch.zeros(1, 64, 64))).residuals(
        engine.call(1)
    )
    assert all(torch.equal(residual, torch.zeros_like(residual)) for residual in got.values())


def test_a_mask_acts_on_its_own_adapter_and_its_own_side():
    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1
    first, second = (engine.adapter(seed=seed) for seed in range(2))
    hint = engine.pictures()
    got = engine.run(engine.use(first, hint, mask=mask), engine.use(second, hint)).residuals(engine.call(1.0, 1.0))
    fine, other = levels(first, hint)[0], levels(second, hint)[0]
    torch.testing.assert_close(got[SITES[0]][0, ..., :4], (fine + other)[..., :4])
    assert torch.equal(got[SITES[0]][0, ..., 4:], other[..., 4:])


def test_a_mask_follows_a_latent_that_changes_its_size_during_a_run():
    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1
    use = engine.use(engine.adapter(), engine.pictures(), mask=mask)
    growing = engine.run(use)
    for size in ((8, 8), (16, 16), (8, 12)):
        request = engine.call(1.0, chunks=(engine.chunk(size=size),))
        assert equal(growing.residuals(request), engine.run(use).residuals(request))


@pytest.mark.parametrize("hints", [1, 2, 3])
@pytest.mark.parametrize("masks", [0, 1, 2])
@pytest.mark.parametrize("first", [0, 1, 3])
def test_picture_i_takes_condition_i_and_mask_i_in_turns(hints, masks, first):
    applied, hint = engine.adapter(), engine.pictures(hints)
    mask = torch.rand(masks, 64, 64, generator=torch.Generator().manual_seed(5)).round() if masks else None
    got = engine.run(engine.use(applied, hint, mask=mask), pictures=7).residuals(
        engine.call(1.0, chunks=(engine.chunk(4, first=first),))
    )
    for row in range(4):
        one = hint[(first + row) % hints][None]
        alone = engine.use(applied, one, mask=None if mask is None else mask[(first + row) % masks][None])
        expected = engine.run(alone).residuals(engine.call(1.0))
        for site in SITES:
            torch.testing.assert_close(got[site].expand(1, 4, -1, -1, -1)[0, row], expected[site][0, 0])


def test_a_batch_smaller_than_the_conditions_runs_only_those_it_needs():
    applied = engine.adapter()
    forwards = engine.Forwards(applied)
    engine.run(engine.use(applied, engine.pictures(5)), pictures=2).residuals(
        engine.call(1.0, chunks=(engine.chunk(2),))
    )
    assert forwards.batches == [2]


def test_an_area_gets_its_part_of_the_features():
    applied, hint = engine.adapter(), engine.pictures(height=128, width=128)
    area = (8, 4, 2, 6)
    got = engine.run(engine.use(applied, hint)).residuals(engine.call(1.0, chunks=(engine.chunk(1, (16, 16), area),)))
    whole = levels(applied, hint, (128, 128))
    assert torch.equal(got[SITES[0]][0], whole[0][..., 2:10, 6:10])
    assert torch.equal(got[SITES[1]][0], whole[1][..., 1:5, 3:5])
    for site, level, stride in zip(SITES, whole, (8, 16, 32, 64), strict=True):
        assert torch.equal(got[site][0], crop_level(level, stride, (64, 32, 16, 48)))


def test_prompts_of_different_areas_get_a_row_each():
    applied, hint = engine.adapter(), engine.pictures(2, 128, 128)
    chunks = tuple(engine.chunk(2, (16, 16), (8, 8, top, 0)) for top in (0, 8))
    got = engine.run(engine.use(applied, hint), pictures=2).residuals(engine.call(1.0, chunks=chunks))
    whole = levels(applied, hint, (128, 128))
    for site, level, half in zip(SITES[:3], whole, (8, 4, 2), strict=False):
        assert got[site].shape[:2] == (2, 2)
        assert torch.equal(got[site][0], level[..., :half, :half])
        assert torch.equal(got[site][1], level[..., half:, :half])


@pytest.mark.parametrize(("hints", "shape"), [(1, (1, 1)), (3, (1, 3))])
def test_prompts_that_get_the_same_share_one_residual(hints, shape):
    use = engine.use(engine.adapter(), engine.pictures(hints))
    got = engine.run(use, pictures=3).residuals(engine.call(1.0, chunks=(engine.chunk(3), engine.chunk(3))))
    assert all(residual.shape[:2] == shape for residual in got.values())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_residuals_have_the_precision_asked_for(dtype):
    applied = engine.adapter(dtype=torch.float32)
    got = engine.run(engine.use(applied, engine.pictures())).residuals(engine.call(1.0, dtype=dtype))
    assert {residual.dtype for residual in got.values()} == {dtype}


class Operations(TorchDispatchMode):
    """Counts every operation on tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_an_equal_call_gets_the_same_tensors_without_any_operation():
    applied = engine.adapter()
    forwards = engine.Forwards(applied)
    uses = [engine.use(applied, engine.pictures(2), mask=torch.ones(1, 64, 64)), engine.use(applied, engine.pictures())]
    run = engine.run(*uses, pictures=2)
    first = run.residuals(engine.call(0.5, 1.0, chunks=(engine.chunk(2), engine.chunk(2))))
    with Operations() as operations:
        for _ in range(5):
            again = run.residuals(engine.call(0.5, 1.0, chunks=(engine.chunk(2), engine.chunk(2))))
            assert all(again[site] is first[site] for site in SITES)
    assert operations.count == 0
    assert forwards.batches == [2, 1]


def test_other_weights_drop_the_old_sums_and_run_no_adapter():
    applied = engine.adapter()
    forwards = engine.Forwards(applied)
    run = engine.run(engine.use(applied, engine.pictures()))
    first = run.residuals(engine.call(0.5))
    run.residuals(engine.call(0.5, chunks=(engine.chunk(1, (8, 8), (4, 4, 0, 0)),)))
    run.residuals(engine.call(0.6))
    assert len(run._ready) == 1
    again = run.residuals(engine.call(0.5))
    assert equal(again, first)
    assert again[SITES[0]] is not first[SITES[0]]
    assert forwards.batches == [1]


def test_the_sums_kept_ready_are_bounded_and_the_oldest_goes():
    run = engine.run(engine.use(engine.adapter(), engine.pictures()))
    requests = [engine.call(1.0, chunks=(engine.chunk(1, (8, 8), (2, 2, top, 0)),)) for top in range(6)]
    found = []
    for request in requests:
        found.append(run.residuals(request)[SITES[0]])
        assert run.residuals(requests[0])[SITES[0]] is found[0]
        assert len(run._ready) <= stack.READY_SUMS
    assert run.residuals(requests[-1])[SITES[0]] is found[-1]
    assert run.residuals(requests[1])[SITES[0]] is not found[1]


def test_a_second_size_runs_the_adapter_again_and_the_first_stays():
    applied = engine.adapter()
    forwards = engine.Forwards(applied)
    run = engine.run(engine.use(applied, engine.pictures()))
    for size in ((8, 8), (16, 12), (8, 8), (16, 12)):
        got = run.residuals(engine.call(1.0, chunks=(engine.chunk(1, size),)))
        assert got[SITES[0]].shape == (1, 1, 8, *size)
    assert forwards.batches == [1, 1]


def test_a_stack_is_never_changed():
    empty, use = stack.AdapterStack(), engine.use(engine.adapter(), engine.pictures())
    one = empty.with_use(use)
    assert empty.uses == ()
    assert one.with_use(use).uses == (use, use)
    assert one.uses == (use,)


@pytest.mark.parametrize(
    ("values", "always"), [({}, True), ({"start_percent": 0.1}, False), ({"end_percent": 0.9}, False)]
)
def test_a_use_knows_whether_it_acts_in_every_step(values, always):
    assert engine.use(engine.adapter(), engine.pictures(), **values).always is always
