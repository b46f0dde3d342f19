"""How adapters act together: mean and fuser in a run, what is computed anew, and what is refused."""

import gc
import itertools
import weakref
from types import SimpleNamespace

import pytest
import torch
from t2i_adapter_pack.adapter_models import combine, conditions, stack
from t2i_adapter_pack.adapter_models.combine import Combination, T2IFuser
from t2i_adapter_pack.adapter_models.errors import AdapterError, CorruptFileError, FamilyMismatchError
from t2i_adapter_pack.adapter_models.fuser import CoAdapterFuser, FuserConfig
from t2i_adapter_pack.adapter_models.gains import GainCache, Gains
from t2i_adapter_pack.adapter_models.targets import Target
from t2i_adapter_pack.adapter_models.weights import Schedule, Weights

from . import companion_samples as hand
from . import engine, samples

SITES = tuple(("input", index) for index in engine.SD_SITES)
MEAN = Combination("mean")
TASKS = {"sketch": 0, "keypose": 1, "segmentation": 2, "depth": 3, "canny": 4, "style": 5, "color": 6, "openpose": 7}
WEIGHTS = hand.random_weights(hand.fuser_shapes(*hand.FUSER))


def named(condition, seed=0, config=None, **values):
    """An adapter of a condition."""
    applied = engine.adapter(config, seed, **values)
    row = next((row for row in conditions.CONDITIONS if row.name == condition), None)
    applied.info = SimpleNamespace(name=f"{condition} {seed}", condition=row)
    return applied


def fuser(weights=WEIGHTS):
    """A T2I_FUSER for the adapters of samples."""
    network = CoAdapterFuser(FuserConfig(*hand.FUSER)).eval().requires_grad_(False)
    network.load_state_dict(weights)
    return T2IFuser(network, "my fuser")


class Forwards:
    """Counts how often a network runs."""

    def __init__(self, network):
        self.calls = 0
        network.register_forward_pre_hook(self._count)

    def _count(self, *_):
        self.calls += 1


def run(combination, *uses, pictures=1):
    return stack.ResidualComputer(uses, 8, pictures, combination)


def pair(**values):
    """A sketch and a depth adapter applied to pictures of their own."""
    return [
        engine.use(named(condition, seed), engine.pictures(seed=seed), **values)
        for seed, condition in enumerate(("sketch", "depth"))
    ]


def levels(use, size=(64, 64)):
    with torch.no_grad():
        features = use.adapter.features(
            use.hint.clone(), len(use.hint), size, use.fit, device=engine.CPU, dtype=torch.float32
        )
    return list(features.levels)


def equal(got, expected):
    return got.keys() == expected.keys() and all(torch.equal(got[site], expected[site]) for site in got)


def close(got, expected):
    assert got.keys() == expected.keys()
    for site, residual in got.items():
        torch.testing.assert_close(residual, expected[site], rtol=1e-4, atol=1e-4)


def test_the_numbers_of_the_conditions_are_the_published_ones():
    assert {row.name: row.task for row in conditions.CONDITIONS if row.task is not None} == TASKS
    assert TASKS["style"] == conditions.STYLE_TASK


# --- mean ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [1.0, 0.3, -2.0, 0.0])
def test_one_alone_acts_as_if_there_were_no_mean(weight):
    use = engine.use(engine.adapter(), engine.pictures())
    request = engine.call(weight)
    assert equal(run(MEAN, use).residuals(request), engine.run(use).residuals(request))


@pytest.mark.parametrize("weight", [1.0, 0.7, -0.5])
@pytest.mark.parametrize("count", [2, 3])
def test_equal_weights_give_their_times_the_plain_average(weight, count):
    uses = [engine.use(engine.adapter(seed=seed), engine.pictures(seed=seed)) for seed in range(count)]
    got = run(MEAN, *uses).residuals(engine.call(*[weight] * count))
    average = [sum(each) / count for each in zip(*map(levels, uses), strict=True)]
    close(got, {site: weight * level[None] for site, level in zip(SITES, average, strict=True)})


