"""T2I Sketch, Soft Edge and Lineart, with random weights in the published layouts."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from ..annotators import others
from .file_server import Site, serve
from .published import picture

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def nodes(inside_comfyui) -> dict[str, Any]:
    from t2i_adapter_pack.nodes import NODES

    return {node.GET_SCHEMA().node_id: node for node in NODES}


def take_at_once(monkeypatch: Any, pixels: int) -> None:
    """Process batches in smaller parts than usual."""
    from t2i_adapter_pack.nodes.annotation import network_annotator, pictures

    monkeypatch.setattr(
        network_annotator, "in_parts", lambda planes, function, _: pictures.in_parts(planes, function, pixels)
    )


ANNOTATORS = ("T2IAnnotateSketch", "T2IAnnotateSoftEdge", "T2IAnnotateLineart")


@pytest.mark.parametrize("node_id", ANNOTATORS)
def test_lines_of_any_image_have_its_size_and_lie_in_range(nodes, weights, node_id):
    for image in (picture(), picture(33, 47, 3), picture(channels=4), picture(channels=1)):
        lines = nodes[node_id].execute(image)[0]
        assert lines.shape == (*image.shape[:3], 3)
        assert lines.dtype == torch.float32
        assert lines.min() >= 0
        assert lines.max() <= 1
        assert torch.equal(lines[..., 0], lines[..., 2])
        assert lines.std() > 0


def test_the_lines_are_those_of_the_published_weights(nodes, weights, published):
    image = picture(32, 48)
    theirs = others.pidinet()
    loaded = torch.load(published["table5_pidinet.pth"], weights_only=True)["state_dict"]
    theirs.load_state_dict({name.removeprefix("module."): tensor for name, tensor in loaded.items()})
    with torch.no_grad():
        expected = others.pidinet_lines(theirs, image.movedim(-1, 1)).movedim(1, -1)
    soft = nodes["T2IAnnotateSketch"].execute(image, threshold=0.0)[0]
    assert (soft[..., :1] - expected).abs().max() < 1e-4
    middle = float(soft.median())
    crisp = nodes["T2IAnnotateSketch"].execute(image, threshold=middle)[0]
    assert torch.equal(crisp, (soft > middle).float())


@pytest.mark.parametrize("node_id", ANNOTATORS)
def test_a_batch_is_its_pictures_one_by_one(nodes, weights, node_id, monkeypatch):
    take_at_once(monkeypatch, 2 * 24 * 32)
    images = picture(24, 32, 5)
    together = nodes[node_id].execute(images)[0]
    for index in range(5):
        alone = nodes[node_id].execute(images[index : index + 1])[0]
        assert (together[index] - alone[0]).abs().max() < 1e-5


def test_another_resolution_keeps_the_size_and_crisp_lines(nodes, weights):
    image = picture(40, 60)
    soft = nodes["T2IAnnotateSketch"].execute(image, resolution=24, threshold=0.0)[0]
    assert soft.shape == image.shape
    assert (soft - nodes["T2IAnnotateSketch"].execute(image, threshold=0.0)[0]).abs().max() > 1e-3
    crisp = nodes["T2IAnnotateSketch"].execute(image, resolution=24, threshold=float(soft.median()))[0]
    assert set(crisp.unique().tolist()) == {0.0, 1.0}


def test_coarse_lines_come_from_the_other_file(nodes, weights):
    node, image = nodes["T2IAnnotateLineart"], picture()
    fine, coarse = (node.execute(image, coarse=value)[0] for value in (False, True))
    assert (fine - coarse).abs().max() > 1e-3
    assert torch.equal(node.execute(image, weights="sk_model2.pth", coarse=True)[0], coarse)
    for name, value in (("sk_model.pth", True), ("sk_model2.pth", False), ("download: sk_model.pth (17 MB)", True)):
        with pytest.raises(ValueError, match="Choose auto in weights, or switch coarse"):
            node.execute(image, weights=name, coarse=value)
    (weights / "sk_model2.pth").unlink()
    with pytest.raises(ValueError, match=r"Choose 'download: sk_model2\.pth \(17 MB\)'"):
        node.execute(image, coarse=True)


# --- bad input comes first --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("node_id", ANNOTATORS)
@pytest.mark.parametrize(
    "image",
    [torch.zeros(0, 32, 32, 3), torch.full((1, 32, 32, 3), float("nan")), torch.zeros(1, 32, 32, 7), torch.zeros(8, 8)],
)
def test_bad_images_are_refused_before_any_file_is_looked_for(nodes, places, node_id, image):
    with pytest.raises(ValueError, match="image: got"):
        nodes[node_id].execute(image)


@pytest.mark.parametrize("node_id", ANNOTATORS)
def test_without_weights_nothing_is_downloaded_and_the_error_says_how_to_get_them(nodes, places, node_id):
    with pytest.raises(ValueError, match=r"got no such file.*Choose 'download: .*without weights"):
        nodes[node_id].execute(picture())
    assert "got no such file" in nodes[node_id].validate_inputs("auto")


@pytest.mark.parametrize("values", [{"resolution": -1}, {"threshold": -0.1}, {"threshold": 1.0}])
def test_bad_numbers_are_refused(nodes, places, values):
    with pytest.raises(ValueError, match=r"expected (a whole number from )?0"):
        nodes["T2IAnnotateSketch"].execute(picture(), **values)


def test_a_file_of_another_network_is_refused(nodes, weights):
    (weights / "table5_pidinet.pth").unlink()
    (weights / "table5_pidinet.pth").symlink_to(weights / "sk_model.pth")
    with pytest.raises(ValueError, match="PiDiNet"):
        nodes["T2IAnnotateSketch"].execute(picture())
    (weights / "mine.pth").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="damaged"):
        nodes["T2IAnnotateSketch"].execute(picture(), weights="mine.pth")


# --- loaded once, and no longer than the graph has the node -----------------------------------------------------------


class Loads:
    """Counts what is read."""

    def __init__(self, monkeypatch: Any) -> None:
        from t2i_adapter_pack.nodes.annotation import network_annotator

        self.names: list[str] = []
        read = network_annotator.read_weights

        def counted(path: Path, *more: Any) -> Any:
            self.names.append(path.name)
            return read(path, *more)

        monkeypatch.setattr(network_annotator, "read_weights", counted)


def run_in_graph(node: Any, node_id: str, *inputs: Any, **values: Any) -> torch.Tensor:
    """Run a node as ComfyUI does: with the id of the node that runs."""
    from comfy_execution.utils import CurrentNodeContext

    with CurrentNodeContext("prompt", node_id):
        return node.execute(*inputs, **values)[0]


def test_weights_are_read_once_while_the_graph_has_the_node(nodes, weights, monkeypatch):
    loads, node = Loads(monkeypatch), nodes["T2IAnnotateSketch"]
    instance = node()  # which ComfyUI keeps while the graph has the node
    first = run_in_graph(node, "7", picture())
    assert torch.equal(run_in_graph(node, "7", picture()), first)
    run_in_graph(node, "7", picture(seed=1), threshold=0.2)
    run_in_graph(node, "8", picture())
    assert loads.names == ["table5_pidinet.pth"]
    del instance
    gc.collect()
    run_in_graph(node, "7", picture())
    assert loads.names == ["table5_pidinet.pth"] * 2


def test_nothing_lives_without_a_node(nodes, weights):
    from t2i_adapter_pack.nodes.annotation.network_cache import LOADED_NETWORKS

    gc.collect()
    assert len(LOADED_NETWORKS.loaded) == 0
    nodes["T2IAnnotateSketch"].execute(picture())
    gc.collect()
    assert len(LOADED_NETWORKS.loaded) == len(LOADED_NETWORKS.owners) == 0


def test_a_node_keeps_one_network_and_a_replaced_file_is_read_again(nodes, weights, monkeypatch, published):
    from t2i_adapter_pack.nodes.annotation.network_cache import LOADED_NETWORKS

    loads, node = Loads(monkeypatch), nodes["T2IAnnotateLineart"]
    instance = node()
    fine = run_in_graph(node, "1", picture())
    run_in_graph(node, "1", picture(), coarse=True)
    gc.collect()
    assert len(LOADED_NETWORKS.loaded) == 1
    before = node.fingerprint_inputs(weights="auto")
    (weights / "sk_model.pth").unlink()
    (weights / "sk_model.pth").write_bytes(published["sk_model2.pth"].read_bytes())
    assert node.fingerprint_inputs(weights="auto") != before
    assert (run_in_graph(node, "1", picture()) - fine).abs().max() > 1e-3
    assert loads.names == ["sk_model.pth", "sk_model2.pth", "sk_model.pth"]
    del instance


def test_comfyui_counts_and_loads_the_network(nodes, weights):
    import comfy.model_management
    import comfy.ops
    from t2i_adapter_pack.nodes.annotation.network_cache import LOADED_NETWORKS

    node = nodes["T2IAnnotateSketch"]
    instance = node()
    expected = run_in_graph(node, "1", picture())
    patcher = next(iter(LOADED_NETWORKS.loaded.values()))
    assert any(entry.model is patcher for entry in comfy.model_management.current_loaded_models)
    layers = [layer for layer in patcher.model.modules() if next(layer.parameters(recurse=False), None) is not None]
    assert all(isinstance(layer, comfy.ops.CastWeightBiasOp) for layer in layers)
    comfy.model_management.unload_all_models()
    assert torch.equal(run_in_graph(node, "1", picture()), expected)
    patcher.load(torch.device("cpu"), lowvram_model_memory=patcher.model_size() // 3)
    assert torch.equal(run_in_graph(node, "1", picture()), expected)
    del instance


@pytest.mark.parametrize(("node_id", "known"), [("T2IAnnotateSketch", True), ("T2IAnnotateSoftEdge", False)])
def test_networks_with_layers_of_their_own_are_loaded_whole(nodes, weights, monkeypatch, node_id, known):
    """ComfyUI rebinds its patcher's class to one that moves layer by layer; HED has a weight outside of any layer."""
    import comfy.model_management
    import comfy.model_patcher
    from t2i_adapter_pack.nodes.annotation.network_cache import LOADED_NETWORKS

    class Rebound(comfy.model_patcher.ModelPatcher):
        pass

    asked: list[bool] = []
    load = comfy.model_management.load_models_gpu

    def watched(models: Any, *, force_full_load: bool = False, **values: Any) -> None:
        asked.append(force_full_load)
        load(models, force_full_load=force_full_load, **values)

    monkeypatch.setattr(comfy.model_patcher, "CoreModelPatcher", Rebound)
    monkeypatch.setattr(comfy.model_management, "load_models_gpu", watched)
    instance = nodes[node_id]()
    run_in_graph(nodes[node_id], "1", picture())
    assert [isinstance(patcher, Rebound) for patcher in LOADED_NETWORKS.loaded.values()] == [known]
    assert asked == [not known]
    del instance


