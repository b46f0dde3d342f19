"""Examples: what is refused, and that batches follow from seed and number alone."""

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import HintError
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.in_memory_dataset import Draw

from . import samples


def test_a_batch_follows_from_seed_and_number():
    data, draw = samples.examples(), Draw(3, seed=5)
    torch.manual_seed(0)
    first = data.batch(draw, 7)
    torch.manual_seed(1)
    again, other, otherwise = data.batch(draw, 7), data.batch(draw, 8), data.batch(Draw(3, seed=6), 7)
    assert torch.equal(first.noise, again.noise)
    assert torch.equal(first.latents, again.latents)
    assert torch.equal(first.timesteps, again.timesteps)
    assert not torch.equal(first.noise, other.noise)
    assert not torch.equal(first.noise, otherwise.noise)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10])
def test_every_example_comes_once_before_any_comes_again(batch_size):
    data = samples.examples(5)
    rows = torch.cat([data.batch(Draw(batch_size), number).latents for number in range(20)])
    which = [int((data.latents == row).flatten(1).all(1).nonzero()) for row in rows]
    rounds = [which[i : i + 5] for i in range(0, len(which) - 4, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_latents_images_and_prompts_stay_together():
    data = samples.examples(6)
    batch = data.batch(Draw(6), 0)
    for row in range(6):
        source = int((data.latents == batch.latents[row]).flatten(1).all(1).nonzero())
        assert torch.equal(batch.images[row], data.images[source])
        assert torch.equal(batch.prompts["context"][row], data.prompts["context"][source])


def test_dropout_replaces_that_part_of_prompts_and_images_and_nothing_else():
    data = samples.examples(8)
    draw = Draw(400, prompt_dropout=0.3, condition_dropout=0.2)
    plain, dropped = data.batch(Draw(400), 0), data.batch(draw, 0)
    empty = (dropped.prompts["context"] == 9).flatten(1).all(1)
    black = (dropped.images == 0).flatten(1).all(1)
    assert empty.double().mean().item() == pytest.approx(0.3, abs=0.08)
    assert black.double().mean().item() == pytest.approx(0.2, abs=0.08)
    # Chosen independently of each other.
    assert (empty & black).double().mean().item() == pytest.approx(0.06, abs=0.05)
    assert torch.equal(dropped.prompts["context"][~empty], plain.prompts["context"][~empty])
    assert torch.equal(dropped.images[~black], plain.images[~black])
    assert torch.equal(dropped.noise, plain.noise)
    assert torch.equal(dropped.timesteps, plain.timesteps)


def test_one_prompt_serves_all():
    prompt = {"context": torch.randn(1, 5, 3)}
    batch = samples.examples(prompts=prompt).batch(Draw(3), 1)
    assert torch.equal(batch.prompts["context"], prompt["context"].expand(3, -1, -1))


def test_examples_are_copies():
    parts = samples.parts()
    data = samples.examples(**parts)
    parts["latents"].zero_()
    parts["images"].zero_()
    assert data.latents.abs().min() > 0
    assert data.images.max() > 0


def test_the_fingerprint_changes_with_any_part():
    parts = samples.parts()
    prints = {samples.examples().fingerprint()}
    for name in ("latents", "images"):
        changed = parts[name].clone()
        changed[0, 0, 0, 0] = 0.5
        prints.add(samples.examples(**{name: changed}).fingerprint())
    prints.add(samples.examples(prompts={"context": parts["prompts"]["context"] + 1}).fingerprint())
    prints.add(samples.examples(empty=None).fingerprint())
    assert len(prints) == 5
    assert samples.examples().fingerprint() in prints


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"latents": torch.zeros(0, 4, 8, 8)}, "latents: got shape"),
        ({"latents": torch.full((4, 4, 8, 8), torch.nan)}, "latents: got NaN"),
        ({"images": torch.zeros(0, 1, 64, 64)}, "images: got no condition images"),
        ({"images": torch.zeros(3, 1, 64, 64)}, "got 3 condition images for 4 latents"),
        ({"images": torch.zeros(4, 1, 64, 72)}, "got condition images of 72×64 pixels; expected 64×64"),
        ({"prompts": {"context": torch.zeros(3, 5, 3)}}, "got 3 prompts for 4 latents"),
        ({"prompts": {"context": torch.full((4, 5, 3), torch.inf)}}, "NaN in context"),
        ({"empty": {"context": torch.zeros(1, 6, 3)}}, "empty: got context of another shape"),
    ],
)
def test_examples_that_do_not_match_are_refused(changes, message):
    with pytest.raises(TrainingError, match=message):
        samples.examples(**changes)


def test_condition_images_must_be_pictures():
    with pytest.raises(HintError, match="values from 0 to 255"):
        samples.examples(images=torch.linspace(0, 255, 4 * 64 * 64).view(4, 1, 64, 64))


def test_coloured_images_become_gray_for_gray_adapters():
    color = torch.zeros(4, 3, 64, 64)
    color[:, 1] = 1
    assert samples.examples(images=color).images.unique().tolist() == pytest.approx([0.587])