@pytest.mark.parametrize("weights", [(1.0, 0.5), (0.2, 0.8), (1.0, -1.0), (0.3, 0.0), (0.0, 0.0)])
def test_it_is_the_weighted_mean_times_the_largest_weight(weights):
    uses = pair()
    got = run(MEAN, *uses).residuals(engine.call(*weights))
    sizes = [abs(weight) for weight in weights]
    scale = max(sizes) / sum(sizes) if sum(sizes) else 0.0
    for site, first, second in zip(SITES, *map(levels, uses), strict=True):
        torch.testing.assert_close(got[site][0], scale * (weights[0] * first + weights[1] * second))


def test_weight_zero_is_as_if_it_were_not_there():
    uses = pair()
    got = run(MEAN, *uses).residuals(engine.call(0.6, 0.0))
    assert equal(got, engine.run(uses[0]).residuals(engine.call(0.6)))


def test_where_a_mask_is_black_the_other_takes_all():
    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1
    first, second = pair()
    masked = engine.use(first.adapter, first.hint, mask=mask)
    got = run(MEAN, masked, second).residuals(engine.call(1.0, 1.0))[SITES[0]][0]
    a, b = levels(first)[0], levels(second)[0]
    torch.testing.assert_close(got[..., :4], (a + b)[..., :4] / 2)
    torch.testing.assert_close(got[..., 4:], b[..., 4:])
    area = engine.chunk(1, (8, 8), (8, 4, 0, 4))
    cut = run(MEAN, masked, second).residuals(engine.call(1.0, 1.0, chunks=(area,)))[SITES[0]][0]
    torch.testing.assert_close(cut, b[..., 4:])


def test_each_side_and_each_level_has_its_own_mean():
    first, second = pair()
    positive = engine.use(first.adapter, first.hint, weights=Weights(negative=0.0))
    sides = tuple(stack.Chunk((8, 8), None, (0,), side) for side in ("negative", "positive"))
    got = run(MEAN, positive, second).residuals(engine.call(1.0, 1.0, chunks=sides))[SITES[0]]
    a, b = levels(first)[0], levels(second)[0]
    torch.testing.assert_close(got[0, 0], b[0])
    torch.testing.assert_close(got[1, 0], (a + b)[0] / 2)
    three = engine.use(engine.adapter(samples.full(**samples.THREE), seed=3), engine.pictures(seed=3))
    mixed = run(MEAN, three, second).residuals(engine.call(1.0, 1.0))
    assert torch.equal(mixed[SITES[3]][0], levels(second)[3])
    torch.testing.assert_close(mixed[SITES[1]][0], (levels(three)[1] + levels(second)[1]) / 2)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
@pytest.mark.parametrize("method", ["mean", "coadapter"])
def test_the_order_does_not_matter(method, order):
    weights, names = (0.3, 1.0, -0.4), ("sketch", "depth", "color")
    combination = Combination(method, fuser())
    uses = [
        engine.use(named(name, seed), engine.pictures(seed=seed), strength=weights[seed])
        for seed, name in enumerate(names)
    ]
    expected = run(combination, *uses).residuals(engine.call(*weights))
    got = run(combination, *(uses[i] for i in order)).residuals(engine.call(*(weights[i] for i in order)))
    close(got, expected)


# --- coadapter -------------------------------------------------------------------------------------------------------


def expected_sum(uses, weights, style=None, fused=WEIGHTS, size=(64, 64)):
    """The whole description, from the adapters' features to the sum, for one picture."""
    parts = []
    for use in uses:
        maps = [level * factor for level, factor in zip(levels(use, size), weights, strict=True)]
        parts.append((TASKS[use.adapter.info.condition.name], maps))
    parts += [] if style is None else [(TASKS["style"], style)]
    return hand.reference_fuse(fused, parts)


