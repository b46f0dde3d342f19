"""The table, the statistics and the feature space of the fidelity benchmark; nothing here starts ComfyUI."""

from __future__ import annotations

import dataclasses
import types

import pytest
import torch
from t2i_adapter_miniature import measure
from t2i_adapter_pack.dev.benchmarks.fidelity import features, groups, main, page, recipes, results, scores, statistics
from t2i_adapter_pack.dev.benchmarks.fidelity.places import INPUT, OUTPUT, Mirrored, placed
from t2i_adapter_pack.dev.benchmarks.fidelity.results import AGREES, DISAGREES, OPEN
from t2i_adapter_pack.dev.benchmarks.fidelity.variants import VARIANTS

ISSUE = ("weights", "together", "levels", "place", "time", "timesteps", "sizes", "second", "inpainting")


# --- the table


def test_every_required_comparison_exists():
    assert tuple(group.name for group in groups.GROUPS) == ISSUE


def test_variants_have_unique_names_and_are_all_used():
    names = [row.name for row in VARIANTS]
    assert len(set(names)) == len(names)
    assert set(names) == {name for group in groups.GROUPS for name in group.rows}


@pytest.mark.parametrize("group", groups.GROUPS, ids=lambda group: group.name)
def test_claims_and_sheets_refer_to_rows_and_columns_of_their_table(group):
    for claim in group.claims:
        assert {claim.first, claim.second} <= set(group.rows)
        assert claim.measure in group.columns
        assert claim.first != claim.second
    assert set(group.shown) <= set(group.rows)
    assert group.claims and group.paper


def test_every_trained_adapter_is_used_and_differs_in_one_thing():
    assert {row.name for row in recipes.RECIPES} <= {use.adapter for row in VARIANTS for use in row.uses}
    for kind, standard in (("sketch", "sketch-base"), ("color", "color-cubic")):
        base = dataclasses.asdict(recipes.recipe_named(standard))
        for row in recipes.RECIPES:
            if row.kind == kind and row.name != standard:
                differs = [name for name, value in dataclasses.asdict(row).items() if base[name] != value]
                assert len(differs) == 2, "the name, and what is compared"


def test_denoiser_and_length_change_the_run_name():
    row = recipes.RECIPES[0]
    assert len({row.run_name(2, "a"), row.run_name(3, "a"), row.run_name(2, "b"), row.run_name(2, "a")}) == 3


def test_shares_cover_everything_once(monkeypatch):
    class Watched:
        def __init__(self):
            self.seen = []

        train = draw = lambda self, row: self.seen.append(row.name)

    wanted = main.variants_of(groups.GROUPS)
    for phase, count in (("draw", len(VARIANTS)), ("train", len(recipes.RECIPES))):
        watched = Watched()
        for share in range(3):
            main.make(watched, wanted, phase, share, 3)
        assert len(watched.seen) == len(set(watched.seen)) == count


# --- statistics


def test_a_95_percent_interval_covers_the_mean_that_often():
    generator = torch.Generator().manual_seed(0)
    found = [statistics.mean_of(torch.randn(60, generator=generator) + 3) for _ in range(200)]
    covered = sum(each.low <= 3 <= each.high for each in found)
    assert 178 <= covered <= 199


def test_the_distance_of_known_gaussians():
    # Diagonal ones: the squared difference of the means, and of the deviations.
    deviations = torch.tensor([1.0, 2.0, 0.5]), torch.tensor([2.0, 1.0, 0.5])
    means = torch.zeros(3), torch.tensor([0.0, 3.0, 0.0])
    first, second = (
        statistics.Moments(mean.double(), torch.diag(deviation.double() ** 2))
        for mean, deviation in zip(means, deviations, strict=True)
    )
    assert float(statistics.frechet(first, second)) == pytest.approx(9 + 1 + 1, abs=1e-9)
    assert float(statistics.frechet(first, first)) == pytest.approx(0, abs=1e-9)
    # The same turned: nothing changes.
    turn, _ = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64))
    turned = [statistics.Moments(turn @ each.mean, turn @ each.covariance @ turn.T) for each in (first, second)]
    assert float(statistics.frechet(*turned)) == pytest.approx(11, abs=1e-9)


def test_the_correction_removes_the_bias_of_small_samples():
    generator = torch.Generator().manual_seed(2)
    truth = statistics.Moments(torch.zeros(8, dtype=torch.float64), torch.eye(8, dtype=torch.float64))
    plain, corrected = [], []
    for _ in range(10):
        points = torch.randn(96, 8, generator=generator, dtype=torch.float64)
        plain.append(float(statistics.frechet(statistics.moments(points), truth)))
        estimate = statistics.corrected(
            lambda rows, points=points: statistics.frechet(statistics.moments(points[rows]), truth), len(points)
        )
        assert estimate.low < estimate.value < estimate.high
        corrected.append(estimate.value)
    assert sum(plain) / 10 > 0.15
    assert abs(sum(corrected) / 10) < 0.06


