"""The landscapes' recipe at a few steps: every part trains, continues where it stopped, and is what ComfyUI loads."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from t2i_adapter_miniature import checkpoint, generate, model, train
from t2i_adapter_miniature.landscapes import judge, recipe, scene, stages
from t2i_adapter_miniature.landscapes.light import FLAT
from t2i_adapter_miniature.landscapes.team import Team
from t2i_adapter_miniature.loop import Plan

pytestmark = pytest.mark.host
CPU = torch.device("cpu")
MEGABYTES = 20
LINE = ("--world", "landscapes", "--scale", "0.0002", "--batch", "2", "--device", "cpu", "--no-table", "--workers", "1")


@pytest.fixture(scope="module")
def made(comfyui, tmp_path_factory) -> Path:
    """Every file of the recipe, hardly trained."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("landscapes")
    train.main([*LINE, "--comfyui", str(comfyui.path), "--weights", str(folder / "weights"), "--work", str(folder)])
    return folder / "weights"


@pytest.mark.slow
def test_one_command_makes_every_file_and_they_are_small(made):
    names = {file.name for file in made.iterdir()}
    assert names == {checkpoint.CHECKPOINT, *(checkpoint.adapter_file(plan.kind) for plan in recipe.CPU.adapters)}
    assert sum(file.stat().st_size for file in made.iterdir()) <= MEGABYTES * 2**20


@pytest.mark.slow
def test_comfyui_s_own_loader_reads_the_checkpoint(comfyui: Any, made):
    studio = generate.Studio(str(comfyui.path), made)
    text = "two pine trees by a lake at sunset"
    context = studio.nodes.CLIPTextEncode().encode(studio.clip, text)[0][0][0]
    assert context.shape == (1, 77, 64)
    assert studio.model.model.diffusion_model.in_channels == 4
    picture = torch.rand(1, 128, 128, 3)
    assert studio.round_trip(picture).shape == picture.shape


def parts(work: Path) -> dict[str, Any]:
    """Small fits of the VAE and the judge."""
    plan = Plan(steps=4, batch=2, rate=1e-3)
    return {
        "vae": stages.fit_vae(replace(plan, muon=True), CPU, work / "vae.state"),
        "judge": judge.fit_judge(plan, CPU, work / "judge.state"),
    }


@pytest.mark.parametrize("name", ["vae", "judge"])
def test_a_part_continues_as_if_nothing_had_happened(comfyui, tmp_path, name):
    for folder in ("whole", "halves"):
        (tmp_path / folder).mkdir()
    whole = parts(tmp_path / "whole")[name]
    assert whole.run()
    assert not parts(tmp_path / "halves")[name].run(2)
    rest = parts(tmp_path / "halves")[name]
    assert rest.run()
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(whole.average, rest.average, strict=True))


def test_the_denoiser_s_pool_is_read_again_and_its_steps_follow_from_their_number(comfyui, tmp_path):
    torch.manual_seed(0)
    vae = stages.model.build_vae(stages.VAE_WIDTHS).state_dict()
    vae |= {"vae_scale": torch.tensor(1.0), "vae_shift": torch.tensor(0.0)}
    first = stages.build_pool(vae, 6, CPU, FLAT, tmp_path / "pool", Team())
    again = stages.build_pool({}, 6, CPU, FLAT, tmp_path / "pool", Team())
    assert torch.equal(first.latent, again.latent)
    fit = stages.fit_denoiser(Plan(steps=4, batch=3, rate=1e-3), again, CPU, tmp_path / "denoiser.state")
    drawn = [fit.draw(step, torch.Generator().manual_seed(step)) for step in (1, 1, 2)]
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(drawn[0], drawn[1], strict=True))
    assert not torch.equal(drawn[0][2], drawn[2][2])


def test_a_narrow_vae_padded_for_comfyui_s_class_computes_the_same(comfyui: Any):
    from comfy.taesd.taesd import TAESD
    from t2i_adapter_miniature import companion

    torch.manual_seed(0)
    narrow, whole = model.build_vae(stages.VAE_WIDTHS), TAESD(latent_channels=4)
    state = narrow.state_dict()
    assert model.vae_widths(state) == stages.VAE_WIDTHS
    whole.load_state_dict({key: companion.widened(value) if value.ndim else value for key, value in state.items()})
    picture = torch.rand(1, 3, 32, 32)
    latent = narrow.taesd_encoder(picture)
    torch.testing.assert_close(whole.taesd_encoder(picture), latent, atol=1e-5, rtol=0)
    torch.testing.assert_close(whole.taesd_decoder(latent), narrow.taesd_decoder(latent), atol=1e-5, rtol=0)


@pytest.mark.slow
def test_two_processes_train_as_one_that_sees_both_their_batches(comfyui: Any, tmp_path, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    line = [*LINE[:-2], "--comfyui", str(comfyui.path), "--only", "judge", "--work", str(tmp_path / "two")]
    train.main([*line, "--batch", "4", "--workers", "2"])
    two = load_file(tmp_path / "two" / judge.FILE)
    plan = Plan(steps=2, batch=2, rate=recipe.CPU.plans["judge"].rate, decay=0.99, seed=recipe.CPU.plans["judge"].seed)
    one = judge.fit_judge(plan, CPU, tmp_path / "judge.state")
    halves = one.draw

    def both(step: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        parts = []
        for number in (2 * step, 2 * step + 1):
            generator.manual_seed((plan.seed << 32) + number)
            parts.append(halves(number, generator))
        return tuple(torch.cat(columns) for columns in zip(*parts, strict=True))

    one.draw = both
    assert one.run()
    for name, value in one.averaged().items():
        torch.testing.assert_close(two[name], value, atol=2e-4, rtol=0)


def test_training_never_sees_a_held_out_scene():
    plans = recipe.GPU.plans
    assert plans["vae"].steps * plans["vae"].batch // 2 < stages.POOL_SEED // 2
    assert stages.POOL_SEED // 2 + plans["judge"].steps * plans["judge"].batch < stages.POOL_SEED
    assert stages.POOL_SEED + recipe.GPU.pool < scene.HELD_OUT
    last = max((plan.seed + 1) * plan.pictures for plan in recipe.GPU.adapters)
    assert stages.POOL_SEED + last < scene.HELD_OUT


@pytest.mark.slow
def test_the_file_holds_the_words_of_landscapes(made):
    state = load_file(made / checkpoint.CHECKPOINT)
    ids = state[checkpoint.TOKENS].tolist()
    assert len(ids) == len(set(ids)) == len(stages.TOKEN_IDS)
    assert state[checkpoint.TEXT + "text_model.embeddings.token_embedding.weight"].shape[0] == len(ids)