@pytest.mark.parametrize("by_level", [(1.0,) * 4, (0.25, 0.62, 0.825, 1.0), (0.0, 0.0, 1.0, 1.0)])
@pytest.mark.parametrize("strength", [1.0, 0.6, -0.5])
def test_residuals_are_what_the_description_gives(strength, by_level):
    uses = pair(strength=strength, weights=Weights(levels=by_level))
    factors = tuple(strength * level for level in by_level)
    request = stack.Call((engine.chunk(),), (factors,) * 2, engine.CPU, torch.float32)
    got = run(Combination("coadapter", fuser()), *uses).residuals(request)
    summed, _ = expected_sum(uses, factors)
    close(got, {site: level[None] for site, level in zip(SITES, summed, strict=True)})
    plain = engine.run(*uses).residuals(request)
    assert (got[SITES[3]] - plain[SITES[3]]).abs().max() > 0.01


def test_a_style_takes_part():
    style = torch.randn(1, 8, 24, generator=torch.Generator().manual_seed(2))
    uses = pair()
    running = run(Combination("coadapter", fuser(), style), *uses)
    summed, tokens = expected_sum(uses, (1.0,) * 4, style)
    close(
        running.residuals(engine.call(1.0, 1.0)),
        {site: level[None] for site, level in zip(SITES, summed, strict=True)},
    )
    got = running.fused_style(Target((8, 8), engine.CPU, torch.float32))
    torch.testing.assert_close(got, tokens, rtol=1e-4, atol=1e-4)
    alone = run(Combination("coadapter", fuser()), *uses)
    assert alone.fused_style(Target((8, 8), engine.CPU, torch.float32)) is None
    assert (alone.residuals(engine.call(1.0, 1.0))[SITES[0]] - summed[0]).abs().max() > 1e-3


def test_zero_outputs_are_the_plain_sum_bit_for_bit():
    uses = pair(strength=0.7)
    request = engine.call(0.7, 0.7)
    got = run(Combination("coadapter", fuser(hand.zero_outputs(WEIGHTS))), *uses).residuals(request)
    assert equal(got, engine.run(*uses).residuals(request))


def test_picture_i_is_fused_from_its_own_conditions():
    uses = [
        engine.use(named(name, seed), engine.pictures(count, seed=seed))
        for seed, (name, count) in enumerate((("sketch", 3), ("depth", 2)))
    ]
    got = run(Combination("coadapter", fuser()), *uses, pictures=6).residuals(
        engine.call(1.0, 1.0, chunks=(engine.chunk(6),))
    )
    for row in range(6):
        one = [engine.use(use.adapter, use.hint[row % len(use.hint)][None]) for use in uses]
        summed, _ = expected_sum(one, (1.0,) * 4)
        for site, level in zip(SITES, summed, strict=True):
            torch.testing.assert_close(got[site][0, row], level[0], rtol=1e-4, atol=1e-4)


def test_masks_sides_and_schedules_act_on_what_was_fused():
    mask = torch.zeros(1, 64, 64)
    mask[..., :32] = 1
    plain = pair()
    timed = Weights(positive=0.5, schedules=(Schedule(0.2, 0.9, "linear"),))
    changed = [engine.use(use.adapter, use.hint, mask=mask, weights=timed) for use in plain]
    whole = run(Combination("coadapter", fuser()), *plain).residuals(engine.call(1.0, 1.0))
    got = run(Combination("coadapter", fuser()), *changed).residuals(engine.call(0.4, 0.4))
    torch.testing.assert_close(got[SITES[0]][..., :4], whole[SITES[0]][..., :4] * 0.4 * 0.5)
    assert torch.equal(got[SITES[0]][..., 4:], torch.zeros_like(got[SITES[0]][..., 4:]))


def test_other_weights_of_a_step_run_neither_adapter_nor_fuser():
    made = fuser()
    count, uses = Forwards(made.network), pair()
    adapters = [engine.Forwards(use.adapter) for use in uses]
    running = run(Combination("coadapter", made), *uses)
    for weight in (1.0, 0.5, 0.5, 0.1):
        running.residuals(engine.call(weight, 1.0))
    assert count.calls == 1
    assert [adapter.batches for adapter in adapters] == [[1], [1]]


