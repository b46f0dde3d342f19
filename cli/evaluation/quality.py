"""Distances between sets of pictures, FID and KID, by the package clean-fid with the published Inception network."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .errors import EvaluationError

# The name that clean-fid gives the file, and the choice that fetches it.
INCEPTION, DOWNLOAD_INCEPTION = "inception-2015-12-05.pt", "download"
FID, KID = "FID", "KID"
# The covariance of Inception's 2048 features is singular below this.
ENOUGH_FOR_FID = 2048
_TOGETHER = 32
# clean-fid draws the subsets of KID from numpy's global generator.
_SEED = 1
_INSTALL = "Run `pip install clean-fid`."


@dataclass(frozen=True)
class InceptionNetwork:
    """The network whose features FID and KID compare.

    Attributes:
        network: Pictures (B, 3, 299, 299) in 0 to 255 -> features (B, 2048).
        device: Where it computes.
    """

    network: Any
    device: torch.device

    def features(self, files: Sequence[Path]) -> Any:
        """Return the features of pictures, resized as clean-fid does: a numpy array (N, 2048)."""
        from cleanfid import fid

        names = [str(file) for file in files]
        return fid.get_files_features(
            names, self.network, num_workers=0, batch_size=_TOGETHER, device=self.device, mode="clean", verbose=False
        )


def load_inception(chosen: str, downloads: Path, device: torch.device) -> InceptionNetwork:
    """Load the Inception network.

    Args:
        chosen: The file, or :data:`DOWNLOAD_INCEPTION`.
        downloads: Folder for the download.
        device: Where to compute.

    Raises:
        EvaluationError: The package or the file is missing, or the file is another one.
    """
    try:
        from cleanfid.inception_torchscript import InceptionV3W
    except ImportError as error:
        raise EvaluationError(
            "--inception",
            f"no package clean-fid ({error})",
            "clean-fid, which computes FID and KID",
            _INSTALL,
            says="FID and KID need the package clean-fid.",
        ) from error
    fetch = chosen == DOWNLOAD_INCEPTION
    file = downloads / INCEPTION if fetch else Path(chosen).expanduser()
    if not fetch and (file.name != INCEPTION or not file.is_file()):
        raise EvaluationError(
            f"--inception, {file}",
            "another file" if file.is_file() else "nothing there",
            f"the file {INCEPTION}, under this name",
            f"Give its path, or `--inception {DOWNLOAD_INCEPTION}`, which fetches it.",
            says="The Inception weights were not found.",
        )
    try:
        if fetch and not file.is_file():
            _fetch(file)
        network = InceptionV3W(str(file.parent), download=False).to(device).eval()
    except (OSError, RuntimeError, ValueError) as error:
        raise EvaluationError(
            f"--inception, {file}",
            f"weights that can't be fetched or read ({error})",
            f"the TorchScript file {INCEPTION} of clean-fid",
            "Delete the file and fetch it again.",
            says="The Inception weights can't be loaded.",
        ) from error
    return InceptionNetwork(network, device)


def _fetch(file: Path) -> None:
    """Let clean-fid download the weights; the file is complete or not there."""
    from cleanfid.downloads_helper import check_download_inception

    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        check_download_inception(folder)
        Path(folder, file.name).replace(file)


def set_distances(features: Any, real: Any) -> dict[str, float]:
    """Return FID and KID between two sets of features, (N, D) and (M, D), as clean-fid computes them.

    Raises:
        EvaluationError: This clean-fid does not work with this SciPy.
    """
    from cleanfid import fid

    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(_SEED)  # noqa: NPY002
    try:
        return {FID: float(fid.fid_from_feats(features, real)), KID: float(fid.kernel_distance(features, real))}
    except TypeError as error:
        # clean-fid 0.1.35 passes an argument to sqrtm that SciPy 1.18 no longer has.
        raise EvaluationError(
            "--inception",
            f"a clean-fid that this SciPy does not suit ({error})",
            "versions that fit each other",
            "Run `pip install --upgrade clean-fid`, or `pip install 'scipy<1.18'`.",
            says="clean-fid does not work with the installed SciPy.",
        ) from error
    finally:
        np.random.set_state(before)  # noqa: NPY002
