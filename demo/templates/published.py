"""The published files that the workflows name, with the addresses where their authors keep them."""

from ...annotators.catalogue import published_as
from .canvas import ModelFile

HUB = "https://huggingface.co"
ADAPTERS = f"{HUB}/TencentARC/T2I-Adapter/resolve/main/models"


def adapter(name: str, directory: str = "controlnet") -> ModelFile:
    """Return a file of TencentARC's collection for SD1.x."""
    return ModelFile(name, f"{ADAPTERS}/{name}", directory)


def annotator(name: str) -> ModelFile:
    """Return a file of the annotators' catalogue."""
    row = published_as(name)
    if row is None:
        raise KeyError(f"{name}: got no such annotator; expected one of the catalogue.")
    return ModelFile(row.file, row.addresses[0], "annotators")


SD15 = ModelFile(
    "v1-5-pruned-emaonly-fp16.safetensors",
    f"{HUB}/Comfy-Org/stable-diffusion-v1-5-archive/resolve/main/v1-5-pruned-emaonly-fp16.safetensors",
    "checkpoints",
)
SDXL = ModelFile(
    "sd_xl_base_1.0.safetensors",
    f"{HUB}/stabilityai/stable-diffusion-xl-base-1.0/resolve/main/sd_xl_base_1.0.safetensors",
    "checkpoints",
)
SKETCH = adapter("t2iadapter_sketch_sd15v2.pth")
CANNY = adapter("t2iadapter_canny_sd15v2.pth")
DEPTH = adapter("t2iadapter_depth_sd15v2.pth")
COLOUR = adapter("t2iadapter_color_sd14v1.pth")
SEGMENTATION = adapter("t2iadapter_seg_sd14v1.pth")
POSE = adapter("t2iadapter_openpose_sd14v1.pth")
STYLE = adapter("t2iadapter_style_sd14v1.pth", "style_models")
COADAPTER_SKETCH = adapter("coadapter-sketch-sd15v1.pth")
COADAPTER_COLOUR = adapter("coadapter-color-sd15v1.pth")
FUSER = adapter("coadapter-fuser-sd15v1.pth")
# In a folder for diffusers there: ComfyUI Manager saves it under this name too.
LINEART = ModelFile(
    "t2i-adapter-lineart-sdxl-1.0.fp16.safetensors",
    f"{HUB}/TencentARC/t2i-adapter-lineart-sdxl-1.0/resolve/main/diffusion_pytorch_model.fp16.safetensors",
    "controlnet",
)
CLIP_VISION = ModelFile(
    "clip-vit-large-patch14.safetensors",
    f"{HUB}/openai/clip-vit-large-patch14/resolve/main/model.safetensors",
    "clip_vision",
)
DEPTH_NETWORK = annotator("depth-anything-v2-small.safetensors")
POSE_NETWORK = annotator("vitpose-base-simple.safetensors")
LINEART_NETWORK = annotator("sk_model.pth")
