"""Network annotators on the real server: offered, run, kept while the graph has the node, then freed."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from t2i_adapter_pack.dev.tasks import client

pytestmark = pytest.mark.host


@pytest.fixture(scope="module")
def server(comfy_server, published) -> Any:
    """The server with PiDiNet's weights in models/annotators."""
    folder = Path(comfy_server.base, "models", "annotators")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table5_pidinet.pth").write_bytes(published["table5_pidinet.pth"].read_bytes())
    return comfy_server


def png() -> bytes:
    values = np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "PNG")
    return file.getvalue()


def workflow(class_type: str | None, **values: Any) -> dict[str, Any]:
    graph: dict[str, Any] = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "photo.png"}},
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2" if class_type else "1", 0]}},
    }
    if class_type:
        graph["2"] = {"class_type": class_type, "inputs": {"image": ["1", 0], "resolution": 0, **values}}
    return graph


def run(server: Any, graph: dict[str, Any]) -> client.Result:
    return client.run(server.url, graph, {"photo.png": png()})


def loads(server: Any) -> int:
    """The number of times that ComfyUI loaded PiDiNet."""
    log = server.log.read_text(encoding="utf-8", errors="replace")
    return len(re.findall("Requested to load PiDiNet", log))


def test_the_page_is_told_of_files_and_downloads(server):
    for node_id, options in (
        ("T2IAnnotateSketch", ["auto", "table5_pidinet.pth"]),
        ("T2IAnnotateSoftEdge", ["auto", "download: ControlNetHED.pth (29 MB)"]),
    ):
        info = server.get(f"/object_info/{node_id}")[node_id]
        assert info["input"]["required"]["weights"][1]["options"] == options


def test_a_network_stays_while_the_graph_has_its_node_and_goes_with_it(server):
    run(server, workflow("T2IAnnotateSketch", weights="auto", threshold=0.5))
    run(server, workflow("T2IAnnotateSketch", weights="auto", threshold=0.25))
    run(server, workflow("T2IAnnotateSketch", weights="download: table5_pidinet.pth (2.9 MB)", threshold=0.75))
    assert loads(server) == 1
    run(server, workflow(None))
    run(server, workflow("T2IAnnotateSketch", weights="table5_pidinet.pth", threshold=0.5))
    assert loads(server) == 2


def test_missing_weights_are_refused_in_our_words_before_anything_runs(server):
    for weights in ("auto", "ControlNetHED.pth"):
        with pytest.raises(client.WorkflowError, match=r"Choose 'download: ControlNetHED\.pth \(29 MB\)'") as caught:
            run(server, workflow("T2IAnnotateSoftEdge", weights=weights, threshold=0.0))
        assert "got a refusal" in str(caught.value)
