"""Train the miniature's adapters in the real ComfyUI, using only the pack's nodes."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .checkpoint import CONDITIONS, adapter_file
from .generate import Studio
from .host import load_pack
from .lessons import ADAPTERS, Lessons, lessons

PART = 500  # steps between reports and checkpoints


@dataclass(frozen=True)
class AdapterPlan:
    """How one adapter is trained.

    Attributes:
        kind: Its condition.
        pictures: Number of training scenes.
        steps: Number of training steps.
        batch: Batch size.
        rate: Learning rate.
        ema: Decay of the moving average of the weights.
        seed: Seed of the scenes, the batches and the initial weights.
        begin: Condition of a trained adapter to start from; None for random weights.
        size: A size of Create T2I-Adapter.
    """

    kind: str
    pictures: int
    steps: int
    batch: int = 128
    rate: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    begin: str | None = None
    size: str = "base"

    @property
    def run_name(self) -> str:
        """The folder of the run's checkpoints."""
        return f"{self.kind}_miniature"

    @property
    def settings(self) -> dict[str, Any]:
        """The inputs of Train T2I-Adapter that are constant during the run."""
        return {
            "batch_size": self.batch,
            "learning_rate": self.rate,
            "timesteps": "cubic",
            "prompt_dropout": 0.15,
            "condition_dropout": 0.0,
            "ema": self.ema,
            "gradient_accumulation": 1,
            "precision": "fp32",
            "seed": self.seed,
            "save_every": PART,
            "run_name": self.run_name,
        }


PLANS = (
    AdapterPlan("sketch", pictures=8192, steps=2500, seed=3),
    AdapterPlan("color", pictures=8192, steps=4000, seed=4),
    AdapterPlan("seg", pictures=8192, steps=2500, rate=5e-4, seed=5, begin="sketch"),
)


@dataclass(frozen=True)
class School:
    """A world that adapters learn from.

    Attributes:
        lessons: Makes the lessons of a kind of adapter: their number, and the seed of the first.
        channels: Channels of the condition images of each kind.
    """

    lessons: Callable[[Studio, str, int, int], Lessons]
    channels: dict[str, int]


SHAPES = School(lessons, {kind: condition.channels for kind, condition in ADAPTERS.items()})


@torch.inference_mode()
def train_adapter(studio: Studio, plan: AdapterPlan, weights: Path, work: Path, school: School = SHAPES) -> Path:
    """Create, train and save one adapter; an interrupted run resumes.

    Args:
        studio: the miniature in ComfyUI.
        plan: Its settings.
        weights: Folder for the result.
        work: ComfyUI's output folder during training, with the run's checkpoints.
        school: The world that it learns from.

    Returns:
        The path of the result.
    """
    load_pack()
    train = importlib.import_module("t2i_adapter_pack.nodes.train")
    save = importlib.import_module("t2i_adapter_pack.nodes.save")
    studio.write_into(work)
    made = school.lessons(studio, plan.kind, plan.pictures, plan.seed)
    kind, channels = CONDITIONS[plan.kind], str(school.channels[plan.kind])
    start = None if plan.begin is None else finished(weights, plan)
    begin = train.CreateT2IAdapter.execute(studio.model, plan.size, channels, kind, plan.seed, start)[0]
    # Every input of this node is a list.
    lists = {name: [value] for name, value in plan.settings.items()}
    trained = begin
    first = min(steps_made(plan) + PART, plan.steps)
    for steps in range(first, plan.steps + PART, PART):
        lists["steps"] = [min(steps, plan.steps)]
        trained, loss = train.TrainT2IAdapter.execute(
            [studio.model], [begin], made.latents, made.images, [made.positive], empty=[made.empty], **lists
        ).result
        recent = loss["loss"][-PART:]
        print(f"  {plan.kind}: step {len(loss['loss'])}/{plan.steps}, loss {sum(recent) / len(recent):.5f}", flush=True)
    save.SaveT2IAdapter.execute(trained, f"finished/{plan.kind}", "original", "fp16")
    newest = max((work / "finished").glob(f"{plan.kind}_*.safetensors"))
    return newest.replace(weights / adapter_file(plan.kind))


def finished(weights: Path, plan: AdapterPlan) -> Any:
    """Load the adapter that training starts from.

    Raises:
        FileNotFoundError: It is not trained yet.
    """
    file = weights / adapter_file(str(plan.begin))
    if not file.is_file():
        raise FileNotFoundError(f"{plan.kind} begins with {plan.begin}: got no {file}; expected it. Train it first.")
    adapters = importlib.import_module("t2i_adapter_pack.nodes.loading.adapters")
    return adapters.wrap_adapter(file, file.name, None, bgr=None, dtype=None)


def steps_made(plan: AdapterPlan) -> int:
    """Return the number of steps of an earlier, interrupted run; the node refuses fewer."""
    runs = importlib.import_module("t2i_adapter_pack.nodes.training.run")
    checkpoints = importlib.import_module("t2i_adapter_pack.training.checkpoints")
    state = checkpoints.load_state(runs.Saving(plan.run_name).folder)
    return len(state["losses"]) if state else 0
