"""Invalid values from links and the API in Create, Train and Save: a clear message, never a raw error."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError

from . import tiny
from .lessons import SETTINGS, create, save, train

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]
# got; expected; fix.
SENTENCE = r"(?s).+: got .+; expected .+\. .+\."
RAW = (
    None, "text", "4", b"4", "", math.nan, math.inf, -math.inf, -1, 1e30, 10**400, 1.5, 1j, [], {}, set(), object(),
    np.float64("nan"), torch.zeros(0), torch.ones(2, 2), torch.ones(1, 3, 3, 3, device="meta"), "cubic ", "\ud800",
)  # fmt: skip
SOCKETS = ("model", "adapter", "latents", "images", "positive")


@pytest.fixture
def lesson(sd, monkeypatch):
    """Train with one value replaced; no step may run."""
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    return lambda **values: train(sd, create(sd), **values)


SINCE = (
    "gradient_checkpointing",
    "preview_every",
    "held_out_share",
    "validate_every",
    "lr_scheduler",
    "lr_warmup_steps",
)


@pytest.mark.parametrize("name", [*SETTINGS, *SINCE])
def test_settings_of_any_type_are_one_sentence(lesson, name):
    right = {
        "steps": (), "batch_size": (), "learning_rate": (1.5, 1e30), "gradient_accumulation": (), "save_every": (),
        "run_name": ("text", "4"), **dict.fromkeys(SINCE, (None,)),
    }  # fmt: skip
    for value in RAW:
        if any(value is one for one in right.get(name, ())):
            continue
        with pytest.raises(AdapterError, match=SENTENCE):
            lesson(**{name: value})


@pytest.mark.parametrize("name", ["latents", "images", "positive"])
def test_materials_of_any_type_are_one_sentence(lesson, name):
    for value in RAW:
        with pytest.raises(AdapterError, match=SENTENCE):
            lesson(**{name: [value]})
    for value in (None, "text", 3):
        with pytest.raises(AdapterError, match=SENTENCE):
            lesson(**{name: value})


@pytest.mark.parametrize("name", ["model", "adapter"])
def test_models_and_adapters_of_any_type_are_one_sentence(sd, name):
    from t2i_adapter_pack.nodes.train import CreateT2IAdapter, TrainT2IAdapter

    from .lessons import materials

    for value in RAW:
        lists = {name: [value] for name, value in SETTINGS.items()}
        given = {"model": [sd], "adapter": [create(sd)], **materials(), **lists, name: [value]}
        with pytest.raises(AdapterError, match=SENTENCE):
            TrainT2IAdapter.execute(**given)
        made = {"model": sd, "start_from": None, "model" if name == "model" else "start_from": value}
        if name == "model" or value is not None:
            with pytest.raises(AdapterError, match=SENTENCE):
                CreateT2IAdapter.execute(**made)


@pytest.mark.parametrize(
    "latents",
    [
        {}, {"samples": None}, {"samples": "text"}, {"samples": [[1.0]]}, {"samples": torch.zeros(0, 4, 8, 8)},
        {"samples": torch.zeros(3, 4, 8, 8, dtype=torch.complex64)}, {"samples": torch.zeros(3)},
        {"samples": torch.zeros(())}, {"samples": torch.zeros(3, 4, 1, 8, 8)}, {"samples": torch.zeros(3, 4, 0, 8)},
        {"samples": torch.zeros(3, 4, 8, 8).to_sparse()}, {"samples": torch.zeros(3, 4, 8, 8).long()},
    ],
    ids=str,
)  # fmt: skip
def test_latents_of_any_content_are_one_sentence(lesson, latents):
    with pytest.raises(AdapterError, match=SENTENCE):
        lesson(latents=[latents])


@pytest.mark.parametrize("shape", [(), (3,), (64, 64, 3), (1, 1, 64, 64, 3)])
def test_images_of_any_shape_are_one_sentence(lesson, shape):
    with pytest.raises(AdapterError, match=SENTENCE):
        lesson(images=[torch.zeros(shape)])


@pytest.mark.parametrize(
    "prompts",
    [
        [[None, {}]], [["a", {}]], [[torch.zeros(1, 77, tiny.CONTEXT), None]], [[torch.zeros(()), {}]],
        [[torch.zeros(77, tiny.CONTEXT), {}]], [[torch.zeros(1, 77, tiny.CONTEXT + 1), {}]], [[]], ["ab"], [3],
        [[torch.zeros(1, 0, tiny.CONTEXT), {}]], [[torch.full((1, 77, tiny.CONTEXT), math.nan), {}]],
    ],
    ids=str,
)  # fmt: skip
def test_prompts_of_any_content_are_one_sentence(lesson, prompts):
    with pytest.raises(AdapterError, match=SENTENCE):
        lesson(positive=[prompts])
    with pytest.raises(AdapterError, match=SENTENCE):
        lesson(empty=prompts, prompt_dropout=0.5)


@pytest.mark.parametrize("name", ["steps", "seed", "run_name", "timesteps"])
def test_lists_without_an_entry_are_one_sentence(sd, lesson, name):
    from t2i_adapter_pack.nodes.train import TrainT2IAdapter

    from .lessons import materials

    lists = {each: [value] for each, value in SETTINGS.items()}
    with pytest.raises(AdapterError, match=SENTENCE):
        TrainT2IAdapter.execute([sd], [create(sd)], **{**materials(), **lists, name: []})


@pytest.mark.parametrize("name", ["size", "image_channels", "kind", "seed"])
def test_what_create_is_told_of_any_type_is_one_sentence(sd, name):
    for value in RAW:
        with pytest.raises(AdapterError, match=SENTENCE):
            create(sd, **{name: value})


@pytest.mark.parametrize("name", ["filename_prefix", "format", "dtype", "adapter"])
def test_what_save_is_told_of_any_type_is_one_sentence(sd, name):
    adapter = create(sd)
    for value in RAW:
        if name == "filename_prefix" and isinstance(value, str) and value.strip() and value.isprintable():
            continue
        given = {name: value} if name != "adapter" else {}
        with pytest.raises(AdapterError, match=SENTENCE):
            save(value if name == "adapter" else adapter, **given)


def test_a_file_in_the_place_of_a_folder_is_told_by_save(sd, output):
    output.mkdir(exist_ok=True)
    (output / "file").write_text("in the way")
    with pytest.raises(AdapterError, match=SENTENCE):
        save(create(sd), filename_prefix="file/adapter")


def test_numbers_of_numpy_are_numbers(sd):
    trained = train(sd, create(sd), steps=np.int64(2), learning_rate=np.float32(1e-3), batch_size=np.int32(1))
    assert len(trained.args[1]["loss"]) == 2


def test_the_files_of_a_killed_node_are_removed_by_the_next_run(sd, output):
    folder = output / "t2i_adapters" / "run"
    folder.mkdir(parents=True)
    left = folder / ".training_state.pt.0123456789abcdef0123456789abcdef.part"
    left.write_bytes(b"half")
    train(sd, create(sd), steps=1)
    assert not left.exists()


def test_a_lost_state_is_told_before_anything_is_trained(sd, output, monkeypatch):
    from t2i_adapter_pack.training.loop import Trainer

    adapter = create(sd)
    train(sd, adapter, steps=1)
    (output / "t2i_adapters" / "run" / "training_state.pt").unlink()
    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    with pytest.raises(
        AdapterError, match=r"no such file beside run_step_00000001\.safetensors, an adapter that a run"
    ):
        train(sd, adapter, steps=1)
