"""The evaluate command in the real ComfyUI, on held-out scenes of the miniature."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_miniature import measure
from t2i_adapter_pack.annotators import segmentation
from t2i_adapter_pack.cli.evaluation import statistics
from t2i_adapter_pack.cli.evaluation.storing import read_planes
from t2i_adapter_pack.training.distributed import Processes
from torch.nn import functional

from .held_out import scenes_folder, weights

pytestmark = pytest.mark.host
COUNT = 3


@pytest.fixture
def evaluate(miniature, tmp_path, comfyui_path, monkeypatch):
    """The command in this process; returns its exit status."""
    from t2i_adapter_pack.cli.main import main

    def run(kind: str = "color", **changes: Any) -> int:
        data = tmp_path / kind
        if not data.is_dir():
            scenes_folder(data, kind, COUNT)
        values = {
            "checkpoint": miniature, "adapter": weights(kind), "data": data, "resolution": 128, "steps": 6, "cfg": 3,
            "sampler": "dpmpp_2m", "scheduler": "normal", "output": tmp_path / "out", "name": "run",
            "comfyui": comfyui_path, **{name.replace("_", "-"): value for name, value in changes.items()},
        }  # fmt: skip
        return main(["evaluate", *(text for name, value in values.items() if value is not None
                                   for text in (f"--{name}", str(value)))])  # fmt: skip

    return run


def report(tmp_path: Path, name: str = "run") -> dict[str, Any]:
    return json.loads((tmp_path / "out" / name / "report.json").read_text())


def drawn(tmp_path: Path, label: str, name: str = "run") -> list[Path]:
    return sorted((tmp_path / "out" / name / "pictures").glob(f"{label}-*/*.png"))


def forbid_sampling(monkeypatch) -> list[int]:
    """Count the pictures that are sampled from now on."""
    from t2i_adapter_pack.nodes import host

    made, sample = [], host.sample_picture
    monkeypatch.setattr(host, "sample_picture", lambda *values: made.append(1) or sample(*values))
    return made


@pytest.mark.slow
def test_palettes_are_measured_as_the_fidelity_benchmark_does(evaluate, tmp_path, monkeypatch):
    from t2i_adapter_pack.cli.main import main

    assert evaluate() == 0
    rows = report(tmp_path)["rows"]
    scenes = measure.held_out(COUNT)
    for row, label in (("no adapter", "no-adapter"), ("t2iadapter_color_miniature",) * 2):
        pictures = torch.cat([read_planes(file) for file in drawn(tmp_path, label)]).movedim(1, -1)
        wanted = statistics.mean_of(measure.palette_l1(pictures, scenes))
        # The maps went through a file of bytes.
        found = [rows[row]["palette L1"][name] for name in ("value", "low", "high")]
        assert found == pytest.approx([wanted.value, wanted.low, wanted.high], abs=1 / 255)
    values = [rows[name]["Delta E"]["value"] for name in rows]
    assert values[0] < values[1] < values[3] < values[2]
    page = (tmp_path / "out" / "run" / "report.md").read_text()
    assert f"| t2iadapter_color_miniature | {values[3]:.2f} [" in page
    assert "The CLIP score is not measured" in page
    assert {path.name for path in (tmp_path / "out" / "run").glob("*.jpg")} == {"fixed.jpg", "worst.jpg"}

    made = forbid_sampling(monkeypatch)
    assert main(["evaluate", "--settings", str(tmp_path / "out" / "run" / "settings.toml")]) == 0
    assert made == []
    assert report(tmp_path)["rows"] == rows


@pytest.mark.slow
def test_missing_and_damaged_pictures_alone_are_made_again(evaluate, tmp_path, monkeypatch):
    assert evaluate(steps=2, samples=2) == 0
    before = report(tmp_path)
    missing, damaged = (drawn(tmp_path, label)[0] for label in ("no-adapter", "t2iadapter_color_miniature"))
    content = [path.read_bytes() for path in (missing, damaged)]
    missing.unlink()
    damaged.write_bytes(content[1][:300])
    made = forbid_sampling(monkeypatch)
    assert evaluate(steps=2, samples=2) == 0
    assert len(made) == 2
    assert [path.read_bytes() for path in (missing, damaged)] == content
    assert report(tmp_path) == before
    # Other settings have pictures of their own; a changed map costs its own pictures.
    assert evaluate(steps=1, samples=2) == 0
    assert len(made) == 6
    changed = tmp_path / "color" / "conditions" / "001.png"
    original = changed.read_bytes()
    changed.write_bytes(changed.with_name("002.png").read_bytes())
    assert evaluate(steps=1, samples=2) == 0
    assert len(made) == 8
    changed.write_bytes(original)
    assert evaluate(steps=1, samples=2) == 0
    assert len(made) == 8
    assert evaluate(steps=1, samples=3) == 0
    assert len(made) == 10


def test_pictures_are_those_of_a_workflow(evaluate, miniature, tmp_path):
    import comfy.sd

    import nodes

    assert evaluate("sketch", annotator="canny", steps=2, samples=2, seed=7) == 0
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter
    from t2i_adapter_pack.nodes.loading import adapters

    model, clip, vae, *_ = comfy.sd.load_checkpoint_guess_config(
        str(weights("sketch").parent / "miniature.safetensors")
    )
    adapter = adapters.wrap_adapter(weights("sketch"), "sketch", None, bgr=None, dtype=None)
    inputs = next((tmp_path / "out" / "run").glob("inputs-*"))
    hint = read_planes(inputs / "maps" / "000001.png").movedim(1, -1)
    encode = nodes.CLIPTextEncode().encode
    prompts = [encode(clip, text)[0] for text in ((tmp_path / "sketch" / "001.txt").read_text(), "")]
    with torch.inference_mode():
        patched = ApplyT2IAdapter.execute(model, adapter, hint)[0]
        latent = nodes.EmptyLatentImage().generate(128, 128)[0]
        sampled = nodes.KSampler().sample(patched, 8, 2, 3.0, "dpmpp_2m", "normal", *prompts, latent)[0]
        wanted = nodes.VAEDecode().decode(vae, sampled)[0]
    found = read_planes(drawn(tmp_path, "t2iadapter_sketch_miniature")[1])
    assert torch.equal((wanted[0].cpu().clamp(0, 1) * 255).round(), (found[0].movedim(0, -1) * 255).round())


@pytest.mark.slow
def test_processes_share_the_pictures(evaluate, tmp_path, monkeypatch):
    from t2i_adapter_pack.cli import main

    assert evaluate("sketch", annotator="canny", steps=1) == 0
    for index in (1, 0):
        monkeypatch.setattr(main, "join", lambda cpu, index=index: Processes(index, 2))
        assert evaluate("sketch", annotator="canny", steps=1, name="two") == 0
        assert len(drawn(tmp_path, "no-adapter", "two")) == (1 if index else COUNT)
        assert (tmp_path / "out" / "two" / "report.md").is_file() is (index == 0)
    assert report(tmp_path)["rows"] == report(tmp_path, "two")["rows"]


def save_control_net(path: Path, checkpoint: Path) -> Path:
    """A ControlNet of the miniature's UNet with random weights."""
    import comfy.cldm.cldm
    import comfy.ops
    import comfy.sd

    from ..host.tiny import randomise

    model = comfy.sd.load_checkpoint_guess_config(str(checkpoint))[0]
    config = {**model.model.model_config.unet_config, "hint_channels": 3, "dtype": torch.float32}
    config.pop("transformer_depth_output")
    network = comfy.cldm.cldm.ControlNet(operations=comfy.ops.disable_weight_init, device="cpu", **config)
    randomise(network, 1)
    save_file({f"control_model.{name}": weight for name, weight in network.state_dict().items()}, path)
    return path


