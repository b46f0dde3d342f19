"""ComfyUI supports all flags of the suite, so that no row of its table is empty."""

from __future__ import annotations

import pytest
import torch
from t2i_adapter_pack.dev.tasks import in_process

from ..host import tiny

pytestmark = pytest.mark.host


def has(flag: str) -> bool:
    return flag in in_process.chosen_flags()


def test_the_flags_are_read_from_the_environment():
    assert in_process.chosen_flags({}) == []
    assert in_process.chosen_flags({in_process.FLAGS: "--novram --reserve-vram 2"}) == [
        "--novram",
        "--reserve-vram",
        "2",
    ]


def test_comfyui_has_them(inside_comfyui):
    from comfy.cli_args import args

    for flag in in_process.chosen_flags():
        assert getattr(args, flag.removeprefix("--").replace("-", "_")), flag


@pytest.mark.gpu
def test_they_decide_how_models_are_loaded(inside_comfyui):
    import comfy.model_management as management

    states = {"--novram": management.VRAMState.NO_VRAM, "--lowvram": management.VRAMState.LOW_VRAM}
    for flag, state in states.items():
        assert (management.vram_state == state) == has(flag)
    if has("--enable-dynamic-vram") or has("--disable-dynamic-vram"):
        model = tiny.model("SD")
        assert getattr(model, "is_dynamic", lambda: False)() == has("--enable-dynamic-vram")
    assert torch.cuda.is_available()
