"""Interrupt at each check in load, features, annotate and save: nothing is left half done."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ..host import published, tiny
from . import effort

pytestmark = pytest.mark.host
PIXELS, LATENT = (64, 64), (8, 8)


@pytest.fixture
def questions(monkeypatch) -> Any:
    """ComfyUI's check for an interrupt, which interrupts at the n-th call."""
    return Questions(monkeypatch)


class Questions:
    """Counts the checks, and interrupts at one of them through ComfyUI's own flag."""

    def __init__(self, monkeypatch: Any) -> None:
        import comfy.model_management as management

        self.asked, self.cancel_at = 0, -1
        ask = management.throw_exception_if_processing_interrupted

        def counted() -> None:
            self.asked += 1
            if self.asked == self.cancel_at:
                management.interrupt_current_processing()
            ask()

        monkeypatch.setattr(management, "throw_exception_if_processing_interrupted", counted)

    def count(self, act: Callable[[], Any]) -> tuple[Any, int]:
        """Run without interrupting; return the result and the number of checks."""
        self.asked, self.cancel_at = 0, -1
        return act(), self.asked

    def cancel(self, act: Callable[[], Any], at: int) -> None:
        """Interrupt at a check."""
        import comfy.model_management as management

        self.asked, self.cancel_at = 0, at
        with pytest.raises(management.InterruptProcessingException):
            act()
        assert not management.processing_interrupted()


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_sampling_with_features_is_cancelled_at_any_question(sd, questions):
    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")

    def draw() -> torch.Tensor:
        return tiny.sample(tiny.apply(sd, adapter, tiny.hint(*PIXELS)), tiny.latent(*LATENT), steps=2)

    # Cancelled by the sampler, or by the layers that ComfyUI casts.
    expected, asked = questions.count(draw)
    again = tiny.apply(sd, adapter, tiny.hint(*PIXELS, seed=1))
    for at in effort.spread(asked, 4, 1000):
        questions.cancel(draw, at + 1)
        assert not tiny.left_of_runs()
        assert torch.equal(questions.count(draw)[0], expected)
    assert not torch.equal(tiny.sample(again, tiny.latent(*LATENT), steps=2), expected)