@pytest.mark.slow
def test_adapters_and_control_nets_are_compared_in_one_table(evaluate, miniature, tmp_path, caplog):
    control_net = save_control_net(tmp_path / "control.safetensors", miniature)
    # The maps are outlines, which canny draws without weights.
    assert evaluate("sketch", condition="canny", steps=2, samples=2, compare=control_net) == 0
    assert "t2iadapter_sketch_miniature.safetensors is an adapter for sketch, and the maps are canny." in caplog.text
    found = report(tmp_path)
    assert list(found["rows"]) == [
        "real pictures", "real, through the VAE", "no adapter", "t2iadapter_sketch_miniature", "control",
    ]  # fmt: skip
    assert list(found["differences"]) == ["no adapter", "control"]
    first, other = (found["rows"][name]["recall"]["value"] for name in ("t2iadapter_sketch_miniature", "control"))
    assert found["differences"]["control"]["recall"]["value"] == pytest.approx(first - other)
    same = [path.read_bytes() for label in ("no-adapter", "control") for path in drawn(tmp_path, label)]
    assert len(set(same)) == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sampler": "none"}, "--sampler: got 'none'; expected one of euler"),
        ({"adapter": "nothing.safetensors"}, "--adapter or --compare, nothing.safetensors: got nothing there"),
        ({"adapter": __file__, "condition": "color"}, "test_evaluate.py: got "),
        ({"clip_model": "nowhere"}, "hf download openai/clip-vit-large-patch14"),
        ({"inception": "nothing.pt"}, "--inception"),
        ({"annotator": "sketch", "condition": "sketch"}, "table5_pidinet.pth"),
        ({"resolution": 100}, "--resolution: got 100; expected a multiple of 64"),
        ({"name": "a/b"}, "--name: got 'a/b'"),
    ],
    ids=str,
)
def test_bad_input_is_told_before_any_picture_is_made(evaluate, monkeypatch, caplog, changes, message):
    monkeypatch.setenv("HF_HOME", "/nowhere")
    made = forbid_sampling(monkeypatch)
    assert evaluate(**changes) == 1
    assert message in caplog.text
    assert "Traceback" not in caplog.text
    assert made == []


