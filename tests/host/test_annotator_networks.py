"""The line annotators built from ComfyUI's own layers, as the nodes build them, compute the same."""

import pytest
import torch
from t2i_adapter_pack.annotators.networks import hed, lineart, pidinet

pytestmark = pytest.mark.host
NETWORKS = {
    "pidinet": (
        pidinet.load_pidinet,
        pidinet.PiDiNet,
        lambda network, images: pidinet.pidinet_edges(network, images, 0),
    ),
    "hed": (hed.load_hed, hed.HED, hed.hed_edges),
    "lineart": (lineart.load_lineart, lineart.Lineart, lineart.lineart_lines),
}


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("layers", ["disable_weight_init", "manual_cast"])
def test_comfyuis_layers_compute_the_same(comfyui, name, layers):
    import comfy.ops

    load, network, draw = NETWORKS[name]
    torch.manual_seed(0)
    content = network().state_dict()
    content = {key: torch.rand_like(tensor) - 0.5 if key == "norm" else tensor for key, tensor in content.items()}
    images = torch.rand(1, 3, 40, 56)
    expected = draw(load(content), images)
    found = draw(load(content, operations=getattr(comfy.ops, layers)), images)
    assert float(expected.std()) > 1e-3
    assert torch.allclose(found, expected, atol=1e-5)


@torch.inference_mode()
@pytest.mark.parametrize("name", NETWORKS)
def test_weights_of_half_the_size_are_cast_as_they_compute(comfyui, name):
    """A host may keep weights in half precision; the pictures then follow them."""
    import comfy.ops

    load, network, draw = NETWORKS[name]
    torch.manual_seed(0)
    content = network().state_dict()
    images = torch.rand(1, 3, 40, 56)
    half = load(content, operations=comfy.ops.manual_cast).to(torch.bfloat16)
    assert torch.allclose(draw(half, images), draw(load(content), images), atol=0.05)