@pytest.mark.parametrize("point", ["before the features", "in the features", "after the features"])
def test_an_interrupt_in_the_features_leaves_none_of_them(sd, monkeypatch, point):
    """A step of the adapter's own network raises as ComfyUI's casting layers do when the user cancels."""
    import comfy.model_management as management
    from t2i_adapter_pack.adapter_models.networks import Adapter

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    layers = [layer for layer in adapter.network.modules() if isinstance(layer, torch.nn.Conv2d)]
    place = {"before the features": layers[0], "in the features": layers[len(layers) // 2]}.get(point, adapter.network)
    assert isinstance(adapter.network, Adapter)

    def interrupt(*_: Any) -> None:
        management.interrupt_current_processing()
        management.throw_exception_if_processing_interrupted()

    hook = place.register_forward_hook(interrupt)
    with pytest.raises(management.InterruptProcessingException):
        tiny.sample(patched, tiny.latent(*LATENT), steps=2)
    hook.remove()
    assert not tiny.left_of_runs()
    fresh = tiny.apply(sd, tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1"), tiny.hint(*PIXELS))
    expected = tiny.sample(fresh, tiny.latent(*LATENT), steps=2)
    assert torch.equal(tiny.sample(patched, tiny.latent(*LATENT), steps=2), expected)


@pytest.mark.parametrize("node", ["T2IAnnotateSketch", "T2IAnnotateSoftEdge", "T2IAnnotateLineart"])
def test_annotating_is_cancelled_between_pictures(weights, questions, node):
    from t2i_adapter_pack.nodes import NODES

    (annotate,) = (one for one in NODES if one.__name__ == node)

    def act() -> torch.Tensor:
        return annotate.execute(published.picture(count=3))[0]

    expected, asked = questions.count(act)
    assert asked > 0
    before = sorted(weights.iterdir())
    for at in effort.spread(asked, 2, 1000):
        questions.cancel(act, at + 1)
        assert torch.equal(questions.count(act)[0], expected)
    assert sorted(weights.iterdir()) == before


@pytest.mark.parametrize("layout", ["original", "diffusers"])
@pytest.mark.parametrize("moment", ["tensors", "bytes", "name"])
def test_an_interrupt_while_saving_leaves_nothing(output, monkeypatch, layout, moment):
    import comfy.model_management as management
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter
    from t2i_adapter_pack.nodes.training import adapter_files
    from t2i_adapter_pack.training import checkpoints

    def interrupt(*_: Any, **__: Any) -> None:
        raise management.InterruptProcessingException

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    with monkeypatch.context() as patch:
        if moment == "tensors":
            patch.setattr(adapter_files, "tensors_for_file", interrupt)
        else:
            patch.setattr(checkpoints.os, "fsync" if moment == "bytes" else "replace", interrupt)
            patch.setattr(Path, "replace", interrupt)
            patch.setattr(Path, "rename", interrupt)
        with pytest.raises(management.InterruptProcessingException):
            SaveT2IAdapter.execute(adapter, "mine/adapter", layout, "fp32")
    assert files_in(output) == {}
    SaveT2IAdapter.execute(adapter, "mine/adapter", layout, "fp32")
    assert len(files_in(output)) == (1 if layout == "original" else 2)


def test_an_interrupt_while_loading_leaves_the_next_load_right(tmp_path, monkeypatch):
    import comfy.model_management as management
    from t2i_adapter_pack.common import stored
    from t2i_adapter_pack.nodes.loading import adapters

    path = tiny.save_adapter(tmp_path, tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    read, calls = stored._read_run, 0
    for at in effort.spread(len(load_file(path)), 4, 1000):
        calls = 0

        def interrupted(*values: Any, at: int = at) -> Any:
            nonlocal calls
            calls += 1
            if calls > at:
                raise management.InterruptProcessingException
            return read(*values)

        monkeypatch.setattr(stored, "_read_run", interrupted)
        with pytest.raises(management.InterruptProcessingException):
            adapters.wrap_adapter(path, path.name, None, bgr=False, dtype=None)
        monkeypatch.setattr(stored, "_read_run", read)
        # On Windows an open file could not be replaced.
        assert str(path) not in {str(one) for one in open_files()}
    loaded = adapters.wrap_adapter(path, path.name, None, bgr=False, dtype=None)
    assert all(torch.equal(loaded.network.state_dict()[name], one) for name, one in load_file(path).items())


def open_files() -> list[str]:
    import psutil

    return [one.path for one in psutil.Process().open_files()]


def test_a_wrong_large_file_for_an_annotator_is_refused_by_its_names(weights, monkeypatch):
    from t2i_adapter_pack.annotators.errors import AnnotatorError
    from t2i_adapter_pack.common import containers
    from t2i_adapter_pack.nodes.annotate_lines import T2IAnnotateSketch

    save_file({"model.diffusion_model.a": torch.zeros(1000)}, weights / "checkpoint.safetensors")
    torch.save({"model.diffusion_model.a": torch.zeros(1000)}, weights / "checkpoint.ckpt")
    monkeypatch.setattr(containers, "read_stored", lambda *_: pytest.fail("its numbers were read"))
    for name in ("checkpoint.safetensors", "checkpoint.ckpt"):
        with pytest.raises(AnnotatorError, match="PiDiNet"):
            T2IAnnotateSketch.execute(published.picture(), weights=name)


@pytest.mark.parametrize("place", ["a file", "a link to itself"])
def test_an_output_folder_that_cannot_be_written_is_named(output, place):
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.nodes.save import SaveT2IAdapter

    taken = output / "mine"
    taken.write_text("a") if place == "a file" else taken.symlink_to(taken)
    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    before = sorted(output.iterdir())
    with pytest.raises((AdapterError, ValueError), match=r"got .+; expected .+"):
        SaveT2IAdapter.execute(adapter, "mine/adapter", "original", "fp32")
    assert sorted(output.iterdir()) == before


def test_interrupts_of_a_second_thread_at_random_moments(sd):
    """As a user does it."""
    import random

    import comfy.model_management as management

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    patched = tiny.apply(sd, adapter, tiny.hint(*PIXELS))
    expected, chance, cancelled = tiny.sample(patched, tiny.latent(*LATENT), steps=3), random.Random(0), 0
    for _ in range(effort.count(8, 500)):
        timer = threading.Timer(chance.uniform(0, 0.1), management.interrupt_current_processing)
        timer.start()
        try:
            tiny.sample(patched, tiny.latent(*LATENT), steps=3)
        except management.InterruptProcessingException:
            cancelled += 1
        timer.join()
        management.interrupt_current_processing(False)
        assert torch.equal(tiny.sample(patched, tiny.latent(*LATENT), steps=3), expected)
    assert not tiny.left_of_runs()
