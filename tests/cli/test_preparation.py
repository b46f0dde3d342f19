"""The command's summary of its data: one line that distinguishes the user's maps from drawn ones."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from t2i_adapter_pack.adapter_models.loading import load_adapter_file

from ..host import published
from ..training import datasets

pytestmark = pytest.mark.host


def told(caplog) -> str:
    return next(record.message for record in reversed(caplog.records) if " left out" in record.message)


@pytest.mark.parametrize("again", [False, True])
def test_own_maps_drawn_ones_and_what_is_left_out_are_counted(command, pictures, caplog, again):
    datasets.folder(pictures, {"cond/000.png": datasets.png(128, 128), "cond/001.png": datasets.png(10, 10)})
    (pictures / "002.txt").unlink()
    if again:
        assert command(steps=1) == 0
    caplog.clear()
    assert command(steps=1 + again) == 0
    assert told(caplog) == "3 examples: 1 with their own maps, 2 drawn by canny, 2 left out"


def test_linked_maps_are_used(command, tmp_path, pictures, caplog):
    maps = {f"{number:03}.png": datasets.png(*datasets.SHAPES[number % 4]) for number in range(5)}
    datasets.folder(tmp_path / "elsewhere", maps)
    (pictures / "conditions").symlink_to(tmp_path / "elsewhere")
    assert command(steps=1, condition=None) == 0
    assert told(caplog) == "5 examples: 5 with their own maps, 0 drawn, 0 left out"


@pytest.fixture
def identity(comfyui, tmp_path):
    """The identity of the recipe that encodes with a checkpoint file of some content."""
    from t2i_adapter_pack.cli import encode
    from t2i_adapter_pack.cli.options import parse
    from t2i_adapter_pack.training.weight_digests import WeightDigests

    options = parse(["--checkpoint", "x", "--data", "y"])
    adapter = SimpleNamespace(network=SimpleNamespace(config=SimpleNamespace(image_channels=3)), bgr=False)

    def of(name: str, content: bytes) -> str:
        path = tmp_path / name
        path.write_bytes(content)
        checkpoint = encode.LoadedCheckpoint(path, None, None, None)
        return encode.recipe(options, checkpoint, adapter, None, WeightDigests(tmp_path / "cache")).identity

    return of


def test_examples_are_those_of_a_checkpoint_s_content_wherever_it_lies(identity):
    first = identity("a.safetensors", b"a checkpoint")
    assert identity("b.safetensors", b"a checkpoint") == first
    assert identity("a.safetensors", b"another one.") != first


def test_another_vae_in_a_file_of_equal_size_makes_other_examples_and_another_unet_does_not(identity):
    def checkpoint(**values: float) -> bytes:
        names = {"vae": "first_stage_model.w", "clip": "cond_stage_model.w", "unet": "model.diffusion_model.w"}
        # Large enough that neither end of the file tells them apart.
        return safetensors.torch.save(
            {name: torch.full((300_000,), values.get(key, 0.0)) for key, name in names.items()}
        )

    plain, vae, clip, unet = (checkpoint(**one) for one in ({}, {"vae": 1.0}, {"clip": 1.0}, {"unet": 1.0}))
    assert len({len(one) for one in (plain, vae, clip, unet)}) == 1
    first = identity("a.safetensors", plain)
    assert identity("a.safetensors", vae) != first
    assert identity("a.safetensors", clip) != first
    assert identity("a.safetensors", unet) == first


def test_runs_share_what_is_prepared(command, pictures, tmp_path, monkeypatch):
    from t2i_adapter_pack.cli.encode import LoadedCheckpoint

    assert command(steps=1) == 0
    datasets.folder(tmp_path / "copy", datasets.members(6))
    encoded: list[int] = []
    latents = LoadedCheckpoint.latents

    def counted(self, batch):
        encoded.append(len(batch))
        return latents(self, batch)

    monkeypatch.setattr(LoadedCheckpoint, "latents", counted)
    assert command(steps=1, name="other", data=tmp_path / "copy") == 0
    assert sum(encoded) == 1
    assert command(steps=1, name="elsewhere", cache=tmp_path / "cache") == 0
    assert sum(encoded) == 6
    assert (tmp_path / "cache").is_dir()


def test_missing_weights_are_told_before_anything_is_encoded_and_fetched_as_the_message_says(
    command, tmp_path, monkeypatch, caplog
):
    from t2i_adapter_pack.cli.encode import LoadedCheckpoint
    from t2i_adapter_pack.nodes.annotation import weight_files

    monkeypatch.setenv("HF_HOME", "/nowhere")
    latents, folder = LoadedCheckpoint.latents, tmp_path / "annotators"
    monkeypatch.setattr(weight_files.host, "annotator_folders", lambda: [folder])
    monkeypatch.setattr(LoadedCheckpoint, "latents", lambda *_: pytest.fail("encoded"))
    assert command(condition="sketch", steps=1) == 1
    assert "Give --annotator-file download to fetch table5_pidinet.pth" in caplog.text

    def fetch(row, into, progress):
        into.mkdir()
        return published.save_lines(into)[row.file]

    monkeypatch.setattr(LoadedCheckpoint, "latents", latents)
    monkeypatch.setattr(weight_files, "download", fetch)
    monkeypatch.setattr(weight_files.host, "annotator_names", lambda: [path.name for path in folder.glob("*")])
    monkeypatch.setattr(weight_files.host, "annotator_path", lambda name: folder / name)
    assert command(condition="sketch", steps=1, annotator_file="download") == 0


def test_a_run_continues_with_a_larger_data_set_if_it_is_told_to(arguments, command, pictures, tmp_path, caplog):
    from t2i_adapter_pack.cli.main import main
    from t2i_adapter_pack.training.checkpoints import load_state

    assert command(steps=2) == 0
    datasets.folder(pictures, {"000.more.png": datasets.png(seed=9), "000.more.txt": b"one more"})
    assert command(steps=3) == 1
    assert "--allow-new-data" in caplog.text
    words = [*arguments(steps=3), "--allow-new-data"]
    assert main(["train", *words]) == 0
    assert "The data set has changed since then; it has 6 examples now." in caplog.text
    (change,) = load_state(tmp_path / "runs" / "run")["data_changes"]
    assert change["step"] == 2
    # From here on, the larger data set is the run's.
    assert command(steps=4) == 0
    adapter = load_adapter_file(tmp_path / "runs" / "run" / "run.safetensors")[1]
    assert json.loads(adapter.metadata["t2i_adapter.training"])["data_changes"] == [change]
    # Another size of pictures is another run all the same.
    assert main(["train", *words[:-1], "--resolution", "192", "--allow-new-data"]) == 1
