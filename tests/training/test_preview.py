"""Previews: the sampler finds what the denoiser knows, with the result so far, and a run does not notice."""

import pytest
import torch
from t2i_adapter_pack.training.loss import PREDICTIONS
from t2i_adapter_pack.training.preview import GUIDANCE, denoise, preview

from . import samples

NOISE = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(5))
KNOWN = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(6))


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda row: row.name)
def test_latents_follow_from_a_perfect_prediction(prediction):
    keep = torch.tensor(0.6)
    lose = prediction.noise_scale(keep**2)
    perfect = prediction.target(KNOWN, NOISE, keep, lose)
    torch.testing.assert_close(prediction.clean(keep * KNOWN + lose * NOISE, perfect, keep, lose), KNOWN)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda row: row.name)
@pytest.mark.parametrize("steps", [1, 7])
def test_the_sampler_finds_the_picture_that_the_denoiser_knows(prediction, steps):
    alphas = samples.alphas()
    seen = []

    def knows(noisy, times, prompts, features):
        keep, lose = (each[times].view(-1, 1, 1, 1) for each in (alphas.sqrt(), prediction.noise_scale(alphas)))
        seen.append(int(times[0]))
        return prediction.target(KNOWN, (noisy - keep * KNOWN) / lose, keep, lose)

    one = samples.denoiser(denoise=knows, prediction=prediction)
    found = denoise(one, [], {"context": torch.zeros(1, 5, 3)}, NOISE, None, steps)
    torch.testing.assert_close(found, KNOWN, rtol=1e-3, atol=1e-3)
    assert seen[0] == 999
    assert seen == sorted(seen, reverse=True)
    assert len(set(seen)) == steps


def test_one_deterministic_step_is_that_of_the_paper():
    """Two steps with a constant prediction, by hand."""
    alphas, said = samples.alphas(), torch.full((1, 4, 8, 8), 0.3)
    one = samples.denoiser(denoise=lambda noisy, *_: said.expand_as(noisy))
    found = denoise(one, [], {"context": torch.zeros(1, 5, 3)}, NOISE, None, 2)
    first, second = alphas[999], alphas[500]
    middle = second.sqrt() * (NOISE - (1 - first).sqrt() * said) / first.sqrt() + (1 - second).sqrt() * said
    torch.testing.assert_close(found, (middle - (1 - second).sqrt() * said) / second.sqrt())


def test_the_prompt_is_guided_away_from_the_empty_one():
    def says(noisy, times, prompts, features):
        assert noisy.shape[0] == times.shape[0] == features[0].shape[0] == 2
        return prompts["context"].mean((1, 2)).view(-1, 1, 1, 1).expand_as(noisy)

    full, none = torch.full((1, 5, 3), 0.5), torch.full((1, 5, 3), 0.2)
    feature = [torch.zeros(1, 4, 8, 8)]
    guided = denoise(samples.denoiser(denoise=says), feature, {"context": full}, NOISE, {"context": none}, 3)
    plain = samples.denoiser(denoise=lambda noisy, *_: torch.full_like(noisy, 0.2 + GUIDANCE * 0.3))
    torch.testing.assert_close(guided, denoise(plain, feature, {"context": full}, NOISE, None, 3))


def test_the_result_so_far_is_what_makes_it():
    one = samples.trainer(ema=0.9, learning_rate=0.1)
    before = preview(one, samples.examples())
    for _ in range(3):
        one.advance()
    # An adapter that has the moving average for its weights: what the run would give now.
    result = samples.adapter(1)
    result.load_state_dict(one.weights())
    now = preview(samples.trainer(begin=result), samples.examples())
    assert torch.equal(preview(one, samples.examples()), now)
    assert not torch.equal(now, before)
    assert not now.requires_grad


def test_a_run_does_not_notice():
    def state(looks):
        torch.manual_seed(3)
        one = samples.trainer(ema=0.9, prompt_dropout=0.5)
        for _ in range(4):
            one.advance()
            if looks:
                preview(one, samples.examples(), steps=2)
        numbers = {name: value for name, value in one.state_dict().items() if name != "origin"}
        return numbers, torch.get_rng_state()

    (plain, random), (watched, same) = state(False), state(True)
    assert torch.equal(random, same)
    torch.testing.assert_close(watched, plain, rtol=0, atol=0)