def test_a_cancel_takes_effect_between_pictures(nodes, weights, monkeypatch):
    import comfy.model_management
    import comfy.utils

    told: list[tuple[int, int]] = []

    def hook(value: int, total: int, *_: Any, **__: Any) -> None:
        told.append((value, total))
        comfy.model_management.interrupt_current_processing()

    take_at_once(monkeypatch, 1)
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", hook)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        nodes["T2IAnnotateSketch"].execute(picture(16, 16, 100))
    assert told == [(1, 100)]


def test_only_a_download_entry_asks_the_web_and_what_it_sends_is_checked(nodes, places, monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    node = nodes["T2IAnnotateSoftEdge"]
    with serve(Site(b"no weights")) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        for entry in ("auto", "ControlNetHED.pth"):
            with pytest.raises(ValueError, match="got no such file"):
                node.execute(picture(), weights=entry)
        assert site.asked == []
        assert node.validate_inputs("download: ControlNetHED.pth (29 MB)") is True
        with pytest.raises(ValueError, match="has a file of 10 bytes where 29444406 were expected"):
            node.execute(picture(), weights="download: ControlNetHED.pth (29 MB)")
        assert {path for path, _ in site.asked} == {"/lllyasviel/Annotators/resolve/main/ControlNetHED.pth"}
    assert list((places / "models" / "annotators").iterdir()) == []