def test_another_run_finds_the_gains_and_only_what_they_depend_on_makes_new_ones():
    made = fuser()
    count, uses = Forwards(made.network), pair()
    style = torch.randn(1, 8, 24)
    other = engine.pictures(seed=7)

    def again(*changed, style=None, size=(8, 8)):
        before = count.calls
        run(Combination("coadapter", made, style), *changed).residuals(
            engine.call(1.0, 1.0, chunks=(engine.chunk(size=size),))
        )
        return count.calls - before

    first, second = uses
    assert again(*uses) == 1
    assert again(*uses) == 0
    assert again(first, engine.use(second.adapter, second.hint, mask=torch.ones(1, 8, 8), start_percent=0.2)) == 0
    assert again(first, engine.use(second.adapter, second.hint, weights=Weights(negative=0.0))) == 0
    assert again(first, engine.use(second.adapter, second.hint, strength=0.5)) == 1
    assert again(first, engine.use(second.adapter, second.hint, weights=Weights(levels=(1.0, 1.0, 0.0, 0.0)))) == 1
    assert again(first, engine.use(second.adapter, other)) == 1
    assert again(first, engine.use(named("depth", 4), second.hint)) == 1
    assert again(*uses, size=(16, 8)) == 1
    assert again(*uses, style=style) == 1
    assert again(*uses, style=style) == 0
    assert again(*uses) == 0


@pytest.mark.parametrize("written", ["hint", "style"])
def test_gains_are_computed_again_from_tensors_that_were_written_into(written):
    made, uses, style = fuser(), pair(), torch.randn(1, 8, 24, generator=torch.Generator().manual_seed(2))
    count = Forwards(made.network)

    def residuals(*changed, style=style):
        return run(Combination("coadapter", made, style), *changed).residuals(engine.call(1.0, 1.0))

    before = residuals(*uses)
    other = {"hint": uses[0].hint, "style": style}[written]
    other.numpy()[:] = 1 - other.numpy()
    after = residuals(*uses)
    assert count.calls == 2
    fresh = residuals(*(engine.use(use.adapter, use.hint.clone()) for use in uses), style=style.clone())
    assert equal(after, fresh)
    assert not equal(after, before)


def test_gains_that_are_no_numbers_are_refused():
    broken = fuser({**WEIGHTS, "spatial_ch_projs.2.bias": torch.full((32,), float("inf"))})
    with pytest.raises(CorruptFileError, match="my fuser: got NaN or infinite gains"):
        run(Combination("coadapter", broken), *pair()).residuals(engine.call(1.0, 1.0))


# --- the cache of gains ----------------------------------------------------------------------------------------------


def some_gains(value=1.0):
    return Gains(((torch.full((1, 2, 1, 1), value),),), None)


def test_gains_are_found_by_the_very_objects_and_the_key():
    cache, a, b = GainCache(), torch.zeros(3), torch.zeros(3)
    gains = some_gains()
    cache.put([a, b], "key", gains)
    assert torch.equal(cache.get([a, b], "key").maps[0][0], gains.maps[0][0])
    assert cache.get([b, a], "key") is None
    assert cache.get([a, b], "other") is None
    assert cache.get([a, torch.zeros(3)], "key") is None


def test_gains_of_an_object_that_is_gone_are_never_found():
    cache, gone, new = GainCache(), torch.zeros(3), torch.zeros(3)
    cache.put([gone], "key", some_gains())
    # A new object may get the number in memory of one that is gone.
    cache._entries[((id(new),), "key")] = cache._entries.pop(((id(gone),), "key"))
    assert cache.get([new], "key") is None
    del gone
    gc.collect()
    assert cache.get([new], "key") is None


def test_the_cache_keeps_nothing_alive():
    cache, owner = GainCache(), torch.zeros(3)
    alive = weakref.ref(owner)
    cache.put([owner], "key", some_gains())
    del owner
    gc.collect()
    assert alive() is None


