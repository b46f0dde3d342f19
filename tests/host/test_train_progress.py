"""What Train T2I-Adapter shows: the loss of examples that never train, previews of them, and the learning rate."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from t2i_adapter_pack.training.errors import TrainingError
from t2i_adapter_pack.training.run_log import read_log
from t2i_adapter_pack.training.validation import split_set

from .lessons import create, materials, train
from .test_train_previews import pictures

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]
SHARE = 0.4


@pytest.fixture
def sets(monkeypatch):
    """What a run splits its examples into."""
    from t2i_adapter_pack.nodes.training import run

    found = []
    monkeypatch.setattr(run, "split_set", lambda data, share: found.append(split_set(data, share)) or found[-1])
    return found


def test_held_out_examples_never_train_and_their_loss_is_logged_and_told(sd, output, sets, monkeypatch):
    from t2i_adapter_pack.nodes import host

    told, given = [], materials(8)
    monkeypatch.setattr(host, "tell", lambda text, node_id, level=0: told.append(text))
    adapter = create(sd)
    _, losses = train(sd, adapter, **given, steps=5, held_out_share=SHARE, validate_every=2).args
    ((own, held, _),) = sets
    assert len(own) + len(held) == 8
    measured = {line["step"]: line["held_out_loss"] for line in read_log(output / "t2i_adapters" / "run")
                if "held_out_loss" in line}  # fmt: skip
    assert list(measured) == [2, 4, 5]
    assert losses["held_out_loss"] == list(measured.values())
    assert told == [f"Step {step}: held-out loss {loss:.4f}." for step, loss in measured.items()]
    # Bit for bit the adapter of those that train alone.
    latents = own.latents / 0.18215
    alone = {"latents": [{"samples": latents}], "images": [own.images.movedim(1, -1)]}
    prompts = [[[row[None], {}] for row in own.prompts["c_crossattn"]]]
    _, same = train(sd, adapter, **alone, positive=prompts, steps=5, run_name="alone").args
    torch.testing.assert_close(torch.tensor(same["loss"]), torch.tensor(losses["loss"]))
    assert same.keys() == {"loss"}
    # Resumed, and then found finished: all losses so far.
    values = {"held_out_share": SHARE, "validate_every": 2}
    assert train(sd, adapter, **given, steps=5, **values).args[1] == losses
    longer = train(sd, adapter, **given, steps=6, **values).args[1]["held_out_loss"]
    assert (len(longer), longer[:3]) == (4, losses["held_out_loss"])


def test_previews_show_a_held_out_example(sd, sets, monkeypatch):
    import comfy.utils

    sent, given = [], materials(8, seed=3)
    hook = lambda value, total, preview, node_id=None: sent.append((value, total, preview))  # noqa: E731
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    train(sd, create(sd), **given, steps=1, preview_every=1, held_out_share=SHARE)
    ((_, _, first),) = sets
    assert first > 0
    image = (given["images"][0][first] * 255).round().numpy().astype(np.uint8)
    assert np.array_equal(np.array(pictures(sent)[1])[:, :64], image)


def test_a_share_that_holds_out_nothing_is_told(sd):
    with pytest.raises(TrainingError, match=r"The held-out share is too small for this data set\."):
        train(sd, create(sd), held_out_share=0.001)


def test_the_learning_rate_rises_and_falls_and_is_logged(sd, output):
    train(sd, create(sd), steps=6, lr_scheduler="cosine", lr_warmup_steps=2)
    rates = [line["learning_rate"] for line in read_log(output / "t2i_adapters" / "run")]
    assert rates[0] < rates[1] < rates[2] == 1e-3
    assert rates[2:] == sorted(rates[2:], reverse=True)
    assert rates[-1] < 3e-4
