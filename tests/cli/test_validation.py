"""Seeing the progress of the command: held-out loss and pictures, of a run that does not notice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_pack.adapter_models.hint import fit_to
from t2i_adapter_pack.training.pictures import decode
from t2i_adapter_pack.training.run_log import read_log

from ..training import datasets
from .test_run import same_state, state

pytestmark = pytest.mark.host
SHARE = 0.3


@pytest.fixture(autouse=True)
def sampler(comfyui, monkeypatch):
    """Fewer steps than users get."""
    from t2i_adapter_pack.cli import validation

    quick = replace(validation.SAMPLER, steps=3)
    monkeypatch.setattr(validation, "SAMPLER", quick)
    return quick


@pytest.fixture
def hint(tmp_path):
    """A condition image whose nearest size is 64×256."""
    return datasets.folder(tmp_path / "hints", {"wide.png": datasets.png(320, 90, seed=9)}) / "wide.png"


def logged(tmp_path, name="run"):
    """The held-out loss of each step, or None."""
    return {line["step"]: line.get("held_out_loss") for line in read_log(tmp_path / "runs" / name)}


def test_a_run_does_not_notice_its_validation(command, tmp_path, hint):
    values = {"held_out_share": SHARE, "ema": 0.5, "learning_rate": 1e-2, "save_every": 2}
    torch.manual_seed(5)
    assert command(**values, name="plain") == 0
    random = torch.get_rng_state()
    torch.manual_seed(5)
    assert command(**values, validate_every=2, validation_image=hint, validation_prompt="a red circle") == 0
    assert torch.equal(torch.get_rng_state(), random)
    assert same_state(state(tmp_path), state(tmp_path, "plain"))
    # Validated at the intervals; the other run, with the interval of the default, at its end.
    losses = logged(tmp_path)
    assert [step for step, loss in losses.items() if loss is not None] == [2, 4]
    assert logged(tmp_path, "plain") == {1: None, 2: None, 3: None, 4: losses[4]}
    assert losses[2] != losses[4]
    folder = tmp_path / "runs" / "run" / "validation"
    assert sorted(path.name for path in folder.iterdir()) == ["1_step_00000002.png", "1_step_00000004.png"]
    assert not (tmp_path / "runs" / "plain" / "validation").exists()


def test_pictures_are_those_of_a_workflow_with_the_adapter_of_that_step(command, tmp_path, hint, miniature, sampler):
    """Condition image, the bare model's picture, and the adapter's: from nodes and the checkpoint's file."""
    run = {"validation_image": hint, "validation_prompt": "a (red) circle", "ema": 0.5, "learning_rate": 1e-2}
    assert command(**run, save_every=2, validate_every=2, image_channels=1) == 0
    folder = tmp_path / "runs" / "run"
    shown = np.array(Image.open(folder / "validation" / "1_step_00000002.png"))
    assert shown.shape == (64, 3 * 256, 3)
    from t2i_adapter_pack.nodes import host
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter
    from t2i_adapter_pack.nodes.loading import adapters

    model, clip, vae = host.load_model_clip_vae(miniature)
    file = folder / "run_step_00000002.safetensors"
    adapter = adapters.wrap_adapter(file, file.name, None, bgr=None, dtype=None)
    hint_image = fit_to(decode("hint", hint.read_bytes()), (64, 256), "crop").clamp(0, 1).movedim(1, -1)
    assert np.array_equal(shown[:, :256], (hint_image[0] * 255).round().byte().numpy())
    prompts = (host.encode_prompt(clip, r"a \(red\) circle"), host.encode_prompt(clip, ""))
    for place, each in enumerate((model, ApplyT2IAdapter.execute(model, adapter, hint_image)[0]), 1):
        picture = host.sample_picture(each, vae, prompts, (64, 256), 3, sampler)
        expected = (picture[0] * 255).round().byte().numpy()
        found = shown[:, 256 * place : 256 * (place + 1)]
        assert np.array_equal(found, expected)
        assert found.std() > 1
    assert np.abs(shown[:, 256:512].astype(int) - shown[:, 512:]).max() > 4


