"""The trainer: it learns, resumes bit for bit, touches nothing but its own weights, and stops when it diverges."""

import io

import pytest
import torch
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError
from t2i_adapter_pack.training.loop import fit
from t2i_adapter_pack.training.loss import V

from . import samples


def trainer(data=None, denoiser=None, adapter=None, **changes):
    return samples.trainer(data, denoiser, adapter, **changes)


def through_a_file(state):
    """What a state is after it was written and read as checkpoints are."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def run(one, save=lambda: None, **values):
    fit(one, save, **values)
    return one


def test_the_loss_falls_on_a_fixed_problem():
    """Of pure noise the velocity is the negative latents, and here they follow from the condition image alone."""
    images = samples.parts()["images"]
    latents = torch.nn.functional.avg_pool2d(images, 8).repeat(1, 4, 1, 1) * 10 - 5
    blind = samples.denoiser(
        denoise=lambda noisy, times, prompts, features: features[0] + sum(level.mean() for level in features[1:]),
        alphas_cumprod=torch.zeros(1000),
        prediction=V,
    )
    one = run(trainer(samples.examples(images=images, latents=latents), blind, steps=100, batch_size=4))
    assert sum(one.losses[-10:]) < 0.2 * sum(one.losses[:10])


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"ema": 0.9, "gradient_accumulation": 3},
        {"prompt_dropout": 0.5, "condition_dropout": 0.5, "timesteps": "uniform"},
        {"precision": "bf16"},
        {"precision": "fp16", "ema": 0.5},
    ],
    ids=str,
)
@pytest.mark.parametrize("stop", [1, 4])
def test_a_resumed_run_equals_an_uninterrupted_one_bit_for_bit(settings, stop):
    whole = run(trainer(**settings))
    begun = run(trainer(**{**settings, "steps": stop}))
    resumed = trainer(**settings)
    resumed.load_state_dict(through_a_file(begun.state_dict()))
    torch.manual_seed(99)
    run(resumed)
    assert resumed.losses == whole.losses
    assert equal(resumed.weights(), whole.weights())
    assert equal(resumed.network.state_dict(), whole.network.state_dict())


def test_the_scale_of_the_loss_goes_on_too():
    begun = run(trainer(steps=2, precision="fp16"))
    begun.scaler.update(1024.0)
    resumed = trainer(precision="fp16")
    assert resumed.scaler.get_scale() != 1024
    resumed.load_state_dict(through_a_file(begun.state_dict()))
    assert resumed.scaler.get_scale() == 1024


def test_small_gradients_survive_a_denoiser_in_fp16():
    """Gradients of a mean over many numbers lie below the smallest number of fp16, unless the loss is scaled."""

    class Half(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            return (gradient * 1e-6).half().float() * 1e6

    toy = samples.ToyUNet().requires_grad_(False)

    def denoise(noisy, times, prompts, features):
        return toy(noisy, times, prompts, [Half.apply(level) for level in features])

    exact = run(trainer(steps=1)).weights()
    scaled = run(trainer(denoiser=samples.denoiser(denoise=denoise, half=True), steps=1)).weights()
    lost = run(trainer(denoiser=samples.denoiser(denoise=denoise), steps=1)).weights()
    began = trainer().weights()

    def agree(weights):
        ways = [(weights[name] - began[name], exact[name] - began[name]) for name in exact]
        return sum(float((a.sign() == b.sign()).float().mean()) for a, b in ways) / len(ways)

    assert agree(scaled) > 0.95
    assert agree(lost) < 0.8


def test_the_seed_decides_everything():
    first = run(trainer())
    torch.manual_seed(5)
    assert equal(run(trainer()).weights(), first.weights())
    assert not equal(run(trainer(seed=1)).weights(), first.weights())


def test_torchs_own_generator_is_left_alone():
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    run(trainer(steps=2))
    assert torch.equal(torch.rand(1), expected)


def test_only_the_adapter_learns():
    toy = samples.ToyUNet()  # not frozen: nothing of it may learn even then
    before = {name: tensor.clone() for name, tensor in toy.state_dict().items()}
    adapter, data = samples.adapter(), samples.examples()
    began = {name: tensor.clone() for name, tensor in adapter.state_dict().items()}
    one = run(trainer(data, samples.denoiser(denoise=toy), adapter))
    assert equal(toy.state_dict(), before)
    assert all(parameter.grad is None for parameter in toy.parameters())
    assert equal(adapter.state_dict(), began)
    assert all(parameter.grad is None for parameter in adapter.parameters())
    assert not torch.equal(one.weights()["conv_in.weight"], began["conv_in.weight"])


def test_accumulating_equals_a_larger_batch():
    """Over whole rounds of the examples, with what is random switched off."""

    class SameNoise:
        """Data whose noise and times depend on nothing."""

        def __init__(self, data):
            self.data, self.empty = data, data.empty

        def fingerprint(self):
            return ""

        def batch(self, draw, number):
            batch = self.data.batch(draw, number)
            object.__setattr__(batch, "noise", torch.ones_like(batch.noise))
            object.__setattr__(batch, "timesteps", torch.full_like(batch.timesteps, 500))
            return batch

    parts = run(trainer(SameNoise(samples.examples()), steps=1, batch_size=1, gradient_accumulation=4))
    whole = run(trainer(SameNoise(samples.examples()), steps=1, batch_size=4))
    assert parts.losses == pytest.approx(whole.losses, rel=1e-5)
    for name, tensor in parts.weights().items():
        torch.testing.assert_close(tensor, whole.weights()[name], rtol=1e-3, atol=2e-4)


def test_gradients_are_clipped():
    """AdamW does not mind the scale of a gradient, so look at the gradient itself."""
    norms = []
    one = trainer(clip=1e-3)
    one.optimiser.register_step_pre_hook(
        lambda *_: norms.append(torch.stack([p.grad.norm() for p in one.parameters]).norm().item())
    )
    run(one)
    assert len(norms) == 6
    assert norms == pytest.approx([1e-3] * 6, rel=1e-3)


def test_the_moving_average_is_the_average_of_the_weights():
    one = trainer(ema=0.8)
    average = {name: tensor.clone() for name, tensor in one.network.state_dict().items()}
    for step in range(12):
        one.advance()
        decay = min(0.8, (step + 1) / (step + 10))
        average = {n: decay * a + (1 - decay) * one.network.state_dict()[n] for n, a in average.items()}
    for name, tensor in one.weights().items():
        torch.testing.assert_close(tensor, average[name])
    assert not torch.equal(one.weights()["conv_in.weight"], one.network.state_dict()["conv_in.weight"])


def test_a_loss_of_nan_stops_with_the_step_and_leaves_the_weights():
    toy, calls = samples.ToyUNet().requires_grad_(False), []

    def bad(*args):
        calls.append(1)
        return toy(*args) * (float("nan") if len(calls) > 3 else 1.0)

    saved = []
    one = trainer(denoiser=samples.denoiser(denoise=bad))
    with pytest.raises(TrainingError, match="step 4: got a loss of nan") as caught:
        fit(one, lambda: saved.append(one.step), save_every=1)
    assert str(caught.value).startswith("Training diverged at step 4.")
    assert "Lower learning_rate" in caught.value.fix
    assert saved == [1, 2, 3]
    assert one.step == 3
    good = run(trainer(steps=3))
    assert equal(one.weights(), good.weights())


class SpoilsGradients(torch.autograd.Function):
    """Passes numbers on, and NaN back."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * float("nan")


