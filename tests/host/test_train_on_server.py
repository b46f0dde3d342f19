"""Training as users run it: one workflow on the real server, from pictures to a picture with the new adapter."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from t2i_adapter_pack.adapter_models.loading import load_adapter_file
from t2i_adapter_pack.dev.tasks import client

pytestmark = pytest.mark.host
SETTINGS = {
    "steps": 3, "batch_size": 2, "learning_rate": 1e-4, "timesteps": "cubic", "prompt_dropout": 0.5,
    "condition_dropout": 0.1, "ema": 0.9, "gradient_accumulation": 1, "precision": "fp32", "seed": 1, "save_every": 2,
    "run_name": "lesson",
}  # fmt: skip


def png(seed: int) -> bytes:
    values = np.random.default_rng(seed).integers(0, 255, (128, 128, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def workflow(**settings: Any) -> dict[str, Any]:
    nodes = {
        "model": ("CheckpointLoaderSimple", {"ckpt_name": "miniature.safetensors"}),
        "text": ("CLIPTextEncode", {"text": "a red circle", "clip": ["model", 1]}),
        "none": ("CLIPTextEncode", {"text": "", "clip": ["model", 1]}),
        "one": ("LoadImage", {"image": "one.png"}),
        "two": ("LoadImage", {"image": "two.png"}),
        "both": ("ImageBatch", {"image1": ["one", 0], "image2": ["two", 0]}),
        "lines": ("T2IAnnotateCanny", {"image": ["both", 0], "resolution": 0, "low_threshold": 100.0,
                                       "high_threshold": 200.0, "l2_gradient": False}),
        "latents": ("VAEEncode", {"pixels": ["both", 0], "vae": ["model", 2]}),
        "new": ("CreateT2IAdapter", {"model": ["model", 0], "size": "tiny", "image_channels": "1", "kind": "canny",
                                     "seed": 0}),
        "train": ("TrainT2IAdapter", {"model": ["model", 0], "adapter": ["new", 0], "latents": ["latents", 0],
                                      "images": ["lines", 0], "positive": ["text", 0], "empty": ["none", 0],
                                      **SETTINGS, **settings}),
        "save": ("SaveT2IAdapter", {"adapter": ["train", 0], "filename_prefix": "lesson/canny", "format": "original",
                                    "dtype": "fp16"}),
        "graph": ("LossGraphNode", {"loss": ["train", 1], "filename_prefix": "loss"}),
        "apply": ("ApplyT2IAdapter", {"model": ["model", 0], "adapter": ["train", 0], "image": ["lines", 0],
                                      "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "fit": "crop"}),
        "draw": ("KSampler", {"model": ["apply", 0], "seed": 1, "steps": 2, "cfg": 2.0, "sampler_name": "euler",
                              "scheduler": "normal", "positive": ["text", 0], "negative": ["none", 0],
                              "latent_image": ["latents", 0], "denoise": 1.0}),
        "decode": ("VAEDecode", {"samples": ["draw", 0], "vae": ["model", 2]}),
        "picture": ("SaveImage", {"images": ["decode", 0], "filename_prefix": "trained"}),
    }  # fmt: skip
    return {name: {"class_type": kind, "inputs": inputs} for name, (kind, inputs) in nodes.items()}


def run(server: Any, **settings: Any) -> client.Result:
    return client.run(server.url, workflow(**settings), {"one.png": png(1), "two.png": png(2)})


def test_from_pictures_to_a_picture(comfy_server):
    run(comfy_server)
    output = Path(comfy_server.base, "output")
    network, info = load_adapter_file(output / "lesson" / "canny_00001_.safetensors")
    assert (info.condition.name, info.dtype) == ("canny", "float16")
    assert network.config.image_channels == 1
    assert list(output.glob("trained_*.png"))
    files = {path.name for path in (output / "t2i_adapters" / "lesson").iterdir()}
    steps = {"lesson_step_00000002.safetensors", "lesson_step_00000003.safetensors"}
    assert files == {*steps, "settings.json", "log.jsonl", "training_state.pt"}


def test_a_longer_run_goes_on_and_another_is_refused_in_our_words(comfy_server):
    run(comfy_server, run_name="again")
    run(comfy_server, run_name="again", steps=4)
    assert Path(comfy_server.base, "output", "t2i_adapters", "again", "again_step_00000004.safetensors").is_file()
    with pytest.raises(client.WorkflowError, match="a run that began differently; now seed 2"):
        run(comfy_server, run_name="again", seed=2)


def test_the_log_of_a_start_names_no_changed_interface(comfy_server):
    log = comfy_server.log.read_text(encoding="utf-8", errors="replace")
    assert "ComfyUI-T2I-Adapter" in log
    assert "this ComfyUI has changed" not in log
