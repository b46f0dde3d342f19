"""Create, Train and Save T2I-Adapter inside ComfyUI: what learns, what stays, what goes on, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from t2i_adapter_pack.adapter_models.errors import AdapterError, FamilyMismatchError
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError

from . import tiny

pytestmark = pytest.mark.host
SETTINGS = {
    "steps": 4,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "timesteps": "cubic",
    "prompt_dropout": 0.0,
    "condition_dropout": 0.0,
    "ema": 0.0,
    "gradient_accumulation": 1,
    "precision": "fp32",
    "seed": 3,
    "save_every": 0,
    "run_name": "run",
}


@pytest.fixture(autouse=True)
def output(inside_comfyui, tmp_path, monkeypatch) -> Path:
    """An output folder of this test alone."""
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(tmp_path))
    return tmp_path


def create(model: Any, **values: Any) -> Any:
    from t2i_adapter_pack.nodes.train import CreateT2IAdapter

    with torch.inference_mode():
        return CreateT2IAdapter.execute(model, **{"size": "tiny", **values})[0]


def materials(count: int = 3, side: int = 64, seed: int = 0) -> dict[str, Any]:
    """Random pictures with their condition images, as inference tensors, which is what nodes hand to each other."""
    with torch.inference_mode():
        generator = torch.Generator().manual_seed(seed)
        latents = torch.randn(count, 4, side // 8, side // 8, generator=generator)
        prompts = [one for index in range(count) for one in tiny.conditioning(index)]
        return {"latents": [{"samples": latents}], "images": [tiny.hint(side, side, count)], "positive": [prompts]}


def train(model: Any, adapter: Any, **values: Any) -> Any:
    """Run the node as ComfyUI does: in inference mode, with a list for every input."""
    from t2i_adapter_pack.nodes.train import TrainT2IAdapter

    lists = {**materials(), **{name: [value] for name, value in SETTINGS.items()}}
    for name, value in values.items():
        lists[name] = value if name in ("latents", "images", "positive") else [value]
    with torch.inference_mode():
        return TrainT2IAdapter.execute([model], [adapter], **lists)


def weights(adapter: Any) -> dict[str, torch.Tensor]:
    return adapter.network.state_dict()


def equal(first: Any, second: Any) -> bool:
    mine, other = weights(first), weights(second)
    return mine.keys() == other.keys() and all(torch.equal(mine[name], other[name]) for name in mine)


# --- Create ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL", "refiner", "one block", "no middle"])
@pytest.mark.parametrize("size", ["base", "small", "tiny"])
def test_a_new_adapter_applies_to_its_model(kind, size):
    model = tiny.model(kind)
    adapter = create(model, size=size, image_channels="1", kind="depth")
    assert adapter.network.config.image_channels == 1
    assert adapter.about.condition.name == "depth"
    assert torch.isfinite(tiny.sample(tiny.apply(model, adapter, tiny.hint(64, 64)), tiny.latent(8, 8), steps=1)).all()


def test_the_seed_decides_the_new_weights_and_leaves_torchs_own_generator(sd):
    torch.manual_seed(1)
    expected = torch.rand(1)
    torch.manual_seed(1)
    first = create(sd, seed=5)
    assert torch.equal(torch.rand(1), expected)
    assert equal(first, create(sd, seed=5))
    assert not equal(first, create(sd, seed=6))


def test_models_that_are_no_such_unet_are_refused(inside_comfyui):
    for model in tiny.other_models().values():
        with pytest.raises(FamilyMismatchError):
            create(model)


def test_the_kinds_are_those_that_files_can_name(sd):
    from t2i_adapter_pack.nodes.trained import KINDS

    for kind in KINDS:
        condition = create(sd, kind=kind).about.condition
        assert (condition.name if condition else "other") == kind


# --- Train -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["SD", "SDXL", "no middle"])
def test_the_loss_falls_and_only_the_adapter_changes(kind, monkeypatch):
    from t2i_adapter_pack.training import data

    # One noise and one time for all steps: a fixed problem.
    monkeypatch.setattr(data, "seeded", lambda *_: torch.Generator().manual_seed(0))
    model = tiny.model(kind)
    unet = model.model.diffusion_model
    before = {name: tensor.clone() for name, tensor in unet.state_dict().items()}
    adapter = create(model)
    began = {name: tensor.clone() for name, tensor in weights(adapter).items()}
    trained, losses = train(model, adapter, steps=30, batch_size=3, learning_rate=1e-2).args
    assert len(losses["loss"]) == 30
    assert losses["loss"][-1] < 0.9 * losses["loss"][0]
    assert all(torch.equal(tensor, before[name]) for name, tensor in unet.state_dict().items())
    assert all(weight.grad is None and not weight.requires_grad for weight in unet.parameters())
    assert all(torch.equal(tensor, began[name]) for name, tensor in weights(adapter).items())
    assert all(not torch.equal(tensor, began[name]) for name, tensor in weights(trained).items())


@pytest.mark.parametrize("prediction", ["eps", "v"])
def test_the_loss_is_that_of_the_unet_called_by_hand(prediction, monkeypatch):
    """Straight into the diffusion model: the noisy latents at its own scale, features added by ComfyUI's control."""
    import comfy.model_base
    from t2i_adapter_pack.training.data import training_set

    model = tiny.model("SD")
    kind = {"eps": comfy.model_base.ModelType.EPS, "v": comfy.model_base.ModelType.V_PREDICTION}[prediction]
    model.model.model_sampling = comfy.model_base.model_sampling(model.model.model_config, kind)
    adapter, given = create(model), materials()
    loss = train(model, adapter, steps=1, batch_size=3).args[1]["loss"][0]

    latents = given["latents"][0]["samples"].clone() * 0.18215
    context = torch.cat([embedding for embedding, _ in given["positive"][0]])
    data = training_set(latents, given["images"][0].movedim(-1, 1), {"context": context}, adapter.network.config)
    from t2i_adapter_pack.training.data import Draw

    batch = data.batch(Draw(3, seed=3), 0)
    alphas = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0).float()
    keep = alphas[batch.times].sqrt().view(-1, 1, 1, 1)
    lose = (1 - alphas[batch.times]).sqrt().view(-1, 1, 1, 1)
    features = adapter.network(batch.images)
    # Core pops what it adds after block i from the end of this list.
    control = [feature for level in features for feature in (None, None, level)]
    with torch.no_grad():
        out = model.model.diffusion_model(
            keep * batch.latents + lose * batch.noise,
            batch.times.float(),
            context=batch.prompts["context"],
            control={"input": control[::-1]},
        )
    target = batch.noise if prediction == "eps" else keep * batch.noise - lose * batch.latents
    assert loss == pytest.approx((out - target).square().mean().item(), rel=1e-4)