def test_the_gains_that_were_used_longest_ago_go_first():
    cache, owners = GainCache(most=2), [torch.zeros(1) for _ in range(3)]
    for owner in owners[:2]:
        cache.put([owner], 0, some_gains())
    assert cache.get([owners[0]], 0) is not None
    cache.put([owners[2]], 0, some_gains())
    assert [cache.get([owner], 0) is not None for owner in owners] == [True, False, True]


# --- what can't act together -----------------------------------------------------------------------------------------


def stacked(*adapters, combination=None):
    built = stack.AdapterStack(combination=combination or Combination("coadapter", fuser()))
    for applied in adapters:
        built = built.with_use(engine.use(applied, engine.pictures()))
    return built


@pytest.mark.parametrize(
    ("adapters", "kind", "message"),
    [
        (
            lambda: [named("sketch"), named("sketch", 1)],
            AdapterError,
            "got two adapters of the condition sketch: sketch 0 and sketch 1",
        ),
        (
            lambda: [named("sketch", config=samples.full(**samples.THREE))],
            FamilyMismatchError,
            r"sketch 0 with channels 8 \(1/8\), 16 \(1/16\), 32 \(1/32\); expected 8 \(1/8\)",
        ),
        (lambda: [named("sketch", config=samples.xl())], FamilyMismatchError, r"channels 8 \(1/16\).*sum or mean"),
        (
            lambda: [named("sketch", config=samples.full(channels=(8, 16, 24, 24)))],
            FamilyMismatchError,
            r"24 \(1/64\); expected .* 32 \(1/64\)",
        ),
        (lambda: [named(None)], AdapterError, "neither its name nor its metadata tells; expected one of sketch, canny"),
        (lambda: [named("zoedepth")], AdapterError, "of the condition zoedepth; expected one of .*which the fuser"),
        (lambda: [named("style")], AdapterError, "of the condition style"),
    ],
    ids=["twice", "three levels", "SDXL", "other widths", "unknown", "no task", "style"],
)
def test_adapters_that_the_fuser_can_not_take_are_refused_with_the_reason(adapters, kind, message):
    with pytest.raises(kind, match=message):
        stacked(*adapters())
    for method in ("sum", "mean"):
        assert len(stacked(*adapters(), combination=Combination(method)).uses) == len(adapters())


def test_a_light_adapter_and_a_full_one_are_fused():
    assert len(stacked(named("color", config=samples.light()), named("sketch", config=samples.full(1))).uses) == 2


def test_coadapter_needs_a_fuser_and_a_style_of_its_width():
    with pytest.raises(AdapterError, match="got method coadapter without a fuser; expected one"):
        stacked(combination=Combination("coadapter"))
    with pytest.raises(FamilyMismatchError, match="style tokens of width 32; expected 24, as my fuser takes"):
        stacked(combination=Combination("coadapter", fuser(), torch.zeros(1, 8, 32)))


def test_a_fuser_with_fewer_numbers_knows_fewer_conditions():
    config = (24, hand.FUSER[1], 4, 1)
    network = CoAdapterFuser(FuserConfig(*config))
    small = T2IFuser(network, "small")
    assert set(small.conditions) == {"sketch", "keypose", "segmentation", "depth"}
    with pytest.raises(AdapterError, match="of the condition color"):
        stacked(named("color"), combination=Combination("coadapter", small))


def test_the_host_loads_what_has_to_compute_and_only_that():
    made, uses, asked = fuser(), pair(), []

    def load(owner, nbytes):
        asked.append((owner, nbytes))

    def prepare(method):
        asked.clear()
        run(Combination(method, made), *uses).prepare(Target((8, 8), engine.CPU, torch.float32), load)
        return [owner for owner, _ in asked]

    assert prepare("sum") == [each.adapter for each in uses]
    assert all(nbytes > 0 for _, nbytes in asked)
    assert prepare("mean") == []
    assert prepare("coadapter") == [made]
    assert prepare("coadapter") == []


def test_the_sum_is_the_default():
    assert stack.AdapterStack().combination is combine.SUM
    assert combine.SUM.method == combine.METHODS[0] == "sum"
