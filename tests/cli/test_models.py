"""Models in several files: each trains as the checkpoint that has the same parts."""

from __future__ import annotations

import pytest
from safetensors.torch import load_file, save_file
from t2i_adapter_pack.cli.options import parse

from .test_run import same_state, state

pytestmark = pytest.mark.host
UNET = "model.diffusion_model."


@pytest.fixture
def parts(miniature, tmp_path, monkeypatch):
    """The miniature's UNet and VAE as files; its text encoder is none that ComfyUI knows, so its file is a stand-in."""
    import comfy.sd
    import comfy.supported_models

    _, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(str(miniature), embedding_directory=[])
    weights = load_file(miniature)
    files = {name: tmp_path / f"{name}.safetensors" for name in ("unet", "vae", "clip")}
    save_file({name.removeprefix(UNET): one for name, one in weights.items() if name.startswith(UNET)}, files["unet"])
    save_file({name: weight.contiguous() for name, weight in vae.get_sd().items()}, files["vae"])
    save_file({}, files["clip"])
    row = next(one for one in comfy.supported_models.models if one.__name__ == "Miniature")
    monkeypatch.setattr(row, "required_keys", {})
    asked = []
    monkeypatch.setattr(comfy.sd, "load_clip", lambda paths, embedding_directory: asked.append(paths) or clip)
    return files, asked


def test_parts_in_files_train_as_their_checkpoint(command, parts, tmp_path):
    files, asked = parts
    assert command(steps=2) == 0
    assert command(steps=2, name="parts", checkpoint=None, **files) == 0
    assert asked == [[str(files["clip"])]]
    assert same_state(state(tmp_path), state(tmp_path, "parts"))


def test_a_diffusers_folder_trains_as_its_checkpoint(command, parts, tmp_path, caplog):
    files, asked = parts
    folder = tmp_path / "diffusers"
    names = {"unet": "diffusion_pytorch_model", "vae": "diffusion_pytorch_model.fp16", "text_encoder": "model"}
    for (name, stem), file in zip(names.items(), files.values(), strict=True):
        (folder / name).mkdir(parents=True)
        (folder / name / f"{stem}.safetensors").write_bytes(file.read_bytes())
    (folder / "text_encoder_2").mkdir()
    assert command(steps=2) == 0
    assert command(steps=2, name="folder", checkpoint=folder) == 1
    assert "The folder diffusers has no text encoder." in caplog.text
    (folder / "text_encoder_2" / "model.safetensors").write_bytes(files["clip"].read_bytes())
    assert command(steps=2, name="folder", checkpoint=folder) == 0
    assert [len(paths) for paths in asked] == [2]
    assert same_state(state(tmp_path), state(tmp_path, "folder"))


def test_a_vae_replaces_that_of_the_checkpoint(command, parts, tmp_path, caplog):
    vae = load_file(parts[0]["vae"])
    name = next(name for name in vae if name.startswith("taesd_encoder"))
    save_file({**vae, name: vae[name] * 1.5}, tmp_path / "other.safetensors")
    assert command(steps=1) == 0
    assert command(steps=2, vae=tmp_path / "other.safetensors") == 1
    assert "The run of this name began with another data set." in caplog.text
    assert command(steps=1, name="other", vae=tmp_path / "other.safetensors") == 0
    assert state(tmp_path)["losses"] != state(tmp_path, "other")["losses"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vae": "nowhere.safetensors"}, "--vae: got 'nowhere.safetensors', which is not a file"),
        ({"vae": __file__}, "is damaged, or not what --vae needs"),
    ],
    ids=["missing", "not a VAE"],
)
def test_wrong_files_are_told(command, caplog, changes, message):
    assert command(**changes) == 1
    assert message in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either --checkpoint, or --unet with --clip and --vae"),
        (["--checkpoint", "a", "--unet", "b"], "give either --checkpoint"),
        (["--unet", "b", "--vae", "c"], "--unet needs --clip and --vae"),
        (["--checkpoint", "a", "--clip", "b"], "--clip belongs to --unet"),
    ],
)
def test_options_that_exclude_each_other_end_the_command(words, message, capsys):
    with pytest.raises(SystemExit):
        parse(["--data", "d", *words])
    assert message in capsys.readouterr().err
