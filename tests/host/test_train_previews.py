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
