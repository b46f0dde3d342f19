"""Line annotators built from ComfyUI's own layers, as in the nodes, give the same results."""

import gc

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
    """A host may keep weights in half precision; pictures are then cast to it."""
    import comfy.ops

    load, network, draw = NETWORKS[name]
    torch.manual_seed(0)
    content = network().state_dict()
    images = torch.rand(1, 3, 40, 56)
    half = load(content, operations=comfy.ops.manual_cast).to(torch.bfloat16)
    assert torch.allclose(draw(half, images), draw(load(content), images), atol=0.05)


def test_the_previous_network_of_a_node_is_freed_before_the_next_is_built(inside_comfyui):
    """Memory for two may not be there."""
    from t2i_adapter_pack.nodes.annotation.network_cache import Networks

    networks = Networks()
    owner = networks.owner("node")  # as an instance of the node's class keeps it
    networks.get("node", "first", lambda: torch.nn.Linear(2, 2))
    assert list(networks.loaded) == ["first"]
    left = []

    def build():
        gc.collect()
        left.extend(networks.loaded)
        return torch.nn.Linear(2, 2)

    networks.get("node", "second", build)
    assert left == []
    assert list(networks.loaded) == ["second"]
    del owner


def test_memory_is_kept_free_for_what_a_network_computes(inside_comfyui, monkeypatch):
    import comfy.model_management
    from t2i_adapter_pack.nodes import host

    asked = []
    monkeypatch.setattr(
        comfy.model_management, "load_models_gpu", lambda models, **values: asked.append((models, values))
    )
    patcher = host.wrap_network(torch.nn.Linear(2, 2))
    host.load_patcher(patcher, 12345)
    # A network of other layers than ComfyUI's can't be loaded in part.
    assert asked == [([patcher], {"memory_required": 12345, "force_full_load": True})]