def shapes_of(picture: torch.Tensor) -> torch.Tensor:
    """Annotate a picture of the miniature: the class of each shape, by its outline; (1, 3, H, W)."""
    planes = functional.adaptive_avg_pool2d(picture, 64)
    shown = measure.nearest(planes.movedim(1, -1))
    spectrum = torch.fft.rfft2(measure._templates()).conj()
    background = shown[0, [0, 0, -1, -1], [0, -1, 0, -1]].mode().values
    labels = torch.zeros_like(shown)
    for colour in shown.unique():
        patch = shown[0] == colour
        if colour != background and patch.sum() > 16:
            kind, _ = measure._best_kind(patch.float(), torch.zeros(64, 64), spectrum)
            labels[0][patch] = kind + 1
    return functional.interpolate(segmentation.paint(labels), scale_factor=2.0)


@pytest.mark.slow
def test_segmentations_are_measured_by_class(evaluate, tmp_path, monkeypatch, caplog):
    from t2i_adapter_pack.cli.evaluation import begin

    (tmp_path / "out").mkdir()
    scenes_folder(tmp_path / "seg", "seg", 5)
    (tmp_path / "seg" / "004.png").write_bytes(b"rubbish")
    (tmp_path / "seg" / "stray.txt").write_text("no picture")
    annotator = mock.Mock(side_effect=shapes_of, weights=None, preset=mock.Mock(means="shapes", resolution=0))
    monkeypatch.setattr(begin, "run_preset", lambda *_: annotator)
    assert evaluate("seg", steps=10) == 0
    found = report(tmp_path)
    values = [row["mIoU"]["value"] for row in found["rows"].values()]
    assert values[0] > 0.9
    assert values[0] >= values[1] > values[3] > values[2] + 0.2
    assert found["samples"] == 4
    assert sorted(line.partition(":")[0] for line in found["left_out"]) == ["004", "stray"]
    assert "2 left out" in caplog.text
    classes = found["classes"]
    assert set(classes) <= {"person", "bicycle", "car", "motorcycle"}
    assert sum(row["real pictures"]["value"] for row in classes.values()) / len(classes) == pytest.approx(values[0])
    page = (tmp_path / "out" / "run" / "report.md").read_text()
    assert "## Classes" in page
    assert all(f"| {name} | " in page for name in classes)


@pytest.mark.parametrize(("better", "worst"), [(1, [2, 0]), (-1, [3, 0])])
def test_the_worst_pictures_come_first_and_undefined_ones_never(comfyui, better, worst):
    from t2i_adapter_pack.cli.evaluation import controls, results

    parts = [{"F1": [value, one]} for value, one in ((0.5, 1.0), (0.0, 0.0), (0.1, 1.0), (0.9, 1.0))]
    row = results.Scored(None, parts)
    assert results.worst_inputs(row, controls.FigureColumn("F1", better), 2) == worst
