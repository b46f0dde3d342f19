"""Training data of the miniature's adapters."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from t2i_adapter_miniature import generate, lessons, scenes, stages

pytestmark = [pytest.mark.host, pytest.mark.workshop]
WEIGHTS = Path(generate.__file__).parent / "weights"
COUNT = 12


@pytest.fixture(scope="module")
def studio(comfyui):
    torch.set_num_threads(1)
    return generate.Studio(str(comfyui.path), WEIGHTS)


def drawn(seed: int) -> scenes.Scenes:
    first = stages.POOL_SEED + seed * COUNT
    return scenes.draw_scenes(torch.arange(first, first + COUNT))


def test_latents_are_those_of_vae_encode(studio):
    made = lessons.lessons(studio, "sketch", COUNT, 3).latents[0]["samples"][:2]
    pictures = scenes.paint(drawn(3), scenes.distances(drawn(3)))[:2].movedim(1, 3)
    with torch.inference_mode():
        wanted = studio.nodes.VAEEncode().encode(studio.vae, pictures)[0]["samples"]
    torch.testing.assert_close(made, wanted, atol=2e-2, rtol=5e-3)


@pytest.mark.parametrize(("kind", "channels"), [("sketch", 1), ("color", 3), ("seg", 3)])
def test_every_picture_has_its_condition_and_its_prompt(studio, kind, channels, monkeypatch):
    monkeypatch.setattr(lessons, "CHUNK", 5)
    made = lessons.lessons(studio, kind, COUNT, 1)
    assert sum(len(latent["samples"]) for latent in made.latents) == len(made.positive) == COUNT
    assert torch.cat(made.images).shape == (COUNT, 128, 128, channels)
    assert not any(torch.equal(prompt[0], made.empty[0][0]) for prompt in made.positive)


def test_lessons_depend_on_the_seed_only(studio):
    first, again, other = (lessons.lessons(studio, "sketch", COUNT, seed) for seed in (1, 1, 2))
    assert torch.equal(first.images[0], again.images[0])
    assert torch.equal(first.positive[-1][0], again.positive[-1][0])
    assert not torch.equal(first.images[0], other.images[0])
