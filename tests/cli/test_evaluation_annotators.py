"""The measure of each condition with its own annotator: published networks with tiny configurations."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from t2i_adapter_pack.annotators.images import to_bytes
from t2i_adapter_pack.annotators.table import NETWORK_ANNOTATORS
from t2i_adapter_pack.cli.evaluation.inputs import EvaluationInput
from t2i_adapter_pack.cli.evaluation.statistics import figure_of_sums
from t2i_adapter_pack.cli.evaluation.storing import write_picture
from t2i_adapter_pack.training.distributed import ALONE

from ..annotators import published as theirs
from ..host.published import save_lines

pytestmark = pytest.mark.host
# Condition, key of the network, and the column's figure of a picture against its own map.
CASES = [
    ("sketch", "pidinet", "F1", 1.0),
    ("lineart", "lineart", "F1", 1.0),
    ("depth", "depth-anything-v2-small", "RMSE", 0.0),
    ("zoedepth", "zoedepth-nk", "order", 1.0),
    ("segmentation", "maskformer-coco-stuff", "mIoU", 1.0),
    ("openpose", "vitpose-base-simple", "PCK", 1.0),
    ("keypose", "vitpose-base-simple", "OKS", 1.0),
]


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Writes the file of a network."""
    monkeypatch.setattr("t2i_adapter_pack.annotators.table.NETWORK_ANNOTATORS", theirs.tiny_rows())
    lines = save_lines(tmp_path)

    def save(key: str) -> Path:
        file = next(row.files[0].file for row in NETWORK_ANNOTATORS if row.key == key)
        if file in lines:
            return lines[file]
        tensors = theirs.saved(theirs.their_network(theirs.tiny_model(key)), tmp_path)
        (torch.save if file.endswith(".bin") else save_file)(tensors, tmp_path / file)
        return tmp_path / file

    return save


def picture(seed: int) -> torch.Tensor:
    coarse = torch.rand(1, 3, 6, 6, generator=torch.Generator().manual_seed(seed))
    smooth = torch.nn.functional.interpolate(coarse, size=(96, 96), mode="bicubic").clamp(0, 1)
    return to_bytes(smooth) / 255


@pytest.mark.parametrize(("condition", "key", "column", "best"), CASES, ids=[row[0] for row in CASES])
def test_a_picture_follows_its_own_map_best(comfyui, weights, tmp_path, condition, key, column, best):
    from t2i_adapter_pack.cli.evaluation import begin
    from t2i_adapter_pack.cli.evaluation.judges import control_judge

    file, mine, other = weights(key), picture(1), picture(2)
    annotate, facts = begin.annotation("openpose" if condition == "keypose" else condition, "", file, ALONE)
    judge = control_judge(condition, annotate, facts)
    one = EvaluationInput(0, "sample", "", 0, False, "", tmp_path)
    write_picture(tmp_path / "real" / one.file, mine, "")
    write_picture(tmp_path / "maps" / one.file, begin.annotation(condition, "", file, ALONE)[0](mine), "")
    figure = next(row for row in judge.columns if row.name == column)
    own, others = (
        figure_of_sums(figure.figure, torch.tensor([judge.score(one, each)[column]])).value for each in (mine, other)
    )
    assert own == pytest.approx(best, abs=0.003)
    assert (others - own) * figure.better < 0
