"""Train T2I-Adapter inside ComfyUI: which weights learn, resuming, and refusals."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from t2i_adapter_pack.training.errors import CheckpointError, TrainingError

from . import tiny
from .lessons import create, equal, materials, train, weights

pytestmark = [pytest.mark.host, pytest.mark.usefixtures("output")]


@pytest.mark.parametrize("kind", ["SD", "SDXL", "no middle"])
def test_the_loss_falls_and_only_the_adapter_changes(kind, monkeypatch):
    from t2i_adapter_pack.training import in_memory_dataset as data

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
    from t2i_adapter_pack.training.in_memory_dataset import training_set

    model = tiny.model("SD")
    kind = {"eps": comfy.model_base.ModelType.EPS, "v": comfy.model_base.ModelType.V_PREDICTION}[prediction]
    model.model.model_sampling = comfy.model_base.model_sampling(model.model.model_config, kind)
    adapter, given = create(model), materials()
    loss = train(model, adapter, steps=1, batch_size=3).args[1]["loss"][0]

    latents = given["latents"][0]["samples"].clone() * 0.18215
    context = torch.cat([embedding for embedding, _ in given["positive"][0]])
    data = training_set(latents, given["images"][0].movedim(-1, 1), {"context": context}, adapter.network.config)
    from t2i_adapter_pack.training.in_memory_dataset import Draw

    batch = data.batch(Draw(3, seed=3), 0)
    alphas = (1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2).cumprod(0).float()
    keep = alphas[batch.timesteps].sqrt().view(-1, 1, 1, 1)
    lose = (1 - alphas[batch.timesteps]).sqrt().view(-1, 1, 1, 1)
    features = adapter.network(batch.images)
    # Core pops what it adds after block i from the end of this list.
    control = [feature for level in features for feature in (None, None, level)]
    with torch.no_grad():
        out = model.model.diffusion_model(
            keep * batch.latents + lose * batch.noise,
            batch.timesteps.float(),
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
    from t2i_adapter_pack.adapter_models.loading import load_adapter_file

    adapter = create(sd, kind="canny")
    trained = train(sd, adapter, save_every=2)[0]
    files = sorted(path.name for path in (output / "t2i_adapters" / "run").iterdir())
    steps = ["run_step_00000002.safetensors", "run_step_00000004.safetensors"]
    assert files == sorted([*steps, "settings.json", "log.jsonl", "training_state.pt"])
    network, info = load_adapter_file(output / "t2i_adapters" / "run" / steps[1])
    assert all(torch.equal(tensor, weights(trained)[name]) for name, tensor in network.state_dict().items())
    assert info.condition.name == "canny"
    facts = json.loads(info.metadata["t2i_adapter.training"])
    assert (facts["steps"], facts["seed"], facts["timesteps"]) == (4, 3, "cubic")


def test_models_loaded_in_inference_mode_can_be_trained_for():
    """Inference tensors, as from ComfyUI's loaders; autograd refuses them."""
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


def test_what_sdxl_takes_besides_the_prompt_takes_part(inside_comfyui):
    """Its pooled prompt and sizes, as assembled by ComfyUI's SDXL class."""
    import comfy.model_base

    model = tiny.model("SDXL", num_classes="sequential", adm_in_channels=16 + 6 * 256)
    model.model.__class__ = comfy.model_base.SDXL
    model.model.embedder, model.model.noise_augmentor = comfy.model_base.Timestep(256), None

    def lesson(run_name, **values):
        prompts = [one for index in range(3) for one in tiny.conditioning(index, **values)]
        return train(model, create(model), run_name=run_name, positive=[prompts]).args[1]["loss"]

    pooled = torch.ones(1, 16)
    runs = [lesson("a", pooled_output=pooled), lesson("b", pooled_output=-pooled)]
    runs.append(lesson("c", pooled_output=pooled, width=512, height=512))
    assert len({tuple(run) for run in runs}) == 3
    # The size of the pictures is what it takes by itself.
    assert lesson("d", pooled_output=pooled, width=64, height=64) == runs[0]
    with pytest.raises(TrainingError, match="prompts without 'pooled_output'"):
        lesson("e")


def test_inpainting_models_train(inside_comfyui):
    """Their UNet takes a mask and a masked picture besides; all of the picture is to be painted."""
    model = tiny.model("SD", in_channels=9)
    model.model.set_inpaint()
    losses = train(model, create(model), steps=2).args[1]["loss"]
    assert len(losses) == 2
    assert all(0.1 < loss < 100 for loss in losses)


def test_loras_of_the_model_count_and_are_taken_back(inside_comfyui):
    """A weight patch, as LoRAs are: it acts while training, and the model's own weights come back."""
    model, plain = tiny.model("SD"), tiny.model("SD")
    name = "diffusion_model.input_blocks.0.0.weight"
    own = model.model.state_dict()[name].clone()
    patched = model.clone()
    patched.add_patches({name: (torch.full_like(own, 0.1),)})
    losses = [train(one, create(one), run_name=str(at)).args[1] for at, one in enumerate((plain, model, patched))]
    assert losses[0] == losses[1]
    assert losses[2] != losses[0]
    patched.unpatch_model()
    assert torch.equal(model.model.state_dict()[name], own)


def test_a_run_is_not_continued_with_another_checkpoint_or_other_loras(inside_comfyui):
    """With the same shapes, so that only the weights differ."""
    model, other = tiny.model("SD"), tiny.model("SD", seed=1)
    adapter = create(model)
    train(model, adapter, steps=2)
    name = "diffusion_model.output_blocks.3.1.transformer_blocks.0.attn2.to_k.weight"
    weight = model.model.state_dict()[name]
    low = torch.linspace(1, 2, weight.shape[0])[:, None] * torch.linspace(1, 2, weight.shape[1])[None]
    patched = model.clone()
    patched.add_patches({name: (1e-3 * low,)})
    for changed in (other, patched):
        with pytest.raises(CheckpointError, match="now another diffusion model, or other LoRAs in it"):
            train(changed, adapter)
    same = tiny.model("SD")
    assert len(train(same, adapter).args[1]["loss"]) == 4


@pytest.mark.parametrize("made_for", ["SD1.x", "SD2.x"])
@pytest.mark.parametrize("width", [768, 1024])
def test_an_adapter_for_the_other_version_is_warned_of_and_becomes_one_for_this(made_for, width, caplog):
    """SD1.x and SD2.x have equal shapes but for the prompt."""
    from t2i_adapter_pack.nodes.sampling.base_model import version_of

    model = tiny.model("SD", context_dim=width)
    adapter = create(model)
    adapter.info = replace(adapter.info, name="theirs", family=made_for)
    prompts = [[torch.randn(1, 77, width, generator=torch.Generator().manual_seed(1)), {}]]
    caplog.set_level("WARNING")
    trained = train(model, adapter, steps=1, positive=[prompts])[0]
    version = version_of(model)
    expected = [] if made_for == version else [f"theirs is made for {made_for}, and this MODEL is {version}"]
    assert [record.message.split(": it")[0] for record in caplog.records if "made for" in record.message] == expected
    assert trained.info.family == version
    assert adapter.info.family == made_for


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
