"""A separate server: leftovers of other tests in its memory would distort the measurements."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import ProxyHandler, Request, build_opener

import psutil
import pytest
from t2i_adapter_miniature import scenes
from t2i_adapter_pack.dev.demo import cases
from t2i_adapter_pack.dev.tasks import base_directory, server

from ..adapter_models import samples

WIDTHS = (32, 64, 128, 128)  # of the miniature's UNet
# Results of nodes that ComfyUI keeps, pictures among them: of about a dozen prompts. By default it would depend on how
# much memory other programs leave.
KEPT = 100
# Adapters of other layouts beside the miniature's own three: their weights are random, which does not matter here.
OTHERS = {
    "other-light": (samples.light(3, channels=WIDTHS), "original"),
    "other-full": (samples.full(1, channels=WIDTHS), "diffusers"),
}


class LongServer(server.ComfyServer):
    """A server whose memory can be read, and whose work can be cancelled."""

    def resident(self) -> int:
        """Return the bytes of memory that it takes."""
        assert self.process is not None
        return int(psutil.Process(self.process.pid).memory_info().rss)

    def held(self) -> dict[str, int]:
        """Return what else it holds: threads, and descriptors of files, pipes and connections."""
        assert self.process is not None
        process = psutil.Process(self.process.pid)
        return {
            "threads": process.num_threads(),
            "descriptors": process.num_handles() if os.name == "nt" else process.num_fds(),
        }

    def post(self, path: str, **content: Any) -> None:
        """Send it something."""
        headers = {"Content-Type": "application/json"}
        request = Request(self.url + path, data=json.dumps(content).encode(), headers=headers)
        build_opener(ProxyHandler({})).open(request, timeout=30).close()


@pytest.fixture(scope="module")
def long_server(comfyui_path, tmp_path_factory) -> Iterator[LongServer]:
    """A fresh server with a probe in it."""
    base = base_directory.prepare(tmp_path_factory.mktemp("long") / "base", comfyui_path)
    shutil.copytree(Path(__file__).parent / "probe", base / "custom_nodes" / "probe")
    for name, (config, naming) in OTHERS.items():
        tensors = samples.named(samples.weights(config), config, naming)
        samples.save(base / "models" / "controlnet", tensors, name=name)
    arguments = [*server.device_arguments(), "--cache-lru", str(KEPT)]
    with LongServer(comfyui_path, base, arguments, server.ONE_THREAD) as running:
        yield running


def sketch(seed: int, size: int = scenes.SIZE) -> bytes:
    """Return a sketch that no other seed gives, as a PNG file."""
    import torch

    (case,) = cases.from_scenes(scenes.draw_scenes(torch.tensor([seed])), size)
    return case.png()