def test_a_resumed_run_has_the_held_out_losses_of_an_uninterrupted_one(command, tmp_path):
    values = {"held_out_share": SHARE, "validate_every": 1, "save_every": 1}
    assert command(**values, name="whole") == 0
    assert command(**values, steps=2) == command(**values) == 0
    assert logged(tmp_path) == logged(tmp_path, "whole")
    assert all(logged(tmp_path).values())


def test_held_out_samples_never_train(command, tmp_path, pictures):
    """A run whose held-out pictures are replaced makes the same steps, and has another held-out loss."""
    from t2i_adapter_pack.training.validation import is_held_out

    assert command(held_out_share=SHARE) == 0
    held = [path for path in sorted(pictures.glob("*.png")) if is_held_out(path.stem, SHARE)]
    assert 0 < len(held) < 5
    for path in held:
        path.write_bytes(datasets.png(128, 128, seed=77))
    assert command(held_out_share=SHARE, name="other") == 0
    assert same_state(state(tmp_path), state(tmp_path, "other"))
    assert logged(tmp_path)[4] != logged(tmp_path, "other")[4]
    # Another share is another run.
    assert command(held_out_share=0.5) == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"validation_prompt": "a red circle"}, "--validation-image: got 0, and 1 of --validation-prompt"),
        ({"validation_image": "no.png", "validation_prompt": "a"}, "The validation image no.png does not exist."),
        ({"report_to": "tensorboard"}, "Reporting needs the package tensorboard."),
        ({"held_out_share": 0.0001}, "The held-out share is too small for this data set."),
    ],
    ids=["prompt alone", "no image", "no package", "share"],
)
def test_what_can_not_be_validated_is_told_before_any_work(command, tmp_path, caplog, monkeypatch, changes, words):
    import sys

    from t2i_adapter_pack.cli import run

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr(run, "read_checkpoint", lambda name: pytest.fail("loaded"))
    assert command(**changes) == 1
    assert words in caplog.text
    assert not (tmp_path / "runs").exists()


def test_one_image_may_have_several_prompts_and_one_prompt_several_images(arguments, miniature, hint):
    from t2i_adapter_pack.cli.encode import read_checkpoint
    from t2i_adapter_pack.cli.options import parse
    from t2i_adapter_pack.cli.validation import check_validation, picture_cases

    checkpoint = read_checkpoint(str(miniature))

    def cases(*words):
        options = parse([*arguments(), *map(str, words)])
        check_validation(options)
        return picture_cases(options, checkpoint)

    one = cases("--validation-image", hint, "--validation-prompt", "red", "red blue", "")
    assert [case.number for case in one] == [1, 2, 3]
    assert len({case.prompt[0][0].sum().item() for case in one}) == 3
    assert len(cases("--validation-image", hint, hint, "--validation-prompt", "a")) == 2
    assert cases() == []


@pytest.mark.package("tensorboard")
def test_tensorboard_gets_losses_and_pictures(command, tmp_path, hint):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    values = {
        "validation_image": hint,
        "validation_prompt": "a red circle",
        "validate_every": 2,
        "held_out_share": SHARE,
    }
    assert command(**values, report_to="tensorboard") == 0
    shown = EventAccumulator(str(tmp_path / "runs" / "run" / "tensorboard"))
    shown.Reload()
    assert {"loss", "learning_rate", "held_out_loss"} <= set(shown.Tags()["scalars"])
    assert [round(one.value, 5) for one in shown.Scalars("loss")] == [
        round(line["loss"], 5) for line in read_log(tmp_path / "runs" / "run")
    ]
    assert [one.step for one in shown.Images("validation/1")] == [2, 4]