@pytest.mark.parametrize("values", [{}, {"ema": 0.9, "gradient_accumulation": 2, "condition_dropout": 0.5}], ids=str)
def test_a_cancelled_run_goes_on_bit_for_bit(sd, output, monkeypatch, values):
    import comfy.model_management
    from t2i_adapter_pack.nodes import host

    adapter = create(sd)
    whole, losses = train(sd, adapter, steps=5, run_name="whole", **values).args

    def cancel_at(step):
        def progress(total=1):
            def done(count, total=total):
                if count == step:
                    raise comfy.model_management.InterruptProcessingException

            return done

        return progress

    monkeypatch.setattr(host, "progress", cancel_at(2))
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        train(sd, adapter, steps=5, run_name="cut", **values)
    assert comfy.model_management.in_training is False
    assert (output / "t2i_adapters" / "cut" / "training_state.pt").is_file()
    monkeypatch.undo()
    import folder_paths

    monkeypatch.setattr(folder_paths, "output_directory", str(output))
    torch.manual_seed(77)
    resumed, again = train(sd, adapter, steps=5, run_name="cut", **values).args
    assert again == losses
    assert equal(resumed, whole)


def test_a_finished_run_is_found_again_and_can_be_lengthened(sd, monkeypatch):
    from t2i_adapter_pack.training.loop import Trainer

    adapter = create(sd)
    first = train(sd, adapter)[0]
    advance, calls = Trainer.advance, []
    monkeypatch.setattr(Trainer, "advance", lambda self: calls.append(1) or advance(self))
    assert equal(train(sd, adapter)[0], first)
    assert calls == []
    longer, losses = train(sd, adapter, steps=6).args
    assert len(calls) == 2
    assert equal(longer, train(sd, adapter, steps=6, run_name="other")[0])
    assert len(losses["loss"]) == 6


