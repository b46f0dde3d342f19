"""The held-out loss: examples that never train, the same numbers each time, and a run that does not notice."""

from __future__ import annotations

import json
import threading
from dataclasses import replace

import pytest
import torch
from t2i_adapter_pack.training.distributed import Processes
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.loop import Trainer, fit
from t2i_adapter_pack.training.samples import Listing
from t2i_adapter_pack.training.shards import list_data
from t2i_adapter_pack.training.validation import (
    TIMESTEPS_EACH,
    at_intervals,
    held_out_loss,
    is_held_out,
    split_listing,
    split_set,
)

from . import datasets, samples
from .test_processes import Exchange


def test_about_the_share_is_held_out_and_a_larger_share_holds_out_the_same_and_more():
    names = [f"set/{number:05}" for number in range(4000)]
    few, more = ({name for name in names if is_held_out(name, share)} for share in (0.05, 0.2))
    assert len(few) == pytest.approx(200, abs=50)
    assert len(more) == pytest.approx(800, abs=100)
    assert few < more
    assert not any(is_held_out(name, 0) for name in names)


def test_samples_stay_on_their_side_when_others_are_added(tmp_path):
    files = datasets.members(24)
    small = list_data([str(datasets.folder(tmp_path / "small", dict(list(files.items())[20:])))])
    large = list_data([str(datasets.folder(tmp_path / "large", files))])
    names = [[{one.name for one in part.samples} for part in split_listing(each, 0.3)] for each in (small, large)]
    assert all(part for each in names for part in each)
    for (train, held), every in zip(names, (small, large), strict=True):
        assert train | held == {one.name for one in every.samples}
        assert not train & held
    assert names[0][0] < names[1][0]
    assert names[0][1] < names[1][1]


def test_examples_in_memory_are_split_by_their_contents():
    data = samples.examples(12)
    train, held, first = split_set(data, 0.3)
    assert held is not None
    assert len(train) + len(held) == 12
    assert torch.equal(held.latents[0], data.latents[first])
    assert torch.equal(held.prompts["context"][0], data.prompts["context"][first])
    order = torch.arange(11, -1, -1)
    turned = replace(data, latents=data.latents[order], images=data.images[order])
    _, again, _ = split_set(turned, 0.3)
    assert torch.equal(again.latents.flip(0), held.latents)
    assert split_set(data, 0.0)[:2] == (data, None)


@pytest.mark.parametrize(("share", "word"), [(1e-9, "small"), (1 - 1e-9, "large")])
def test_a_split_that_leaves_nothing_is_refused(share, word):
    with pytest.raises(TrainingError, match=f"share is too {word}.*\n.*of 4 examples"):
        split_set(samples.examples(), share)


def test_an_empty_listing_is_left_to_others():
    assert split_listing(Listing(()), 0.5) == (Listing(()), Listing(()))


