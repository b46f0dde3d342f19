"""The code in docs/libraries.md runs, with tiny random models in place of those that it loads, and small pictures."""

import json
import re
import string
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image

from ..adapter_models import samples
from ..annotators import others

ROOT = Path(__file__).absolute().parents[2]
PAGE = (ROOT / "docs" / "libraries.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
# Sides of the page's pictures and latents, and those of the test: attention at full size takes minutes.
SIDES = {"512": "128", "64": "16"}
MODEL = "stable-diffusion-v1-5/stable-diffusion-v1-5"
WIDTHS = (8, 16, 32, 32)
TEXT_WIDTH = 16
CONFIG = samples.full(1, channels=WIDTHS)


def tokenizer(folder):
    """A tokenizer with single letters as vocabulary."""
    from transformers import CLIPTokenizer

    letters = string.ascii_lowercase
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer(str(folder / "vocab.json"), str(folder / "merges.txt"), model_max_length=77)


def save_model(folder):
    """A Stable Diffusion 1.5 of random weights, tiny in width, as diffusers saves it."""
    from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    words = tokenizer(folder)
    size = {"hidden_size": TEXT_WIDTH, "intermediate_size": TEXT_WIDTH, "num_hidden_layers": 1}
    ends = {"vocab_size": len(words), "bos_token_id": words.bos_token_id, "eos_token_id": words.eos_token_id}
    text = CLIPTextModel(CLIPTextConfig(**size, **ends, num_attention_heads=2, pad_token_id=words.pad_token_id))
    unet = UNet2DConditionModel(
        sample_size=16,
        block_out_channels=WIDTHS,
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
    )
    vae = AutoencoderKL(
        block_out_channels=(4,) * 4,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        norm_num_groups=2,
    )
    scheduler = DDIMScheduler(clip_sample=False)
    parts = (vae, text, words, unet, scheduler, None, None)
    StableDiffusionPipeline(*parts, requires_safety_checker=False).save_pretrained(folder / MODEL)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A folder with everything that the page loads."""
    folder = tmp_path_factory.mktemp("page")
    torch.manual_seed(0)
    save_model(folder)
    torch.save(samples.weights(CONFIG), folder / "t2iadapter_canny_sd15v2.pth")
    torch.save(others.pidinet().state_dict(), folder / "table5_pidinet.pth")
    pixels = numpy.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=numpy.uint8)
    Image.fromarray(pixels).resize((640, 480)).save(folder / "photo.png")
    return folder


@pytest.fixture(scope="module")
def ran(files):
    """The variables after running the page's code."""
    names = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(files)
        for block in BLOCKS:
            small = re.sub(r"\b(?:512|64)\b", lambda side: SIDES[side[0]], block)
            exec(compile(small, "docs/libraries.md", "exec"), names)
    return names


def diffusers_adapter(folder):
    """The same weights in diffusers' own class."""
    from diffusers import T2IAdapter

    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(samples.diffusers_config(CONFIG)))
    tensors = samples.named(samples.weights(CONFIG), CONFIG, "diffusers")
    samples.save(folder, tensors).rename(folder / "diffusion_pytorch_model.safetensors")
    return T2IAdapter.from_pretrained(str(folder))


def picture(pipe, hint, scale=1.0):
    made = pipe("a cat", image=hint, generator=torch.manual_seed(0), adapter_conditioning_scale=scale)
    return numpy.asarray(made.images[0]).astype(int)


def test_the_example_is_short():
    assert len([line for line in BLOCKS[0].splitlines() if line]) <= 15


@pytest.mark.parity
def test_the_picture_is_that_of_diffusers_own_adapter(ran, files, tmp_path):
    found = numpy.asarray(Image.open(files / "picture.png")).astype(int)
    hint, pipe = ran["hint"], ran["pipe"]
    assert found.shape == (128, 128, 3)
    without = picture(pipe, hint, 0.0)
    pipe.register_modules(adapter=diffusers_adapter(tmp_path / "theirs"))
    # Their adapter takes one channel, and prepares nothing.
    theirs = picture(pipe, hint[:, :1])
    assert abs(found - theirs).max() <= 1
    assert abs(found - without).max() > 8


def test_residuals_change_what_the_unet_says(ran):
    torch.manual_seed(0)
    latent = torch.randn(1, 4, 16, 16)
    with torch.no_grad():
        plain, moved = (
            ran["pipe"].unet(latent, 500, ran["text"], down_intrablock_additional_residuals=levels).sample
            for levels in (None, list(ran["levels"]))
        )
    assert [tuple(level.shape[-2:]) for level in ran["levels"]] == [(16, 16), (8, 8), (4, 4), (2, 2)]
    assert ran["noise"].shape == plain.shape
    assert (plain - moved).abs().max() > 1e-2


def test_the_loaded_annotator_draws(ran):
    assert ran["sketch"].key == "pidinet"
    assert ran["lines"].shape == (1, 3, 128, 128)


def test_the_page_lists_the_public_names():
    from t2i_adapter_pack import adapter_models, annotators

    code = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`\n]+)`", PAGE))))
    # What load_annotator returns is described, not named.
    assert {*adapter_models.__all__, *annotators.__all__} - code == {"LoadedAnnotator"}