def test_checkpoints_are_adapters_to_load(sd, output):
    from t2i_adapter_pack.adapter_models.loading import load

    adapter = create(sd, kind="canny")
    trained = train(sd, adapter, save_every=2)[0]
    files = sorted(path.name for path in (output / "t2i_adapters" / "run").iterdir())
    steps = ["run_step_00000002.safetensors", "run_step_00000004.safetensors"]
    assert files == [*steps, "settings.json", "training_state.pt"]
    network, about = load(output / "t2i_adapters" / "run" / steps[1])
    assert all(torch.equal(tensor, weights(trained)[name]) for name, tensor in network.state_dict().items())
    assert about.condition.name == "canny"
    facts = json.loads(about.metadata["t2i_adapter.training"])
    assert (facts["steps"], facts["seed"], facts["timesteps"]) == (4, 3, "cubic")


def test_models_loaded_in_inference_mode_can_be_trained_for():
    """As ComfyUI's loaders leave them; autograd refuses such tensors."""
    with torch.inference_mode():
        model = tiny.model("SD")
    assert next(model.model.parameters()).is_inference()
    expected = train(tiny.model("SD"), create(model), run_name="a").args[1]
    assert train(model, create(model), run_name="b").args[1] == expected
    assert torch.isfinite(tiny.sample(model, tiny.latent(8, 8), steps=1)).all()


def test_prompts_of_other_lengths_and_the_empty_one_take_part(sd):
    given = materials()
    given["positive"][0][1][0] = torch.randn(1, 154, tiny.CONTEXT)
    losses = [
        train(sd, create(sd), run_name=str(part), prompt_dropout=part, empty=tiny.conditioning(9), **given).args[1]
        for part in (0.0, 0.5, 1.0)
    ]
    assert len({tuple(one["loss"]) for one in losses}) == 3
    # Without any prompt the prompts do not matter.
    other = {**given, "positive": [tiny.conditioning(5)]}
    last = train(sd, create(sd), run_name="x", prompt_dropout=1.0, empty=tiny.conditioning(9), **other).args[1]
    assert last["loss"] == pytest.approx(losses[2]["loss"], rel=1e-4)


def test_data_sets_come_as_lists_too(sd):
    given = materials()
    lists = {
        "latents": [{"samples": row[None]} for row in given["latents"][0]["samples"]],
        "images": [row[None] for row in given["images"][0]],
        "positive": [[prompt] for prompt in given["positive"][0]],
    }
    one = train(sd, create(sd), run_name="batch", **given)[0]
    assert equal(train(sd, create(sd), run_name="lists", **lists)[0], one)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_unets_in_half_precision_train(dtype):
    exact = train(tiny.model("SD"), create(tiny.model("SD"))).args[1]["loss"]
    model = tiny.model("SD", manual_cast=dtype)
    assert train(model, create(model), run_name=str(dtype)).args[1]["loss"] == pytest.approx(exact, rel=0.05)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_precisions(sd, precision):
    exact = train(sd, create(sd)).args[1]["loss"]
    assert train(sd, create(sd), precision=precision, run_name="x").args[1]["loss"] == pytest.approx(exact, rel=0.05)


