"""FID and KID: equal to clean-fid's own on folders of pictures, and refusals that say what to install or fetch."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from t2i_adapter_pack.cli.evaluation import quality
from t2i_adapter_pack.cli.evaluation.errors import EvaluationError
from t2i_adapter_pack.cli.evaluation.storing import write_picture
from t2i_adapter_pack.dev.benchmarks.fidelity import statistics as fidelity
from torch import nn

CPU = torch.device("cpu")
SIDE = 48


class Layers(nn.Module):
    """In place of Inception's layers: a few random features of a picture in [-1, 1], repeated to 2048."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 32, 23, stride=23)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.convolution(pictures)).mean(dim=(2, 3)).repeat(1, 64)


class Inception(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = Layers()

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        return self.layers(pictures)


def folder(path: Path, seed: int, count: int = 40) -> list[Path]:
    generator = torch.Generator().manual_seed(seed)
    files = [path / f"{number:03}.png" for number in range(count)]
    for file in files:
        coarse = torch.rand(1, 3, 4, 4, generator=generator) * (0.5 + 0.5 * seed)
        write_picture(file, nn.functional.interpolate(coarse, size=(SIDE, SIDE), mode="bicubic").clamp(0, 1), "")
    return files


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    file = tmp_path / "weights" / quality.INCEPTION
    file.parent.mkdir()
    torch.jit.script(Inception().eval()).save(str(file))
    return file


@pytest.mark.package("cleanfid")
def test_distances_are_those_of_clean_fid_on_the_same_folders(weights, tmp_path):
    from cleanfid import fid

    first, real = folder(tmp_path / "first", 0), folder(tmp_path / "real", 1)
    network = quality.load_inception(str(weights), tmp_path, CPU)

    def extract(pictures: torch.Tensor) -> torch.Tensor:
        # clean-fid's matrix root of 2048 features takes half a minute.
        return network.network(pictures)[:, :32]

    few = quality.InceptionNetwork(extract, CPU)
    found = quality.set_distances(few.features(first), few.features(real))
    folders = (str(tmp_path / "first"), str(tmp_path / "real"))
    wanted = fid.compare_folders(*folders, extract, "clean", device=CPU, verbose=False)
    assert found["FID"] == pytest.approx(wanted, rel=1e-6)
    np.random.seed(5)  # noqa: NPY002
    kid = fid.kernel_distance(few.features(first), few.features(real))
    assert found["KID"] == pytest.approx(kid, rel=1e-3)
    assert found["FID"] > 0.01
    assert network.features(first[:3]).shape == (3, 2048)
    same = quality.set_distances(few.features(real), few.features(real))
    assert abs(same["FID"]) < 1e-3 * found["FID"]


@pytest.mark.package("cleanfid")
def test_weights_are_fetched_once_when_asked(weights, tmp_path, monkeypatch):
    from cleanfid import downloads_helper

    monkeypatch.setattr(downloads_helper, "inception_url", weights.as_uri())
    for _ in range(2):
        quality.load_inception(quality.DOWNLOAD_INCEPTION, tmp_path / "new", CPU)
        monkeypatch.setattr(downloads_helper, "inception_url", "file:///nowhere")
    assert [path.name for path in (tmp_path / "new").iterdir()] == [quality.INCEPTION]
    with pytest.raises(EvaluationError, match="can't be fetched"):
        quality.load_inception(quality.DOWNLOAD_INCEPTION, tmp_path / "other", CPU)
    assert list((tmp_path / "other").iterdir()) == []


@pytest.mark.package("cleanfid")
def test_other_files_are_refused(tmp_path):
    for content in (None, b"rubbish"):
        file = tmp_path / quality.INCEPTION
        if content:
            file.write_bytes(content)
        with pytest.raises(EvaluationError, match=r"--inception download|fetch it again"):
            quality.load_inception(str(file), tmp_path, CPU)


def test_a_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cleanfid", None)
    monkeypatch.setitem(sys.modules, "cleanfid.inception_torchscript", None)
    with pytest.raises(EvaluationError, match="pip install clean-fid"):
        quality.load_inception("file", tmp_path, CPU)


@pytest.mark.package("cleanfid")
def test_the_fidelity_benchmark_computes_the_same_distance():
    generator = torch.Generator().manual_seed(2)
    first, second = (torch.randn(300, 16, generator=generator).double() * scale for scale in (1.0, 1.3))
    found = quality.set_distances(first.numpy(), second.numpy())["FID"]
    assert found == pytest.approx(float(fidelity.frechet(fidelity.moments(first), fidelity.moments(second))), rel=1e-9)
