"""The options that choose samples, from the command line to the adapter."""

from __future__ import annotations

import json

import pytest

from ..training import datasets

pytestmark = pytest.mark.host


def test_the_chosen_samples_are_counted_and_trained_on(arguments, pictures, tmp_path, caplog):
    from t2i_adapter_pack.cli.main import main

    for path in pictures.glob("*.txt"):
        path.unlink()
    words = ["--caption-from-name", "--min-size", "70", "--max-samples", "3", "--flip"]
    assert main(["train", *arguments(steps=1), *words]) == 0
    assert "3 of 5 samples are used." in caplog.text
    # 003.png has a side of 64 pixels.
    assert "6 examples: 0 with their own maps, 6 drawn by canny, 1 left out" in caplog.text
    assert "003: a picture of 64×256 pixels" in (tmp_path / "runs" / "run" / "skipped.txt").read_text()
    caplog.clear()
    assert main(["train", *arguments(steps=2), *words]) == 0
    assert "Resuming after step 1." in caplog.text
    assert main(["train", *arguments(steps=2), *words[:-1]]) == 1


def test_coco_s_captions_train(command, tmp_path, caplog):
    images = [{"id": number, "file_name": f"{number}.png"} for number in range(2)]
    annotations = [{"image_id": number % 2, "caption": f"caption {number}"} for number in range(6)]
    files = {f"val/{number}.png": datasets.png(seed=number) for number in range(2)}
    table = json.dumps({"images": images, "annotations": annotations}).encode()
    data = datasets.folder(tmp_path / "coco", {**files, "annotations/captions_val.json": table})
    assert command(data=data, steps=2, data_format="coco") == 0
    assert "2 examples: 0 with their own maps, 2 drawn by canny, 0 left out" in caplog.text


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--caption", "x", "--caption-from-name"], "--caption and --caption-from-name exclude each other."),
        (["--data-format", "coco"], "--data-format: got no table in the format coco"),
        (["--flip", "--condition", "openpose"], "Mirrored maps of openpose would swap left and right limbs."),
        (["--min-size", "1000"], "--data: got no sample that can be used (000: a picture of 128×128 pixels"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_choices_that_do_not_fit_are_told_before_anything_is_encoded(
    arguments, pictures, monkeypatch, caplog, words, message
):
    from t2i_adapter_pack.cli.encode import LoadedCheckpoint
    from t2i_adapter_pack.cli.main import main

    datasets.folder(pictures, {"000.cond.png": datasets.png()})
    monkeypatch.setattr(LoadedCheckpoint, "latents", lambda *_: pytest.fail("encoded"))
    assert main(["train", *arguments(), *words]) == 1
    assert message in caplog.text
