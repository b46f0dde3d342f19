"""The CLIP score against transformers' own, and refusals of folders without a model."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.cli.evaluation.errors import EvaluationError
from t2i_adapter_pack.cli.evaluation.inputs import EvaluationInput
from t2i_adapter_pack.cli.evaluation.judges import CLIP_SCORE, clip_judge

CPU = torch.device("cpu")
CAPTION = "a red circle " + "and a very long caption " * 30


@pytest.fixture(scope="module")
def clip(comfyui_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP with random weights, as transformers saves it."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    torch.manual_seed(0)
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    text = {**layers, "eos_token_id": 49407, "bos_token_id": 49406, "pad_token_id": 49407}
    vision = {**layers, "image_size": 32, "patch_size": 8}
    CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=16)).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}}
    words = CLIPTokenizer.from_pretrained(comfyui_path / "comfy" / "sd1_tokenizer")
    CLIPProcessor(CLIPImageProcessor(**sizes), words).save_pretrained(folder)
    return folder


def sample(caption: str) -> EvaluationInput:
    return EvaluationInput(0, "sample", caption, 0, True, "", Path())


def test_the_score_is_the_cosine_that_transformers_scales(clip):
    from PIL import Image
    from transformers import CLIPModel, CLIPProcessor

    judge = clip_judge(clip, CPU)
    pictures = (torch.rand(2, 3, 40, 56, generator=torch.Generator().manual_seed(1)) * 255).round() / 255
    model, processor = CLIPModel.from_pretrained(clip).eval(), CLIPProcessor.from_pretrained(clip)
    for picture in pictures.split(1):
        for caption in ("a red circle", CAPTION):
            image = Image.fromarray((picture[0].movedim(0, -1) * 255).round().byte().numpy())
            inputs = processor(text=[caption], images=image, return_tensors="pt", truncation=True, max_length=77)
            with torch.inference_mode():
                wanted = float(model(**inputs).logits_per_image / model.logit_scale.exp())
            found, one = judge.score(sample(caption), picture)[CLIP_SCORE]
            assert found == pytest.approx(wanted, abs=1e-5)
            assert one == 1.0


def test_folders_without_a_model_are_refused_with_the_files_to_fetch(clip, tmp_path):
    with pytest.raises(EvaluationError, match="hf download openai/clip-vit-large-patch14"):
        clip_judge(tmp_path, CPU)
    (tmp_path / "config.json").write_bytes((clip / "config.json").read_bytes())
    with pytest.raises(EvaluationError, match="The CLIP model can't be loaded"):
        clip_judge(tmp_path, CPU)