def test_the_loss_is_the_mean_over_examples_at_spread_times():
    """By hand, with what the denoiser is given."""
    calls = []

    def blind(noisy, times, prompts, features):
        calls.append((times, noisy))
        return torch.zeros_like(noisy)

    one = samples.trainer(unet=samples.denoiser(denoise=blind), timesteps="uniform")
    loss = held_out_loss(one, samples.examples(3, seed=5))
    assert len(calls) == 3
    for times, noisy in calls:
        assert noisy.shape[0] == TIMESTEPS_EACH
        # One time in each quarter.
        assert (times // 250).tolist() == list(range(TIMESTEPS_EACH))
    # The target is the noise, whose variance is 1.
    assert loss == pytest.approx(1.0, abs=0.1)
    assert len({int(times[0]) for times, _ in calls}) == 3


def test_an_example_keeps_its_noise_whatever_the_others_are():
    given = []

    def blind(noisy, times, prompts, features):
        given.append((times, noisy))
        return torch.zeros_like(noisy)

    one = samples.trainer(unet=samples.denoiser(denoise=blind), seed=4)
    data = samples.examples(5)
    for chosen in (data, replace(data, latents=data.latents[3:4], images=data.images[3:4])):
        held_out_loss(one, replace(chosen, prompts={"context": data.prompts["context"][:1]}))
    *_, (times, noisy) = given
    assert sum(torch.equal(times, other) and torch.equal(noisy, same) for other, same in given[:-1]) == 1


def test_an_example_on_the_disk_keeps_its_noise_and_its_first_caption(tmp_path):
    """Wherever it is among the others: what the denoiser is given, by the example's latents."""
    files = datasets.members(9)
    for name in [name for name in files if name.endswith(".txt")]:
        files[name.replace("txt", "json")] = json.dumps({"caption": [f"{files.pop(name)}", "a", "longer" * 3]}).encode()
    listing = list_data([str(datasets.folder(tmp_path / "f", files))])
    given = []

    def blind(noisy, times, prompts, features):
        given.append((float(prompts["context"].flatten()[0]), noisy.sum().item(), times.tolist()))
        return torch.zeros_like(noisy)

    one = samples.trainer(unet=samples.denoiser(denoise=blind))
    held_out_loss(one, datasets.cached(listing, tmp_path / "all"))
    every, given = given, []
    held_out_loss(one, datasets.cached(replace(listing, samples=listing.samples[4:]), tmp_path / "some"))
    assert (len(every), len(given)) == (9, 5)
    assert all(each in every for each in given)
    assert {words for words, _, _ in every} == {float(len("b'picture 0'"))}


def test_it_measures_the_result_without_dropout():
    data = samples.examples(3, seed=5)
    one = samples.trainer(ema=0.9, prompt_dropout=1.0, condition_dropout=1.0, learning_rate=0.1)
    before = held_out_loss(one, data)
    for _ in range(3):
        one.advance()
    result = samples.adapter(1)
    result.load_state_dict(one.weights())
    assert held_out_loss(one, data) == held_out_loss(samples.trainer(begin=result), data)
    assert held_out_loss(one, data) != before
    dropped = replace(data, prompts={"context": data.empty["context"]}, images=torch.zeros_like(data.images))
    assert held_out_loss(one, data) != held_out_loss(one, dropped)


def test_a_run_does_not_notice():
    def state(measures):
        torch.manual_seed(3)
        one = samples.trainer(ema=0.9, prompt_dropout=0.5)
        held = samples.examples(2, seed=5)
        measure = at_intervals(2 if measures else 0, 7, lambda step: held_out_loss(one, held))
        fit(one, lambda: None, on_step=measure)
        return {name: value for name, value in one.state_dict().items() if name != "origin"}, torch.get_rng_state()

    (plain, random), (watched, same) = state(False), state(True)
    assert torch.equal(random, same)
    torch.testing.assert_close(watched, plain, rtol=0, atol=0)


def test_several_processes_share_the_work_and_have_one_result():
    data, calls = samples.examples(5, seed=5), []
    alone = held_out_loss(samples.trainer(), data)
    exchange, found = Exchange(2), [None, None]
    unet = samples.ToyUNet().requires_grad_(False)
    # Made here: threads would share torch's generator, which gives the weights.
    networks = [samples.adapter(), samples.adapter()]

    def measure(index):
        def denoise(*given):
            calls.append(index)
            return unet(*given)

        together = Processes(index, 2, lambda tensors: exchange.mean(index, tensors))
        one = Trainer(
            networks[index],
            data,
            samples.denoiser(denoise=denoise),
            samples.settings(),
            torch.device("cpu"),
            together,
        )
        found[index] = held_out_loss(one, data)

    threads = [threading.Thread(target=measure, args=(index,)) for index in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0] == found[1] == pytest.approx(alone, rel=1e-5)
    assert sorted(calls) == [0, 0, 0, 1, 1]


@pytest.mark.parametrize(("every", "due"), [(0, [7]), (3, [3, 6, 7])])
def test_validation_comes_at_intervals_and_at_the_end(every, due):
    found = []
    after_step = at_intervals(every, 7, found.append)
    for step in range(1, 8):
        after_step(step, 0.0)
    assert found == due
