"""Preview pictures during training: their content, their timing, and no effect on the run."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from . import tiny
from .lessons import create, equal, materials, train

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


@pytest.fixture
def sent(monkeypatch):
    """What progress bars send to the page: (done, total, picture)."""
    import comfy.utils

    calls = []
    hook = lambda value, total, preview, node_id=None: calls.append((value, total, preview))  # noqa: E731
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    return calls


def pictures(sent):
    return {value: preview[1] for value, _, preview in sent if preview is not None}


def test_the_condition_image_beside_the_picture(sd, sent):
    given = materials()
    train(sd, create(sd), steps=5, preview_every=2, **given)
    shown = pictures(sent)
    assert list(shown) == [2, 4]
    assert all(picture.size == (128, 64) for picture in shown.values())
    image = (given["images"][0][0] * 255).round().numpy().astype(np.uint8)
    halves = [np.array(picture) for picture in shown.values()]
    assert all(np.array_equal(half[:, :64], image) for half in halves)
    assert all(half[:, 64:].std() > 1 for half in halves)
    # The adapter has learned between the two.
    assert not np.array_equal(halves[0][:, 64:], halves[1][:, 64:])


def test_the_picture_is_comfyuis_rough_decoding_of_what_the_result_samples(sd, sent, monkeypatch):
    """Against ComfyUI's own previewer, on latents of our sampler."""
    import latent_preview
    from comfy.cli_args import LatentPreviewMethod, args
    from t2i_adapter_pack.nodes.training import preview as training_preview

    latents = []
    real = training_preview.preview
    monkeypatch.setattr(training_preview, "preview", lambda *args: latents.append(real(*args)) or latents[-1])
    shown = []
    for method in (LatentPreviewMethod.NoPreviews, LatentPreviewMethod.Auto):
        monkeypatch.setattr(args, "preview_method", method)
        sent.clear()
        train(sd, create(sd), steps=1, preview_every=1, run_name=str(method))
        shown.append(pictures(sent)[1])
    previewer = latent_preview.get_previewer(torch.device("cpu"), sd.model.latent_format)
    expected = previewer.decode_latent_to_preview(latents[0]).resize((64, 64))
    for picture in shown:
        assert np.array_equal(np.array(picture)[:, 64:], np.array(expected))


def test_no_pictures_unless_asked_for(sd, sent):
    train(sd, create(sd))
    assert sent
    assert pictures(sent) == {}


def test_a_run_does_not_notice(sd, output, sent):
    adapter = create(sd)
    values = {"ema": 0.9, "prompt_dropout": 0.5, "empty": tiny.conditioning(9)}
    torch.manual_seed(8)
    plain, losses = train(sd, adapter, run_name="plain", **values).args
    random = torch.get_rng_state()
    torch.manual_seed(8)
    watched, same = train(sd, adapter, run_name="watched", preview_every=1, **values).args
    assert torch.equal(torch.get_rng_state(), random)
    assert same == losses
    assert equal(watched, plain)
    assert len(pictures(sent)) == 4
    states = [torch.load(output / "t2i_adapters" / name / "training_state.pt") for name in ("plain", "watched")]
    for part in ("network", "average", "optimiser"):
        torch.testing.assert_close(states[1][part], states[0][part], rtol=0, atol=0)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_condition_images_of_any_kind_can_be_shown(channels):
    from PIL import Image
    from t2i_adapter_pack.nodes.training.preview import side_by_side

    image = tiny.hint(24, 16, channels=channels)[0]
    both = np.array(side_by_side(image, Image.new("L", (5, 5), 77)))
    assert both.shape == (24, 32, 3)
    seen = (image[..., : min(channels, 3)] * 255).round().numpy().astype(np.uint8)
    assert np.array_equal(both[:, :16], np.broadcast_to(seen[..., :3], (24, 16, 3)))
    assert (both[:, 16:] == 77).all()


def test_the_node_shows_step_loss_and_time_left(sd, sent, monkeypatch):
    from comfy_execution.utils import CurrentNodeContext
    from t2i_adapter_pack.nodes import host

    told = []
    monkeypatch.setattr(host, "show", lambda text, node: told.append((node, text)))
    with CurrentNodeContext("prompt", "5"):
        _, losses = train(sd, create(sd), steps=3, run_name="told").args
    node, text = told[-1]
    mean = sum(losses["loss"]) / 3
    assert node == "5"
    assert text.startswith(f"Step 3 of 3, loss {mean:.4g} (mean of the last 3), done in ")


def test_the_time_left_follows_from_this_sessions_steps():
    from t2i_adapter_pack.nodes.training.preview import RunText

    now = [0.0]
    told = RunText(1000, 500, lambda: now[0])
    now[0] = 0.5
    assert told.after(501, 1.0) is None  # at most one a second
    for step, time, left in ((510, 10.0, "8 min 10 s"), (600, 20.0, "1 min 20 s"), (990, 490.0, "10 s")):
        now[0] = time
        assert str(told.after(step, 1.0)).endswith(f"about {left} left")
    now[0] = 7300.0
    assert str(told.after(1000, 1.0)).endswith("done in 2 h 1 min")


def test_load_finds_what_training_and_saving_write(sd, output, sent, monkeypatch):
    import folder_paths
    from t2i_adapter_pack.nodes import host
    from t2i_adapter_pack.nodes.load import LoadT2IAdapter
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter

    key = host.TRAINED_FOLDERS[0]
    monkeypatch.setitem(folder_paths.folder_names_and_paths, key, folder_paths.folder_names_and_paths[key])
    host.register_trained()
    adapter, _ = train(sd, create(sd), run_name="mine", save_every=2).args
    SaveT2IAdapter.execute(adapter)
    SaveT2IAdapter.execute(adapter, "t2i_adapter/older")
    (names,) = (row.options for row in LoadT2IAdapter.define_schema().inputs if row.id == "adapter_name")
    found = {name.replace("\\", "/") for name in names}
    assert {"adapter_00001_.safetensors", "older_00001_.safetensors"} <= found
    (last,) = (name for name in found if name.startswith("mine/") and name.endswith("2.safetensors"))
    assert not [name for name in found if "training_state" in name]
    loaded = LoadT2IAdapter.execute(last)[0]
    assert loaded.info.family == adapter.info.family
    assert not [name for name in folder_paths.get_filename_list("controlnet") if name.startswith("mine")]