def test_the_loss_can_be_plotted_by_comfyui(sd, monkeypatch):
    import comfy_extras.nodes_train as core

    seen = []
    monkeypatch.setattr(core.ui, "PreviewImage", lambda image, **_: seen.append(image) or image)
    core.LossGraphNode.execute(train(sd, create(sd)).args[1], "x")
    assert seen[0].ndim == 4


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"images": [tiny.hint(64, 64, 2)]}, TrainingError, "got 2 condition images for 3 latents"),
        ({"images": [tiny.hint(64, 72, 3)]}, TrainingError, "72×64 pixels; expected 64×64"),
        ({"images": [tiny.hint(64, 64), tiny.hint(72, 64, 2)]}, TrainingError, "one size for all"),
        ({"images": [tiny.hint(64, 64, 3) * 255]}, AdapterError, "values in"),
        ({"latents": [{"samples": torch.zeros(0, 4, 8, 8)}]}, TrainingError, "at least one latent"),
        ({"latents": []}, TrainingError, "latents: got none"),
        ({"latents": [{"samples": torch.zeros(3, 16, 8, 8)}]}, TrainingError, "pictures of 4 channels"),
        ({"positive": [tiny.conditioning(1) + tiny.conditioning(2)]}, TrainingError, "got 2 prompts for 3 latents"),
        ({"positive": [[]]}, TrainingError, "no prompts"),
        ({"positive": [tiny.conditioning(1, area=(8, 8, 0, 0))]}, TrainingError, "a prompt with area"),
        ({"run_name": "../up"}, CheckpointError, "run_name"),
        ({"run_name": ""}, CheckpointError, "run_name"),
        ({"prompt_dropout": 0.5}, TrainingError, "no empty prompt"),
        ({"learning_rate": float("nan")}, TrainingError, "learning_rate"),
    ],
    ids=str,
)  # fmt: skip
def test_bad_input_is_refused_before_anything_is_trained(sd, monkeypatch, values, error, message):
    from t2i_adapter_pack.training.loop import Trainer

    monkeypatch.setattr(Trainer, "advance", lambda self: pytest.fail("trained"))
    with pytest.raises(error, match=message):
        train(sd, create(sd), **values)


def test_adapters_of_another_family_and_models_with_adapters_are_refused(sd, sdxl):
    with pytest.raises(FamilyMismatchError):
        train(sdxl, create(sd))
    applied = tiny.apply(sd, tiny.adapter(tiny.adapter_config()), tiny.hint(64, 64))
    with pytest.raises(TrainingError, match="a MODEL with adapters applied"):
        train(applied, create(sd))


def test_models_on_another_schedule_are_refused(inside_comfyui):
    import comfy.model_base

    for kind in ("EDM", "V_PREDICTION_EDM", "FLOW"):
        model = tiny.model("SD")
        config = model.model.model_config
        model.model.model_sampling = comfy.model_base.model_sampling(config, comfy.model_base.ModelType[kind])
        with pytest.raises(TrainingError, match="on Stable Diffusion's schedule"):
            train(model, create(model))


def test_a_loss_of_nan_keeps_the_last_checkpoint(sd, output, monkeypatch):
    from t2i_adapter_pack.training import loop

    real, calls = loop.adapter_loss, []

    def bad(*args):
        calls.append(1)
        return real(*args) * (float("nan") if len(calls) == 4 else 1)

    adapter = create(sd)
    whole = train(sd, adapter, run_name="whole")[0]
    monkeypatch.setattr(loop, "adapter_loss", bad)
    with pytest.raises(TrainingError, match="step 4: got a loss of nan"):
        train(sd, adapter, save_every=2)
    monkeypatch.setattr(loop, "adapter_loss", real)
    assert equal(train(sd, adapter)[0], whole)


def test_a_folder_that_can_not_be_written_to_is_told_before_the_first_step(sd, output):
    (output / "t2i_adapters").write_text("a file in the folder's place")
    with pytest.raises(CheckpointError, match="a place to write to"):
        train(sd, create(sd))


# --- Save ------------------------------------------------------------------------------------------------------------


def save(adapter: Any, **values: Any) -> None:
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter

    with torch.inference_mode():
        SaveT2IAdapter.execute(adapter, **values)


