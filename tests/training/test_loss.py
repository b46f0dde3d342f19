"""The loss: zero for a perfect prediction, and gradients for the adapter alone."""

import pytest
import torch
from t2i_adapter_pack.training.in_memory_dataset import Draw
from t2i_adapter_pack.training.loss import PREDICTIONS, V, adapter_loss

from . import samples


def batch(**changes):
    return samples.examples().batch(Draw(4, **changes), 0)


class Oracle:
    """Knows the latents, and derives from them and from what it is shown what a perfect model would say."""

    def __init__(self, latents, name):
        self.latents, self.name = latents, name

    def __call__(self, noisy, times, prompts, features):
        keep = samples.alphas()[times].sqrt().view(-1, 1, 1, 1)
        lose = (1 - samples.alphas()[times]).sqrt().view(-1, 1, 1, 1)
        if self.name == "flow":  # the way from the latents to the noise, as long as the time
            return (noisy - self.latents) / (1 - keep)
        noise = (noisy - keep * self.latents) / lose
        # v is the velocity on the circle that latents and noise span: d(noisy)/d(angle).
        return noise if self.name == "eps" else (keep * noisy - self.latents) / lose


@pytest.mark.parametrize("row", PREDICTIONS, ids=lambda row: row.name)
def test_a_perfect_prediction_has_no_loss(row):
    one = batch()
    denoiser = samples.denoiser(denoise=Oracle(one.latents, row.name), prediction=row)
    assert adapter_loss(samples.adapter(), denoiser, one).item() < 1e-6
    other = next(other for other in PREDICTIONS if other is not row)
    wrong = samples.denoiser(denoise=Oracle(one.latents, row.name), prediction=other)
    assert adapter_loss(samples.adapter(), wrong, one).item() > 0.1


def test_the_loss_of_predicting_nothing_is_the_variance_of_the_target():
    nothing = samples.denoiser(denoise=lambda noisy, *_: torch.zeros_like(noisy))
    one = batch()
    assert adapter_loss(samples.adapter(), nothing, one).item() == pytest.approx(one.noise.square().mean().item())


def test_gradients_reach_every_weight_of_the_adapter():
    network = samples.adapter()
    adapter_loss(network, samples.denoiser(), batch()).backward()
    assert all(weight.grad.abs().max() > 0 for weight in network.parameters())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_precision_changes_the_loss_only_a_little_and_it_stays_fp32(dtype):
    network, one = samples.adapter(), batch()
    exact = adapter_loss(network, samples.denoiser(), one)
    seen = []
    denoiser = samples.denoiser()
    spy = samples.denoiser(denoise=lambda *args: seen.append(args[3][0].dtype) or denoiser.denoise(*args))
    rough = adapter_loss(network, spy, one, dtype)
    assert seen == [dtype]
    assert rough.dtype == torch.float32
    assert rough.item() == pytest.approx(exact.item(), rel=0.02)
    assert rough.item() != exact.item()


def test_v_at_pure_noise_is_the_negative_latent():
    latents, noise = torch.randn(2, 4, 8, 8), torch.randn(2, 4, 8, 8)
    zero, one = torch.zeros(1), torch.ones(1)
    assert torch.equal(V.target(latents, noise, zero, one), -latents)
    assert torch.equal(V.target(latents, noise, one, zero), noise)