@pytest.mark.parametrize(
    ("low", "high", "margin", "answer"),
    [
        (0.1, 0.2, 0.0, AGREES),
        (-0.1, 0.2, 0.0, OPEN),
        (-0.2, -0.1, 0.0, DISAGREES),
        (-0.02, 0.2, 0.03, AGREES),
        (-0.05, 0.2, 0.03, OPEN),
        (-0.2, -0.05, 0.03, DISAGREES),
    ],
)
def test_a_verdict_follows_its_interval(low, high, margin, answer):
    assert results.verdict(statistics.Estimate((low + high) / 2, low, high), margin) == answer


def test_a_gain_is_positive_for_the_better_side_of_every_measure():
    truth = statistics.moments(torch.randn(400, 4, generator=torch.Generator().manual_seed(3)))
    spread = torch.randn(40, 4, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    noise = 0.01 * torch.rand(40, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    known = {
        "good": {"silhouette IoU": 0.9 + noise, "palette L1": noise, scores.FEATURES: spread},
        "bad": {"silhouette IoU": 0.2 + noise, "palette L1": 0.3 + 2 * noise, scores.FEATURES: spread + 2},
    }
    for by in (scores.SILHOUETTE, scores.PALETTE, scores.FRECHET):
        assert results.gain(groups.Claim("", "good", "bad", by), known, truth).low > 0
        assert results.gain(groups.Claim("", "bad", "good", by), known, truth).high < 0


# --- features and scores


@pytest.mark.workshop
def test_the_space_is_whitened_and_separates_pictures():
    space = features.feature_space(256)
    true = features.of_true_pictures(space, (300_000, 256))
    values = torch.linalg.eigvalsh(torch.cov(true.T))
    assert float(values[-1] / values[0]) < 20
    reference = statistics.moments(features.of_true_pictures(space, (features.CALIBRATION, 256)))
    grey = torch.cat([measure.truth(measure.held_out(64)), measure.truth(measure.held_out(64))])
    blurred = torch.nn.functional.avg_pool2d(grey.movedim(-1, 1), 9, 1, 4).movedim(1, -1)
    near, far = (float(statistics.frechet(statistics.moments(points), reference)) for points in (true, space(blurred)))
    assert far > 3 * near


def test_only_the_masked_half_counts():
    drawn = measure.held_out(24)
    truth = measure.truth(drawn)
    spoiled_left, spoiled_right = truth.clone(), truth.clone()
    spoiled_left[:, :, :64], spoiled_right[:, :, 64:] = 0.5, 0.5
    for score in (scores.silhouette_in_half, scores.colour_in_half):
        assert score(truth, drawn).mean() > 0.97
        assert torch.equal(score(spoiled_left, drawn), score(truth, drawn))
        assert score(spoiled_right, drawn).mean() < 0.6


# --- places and the page


def test_an_encoder_patch_gets_decoder_maps_of_its_size():
    asked = []

    def patch(h, options):
        asked.append(options["block"])
        return h + 1

    # SD1's twelve blocks: the encoder ends its sizes at 2, 5, 8 and 11.
    mirrored = Mirrored(patch, 12)
    for number in range(12):
        mirrored(0, "skip", {"block": ("output", number)})
    assert [number for number, block in enumerate(asked) if block[1] in (2, 5, 8, 11)] == [1, 4, 7, 10]
    assert mirrored(0, "skip", {"block": ("output", 1)}) == (1, "skip")


@pytest.mark.parametrize("row", recipes.RECIPES, ids=lambda row: row.name)
def test_patches_are_moved_to_the_place_and_restored(row):
    class UNet(torch.nn.Module):
        input_blocks = range(12)

        def forward(self, x, transformer_options):
            return {name: len(found) for name, found in transformer_options["patches"].items()}

    model = types.SimpleNamespace(model=types.SimpleNamespace(diffusion_model=UNet()))
    given = {"patches": {INPUT: [lambda h, options: h]}}
    with placed(model, row.place):
        found = model.model.diffusion_model(0, transformer_options=given)
    assert (found[INPUT], found.get(OUTPUT, 0)) == (int(row.place.encoder), int(row.place.decoder))
    assert model.model.diffusion_model(0, transformer_options=given) == {INPUT: 1}


def test_a_place_without_a_forward_is_an_error():
    model = types.SimpleNamespace(model=types.SimpleNamespace(diffusion_model=torch.nn.Identity()))
    with (
        pytest.raises(RuntimeError, match="no forward"),
        placed(model, recipes.recipe_named("sketch-decoder").place),
    ):
        pass


def test_the_page_lists_disagreements():
    def estimate(value):
        return {"value": value, "low": value - 0.01, "high": value + 0.01}

    group = groups.GROUPS[4]
    rows = {name: {column.name: estimate(0.5) for column in group.columns} for name in group.rows}
    claims = [{"gain": estimate(-0.2), "verdict": DISAGREES}, *({"gain": estimate(0.2), "verdict": AGREES},) * 3]
    result = {
        "scenes": 128,
        "training steps": 1200,
        "made on": "a machine",
        "Fréchet of other true scenes": estimate(0.0),
        "groups": {group.name: {"rows": rows, "claims": claims}},
    }
    text = page.write(result)
    assert "Of 4 claims the miniature agrees with 3, disagrees with 1" in text
    told = text.split("It disagrees:")[1].split("##")[0]
    assert group.claims[0].text in told
    assert group.claims[1].text not in told
    assert groups.GROUPS[0].title not in text