def features(adapter: Any, image: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        return adapter.network(image)


@pytest.mark.parametrize("kind", ["SD", "SDXL"])
def test_a_saved_adapter_is_the_same_in_our_loader_core_and_diffusers(models, output, kind):
    import comfy.controlnet
    import comfy.utils
    from diffusers import T2IAdapter
    from t2i_adapter_pack.nodes import host

    adapter = train(models[kind], create(models[kind], size="base", kind="openpose"))[0]
    save(adapter, filename_prefix="here/mine")
    save(adapter, filename_prefix="here/mine", format="diffusers")
    file, folder = output / "here" / "mine_00001_.safetensors", output / "here" / "mine_00002_"
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "diffusion_pytorch_model.safetensors"]
    image = torch.rand(1, 3, 64, 128)
    expected = features(adapter, image)
    for path in (file, folder):
        loaded = host.wrap_adapter(path, path.name, None, bgr=None, dtype=None)
        assert all(torch.equal(a, b) for a, b in zip(features(loaded, image), expected, strict=True))
        assert loaded.about.condition.name == "openpose"
        # The published SDXL pose adapters take BGR; this one was trained with RGB.
        assert not loaded.bgr
        weights_file = path / "diffusion_pytorch_model.safetensors" if path.is_dir() else path
        control = comfy.controlnet.load_t2i_adapter(comfy.utils.load_torch_file(str(weights_file)))
        parts = control.t2i_model(image)
        # Coarse to fine: core takes them from the end.
        core = [one for part in ("middle", "input") for one in parts.get(part, []) if one is not None][::-1]
        assert all(torch.equal(a, b) for a, b in zip(core, expected, strict=True))
    with torch.no_grad():
        theirs = T2IAdapter.from_pretrained(str(folder))(image)
    assert all(torch.equal(a, b) for a, b in zip(theirs, expected, strict=True))


def test_core_loads_the_small_size_at_the_published_widths(output):
    """Its loader knows those widths alone, so this one network is large; there is no tiny one in it."""
    import comfy.controlnet
    import comfy.utils
    from t2i_adapter_pack.nodes.trained import new_adapter

    widths = (320, 640, 1280, 1280)
    for divisor, name in ((4, "small_00001_.safetensors"), (8, "tiny_00001_.safetensors")):
        inner = tuple(width // divisor for width in widths)
        config = tiny.adapter_config(kind="light", channels=widths, inner_channels=inner, num_res_blocks=4)
        adapter = new_adapter(config, "color", "SD1.x", 0)
        save(adapter, filename_prefix=name.partition("_")[0])
        tensors = comfy.utils.load_torch_file(str(output / name))
        if divisor == 8:
            with pytest.raises(RuntimeError):
                comfy.controlnet.load_t2i_adapter(tensors)
            continue
        image = torch.rand(1, 3, 64, 64)
        parts = comfy.controlnet.load_t2i_adapter(tensors).t2i_model(image)["input"]
        core = [level for level in parts if level is not None][::-1]
        assert all(torch.equal(a, b) for a, b in zip(core, features(adapter, image), strict=True))


def test_names_are_numbered_and_stay_in_the_output_folder(sd, output):
    adapter = create(sd)
    for _ in range(2):
        save(adapter, filename_prefix="a/b", dtype="fp16")
    assert sorted(path.name for path in (output / "a").iterdir()) == ["b_00001_.safetensors", "b_00002_.safetensors"]
    for prefix in ("../out", "", "/", "a/../../b", "..\\up", "/absolute/x"):
        with pytest.raises(CheckpointError, match="filename_prefix"):
            save(adapter, filename_prefix=prefix)


def test_layouts_that_can_not_hold_it_are_told_and_nothing_is_written(sd, output):
    with pytest.raises(AdapterError, match="Set format to original"):
        save(create(sd, size="tiny"), format="diffusers")
    assert [path for path in output.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("dtype", ["fp32", "fp16", "bf16"])
def test_precision_of_the_file(sd, output, dtype):
    from t2i_adapter_pack.adapter_models.loading import load
    from t2i_adapter_pack.nodes.load import DTYPES

    save(create(sd), filename_prefix="x", dtype=dtype)
    assert load(output / "x_00001_.safetensors")[1].dtype == str(DTYPES[dtype]).removeprefix("torch.")