def spoilt(**changes):
    toy = samples.ToyUNet().requires_grad_(False)
    return trainer(denoiser=samples.denoiser(denoise=lambda *args: SpoilsGradients.apply(toy(*args))), **changes)


def test_a_gradient_of_nan_stops_too():
    one = spoilt()
    with pytest.raises(TrainingError, match="step 1: got a NaN or infinite gradient"):
        one.advance()
    assert equal(one.weights(), trainer().weights())


def test_a_scaled_loss_does_not_leave_out_steps_for_ever():
    one = spoilt(precision="fp16", steps=100)
    with pytest.raises(TrainingError, match="at every scale of the loss"):
        run(one)
    assert one.step < 40
    assert equal(one.weights(), trainer().weights())


def test_checkpoints_come_when_they_should_and_at_the_end():
    saved, steps = [], []
    one = trainer(steps=7)
    fit(one, lambda: saved.append(one.step), save_every=3, on_step=lambda step, loss: steps.append(step))
    assert saved == [3, 6, 7]
    assert steps == [1, 2, 3, 4, 5, 6, 7]
    fit(one, lambda: saved.append(-1))
    assert saved == [3, 6, 7]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"learning_rate": 1e-3}, "learning_rate 0.001; expected learning_rate 0.01"),
        ({"seed": 3}, "now seed 3"),
        ({"data": samples.examples(seed=1)}, "other examples"),
        ({"adapter": samples.adapter(1)}, "another adapter"),
        ({"denoiser": samples.denoiser(identity="x")}, "another diffusion model"),
    ],
    ids=["rate", "seed", "data", "adapter", "denoiser"],
)
def test_another_run_is_not_continued(changes, message):
    state = run(trainer(steps=2)).state_dict()
    with pytest.raises(CheckpointError, match=message):
        trainer(**changes).load_state_dict(state)


def test_a_run_of_an_older_version_that_noted_less_goes_on():
    state = run(trainer(steps=2)).state_dict()
    origin = {name: value for name, value in state["origin"].items() if name != "denoiser"}
    one = trainer(denoiser=samples.denoiser(identity="x"))
    one.load_state_dict({**state, "origin": origin})
    assert one.step == 2


def test_a_finished_run_can_be_lengthened():
    one = trainer(steps=8)
    one.load_state_dict(run(trainer(steps=6)).state_dict())
    assert run(one).losses == run(trainer(steps=8)).losses


def test_a_run_is_not_shortened():
    with pytest.raises(CheckpointError, match="steps: got 3, and a run that has made 6"):
        trainer(steps=3).load_state_dict(run(trainer(steps=6)).state_dict())


def test_states_of_other_versions_are_refused():
    with pytest.raises(CheckpointError, match="version 0"):
        trainer().load_state_dict({**trainer().state_dict(), "version": 0})


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0},
        {"batch_size": 0},
        {"gradient_accumulation": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"prompt_dropout": 1.5},
        {"condition_dropout": -0.1},
        {"ema": 1.0},
        {"timesteps": "sideways"},
        {"precision": "int8"},
    ],
    ids=str,
)
def test_settings_that_can_not_work_are_refused(changes):
    with pytest.raises(TrainingError, match=next(iter(changes))):
        trainer(**changes)


def test_prompts_are_not_dropped_without_an_empty_one():
    with pytest.raises(TrainingError, match="no empty prompt"):
        trainer(samples.examples(empty=None), prompt_dropout=0.1)
