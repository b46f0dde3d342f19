"""Train the miniature's adapters with the pack's own nodes, in the real ComfyUI, and with no other code."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .checkpoint import CONDITIONS, adapter_file
from .generate import Studio
from .host import load_pack
from .lessons import ADAPTERS, lessons

PART = 500  # steps between reports and checkpoints


@dataclass(frozen=True)
class AdapterPlan:
    """How one adapter is trained.

    Attributes:
        kind: What it is shown.
        pictures: How many scenes it learns from.
        steps: For how long.
        batch: Pictures in a step.
        rate: The learning rate.
        ema: Decay of the average of the weights.
        seed: Decides the scenes, the batches and the first weights.
        begin: The kind of a finished adapter that it begins with; None for random weights.
    """

    kind: str
    pictures: int
    steps: int
    batch: int = 128
    rate: float = 1e-3
    ema: float = 0.999
    seed: int = 0
    begin: str | None = None

    @property
    def run_name(self) -> str:
        """The folder of the run's checkpoints."""
        return f"{self.kind}_miniature"

    @property
    def settings(self) -> dict[str, Any]:
        """The inputs of Train T2I-Adapter that stay the same throughout the run."""
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


@torch.inference_mode()
def train_adapter(studio: Studio, plan: AdapterPlan, weights: Path, work: Path) -> Path:
    """Create, train and save one adapter; an interrupted run goes on.

    Args:
        studio: the miniature in ComfyUI.
        plan: how.
        weights: folder for the finished file.
        work: ComfyUI's output folder meanwhile, with the run's checkpoints.

    Returns:
        The file.
    """
    load_pack()
    train = importlib.import_module("t2i_adapter_pack.nodes.train")
    save = importlib.import_module("t2i_adapter_pack.nodes.save")
    studio.write_into(work)
    made = lessons(studio, plan.kind, plan.pictures, plan.seed)
    kind, channels = CONDITIONS[plan.kind], str(ADAPTERS[plan.kind].channels)
    start = None if plan.begin is None else finished(weights, plan)
    begin = train.CreateT2IAdapter.execute(studio.model, "base", channels, kind, plan.seed, start)[0]
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
    """Load the adapter that another one begins with.

    Raises:
        FileNotFoundError: It is not trained yet.
    """
    file = weights / adapter_file(str(plan.begin))
    if not file.is_file():
        raise FileNotFoundError(f"{plan.kind} begins with {plan.begin}: got no {file}; expected it. Train it first.")
    adapters = importlib.import_module("t2i_adapter_pack.nodes.loading.adapters")
    return adapters.wrap_adapter(file, file.name, None, bgr=None, dtype=None)


def steps_made(plan: AdapterPlan) -> int:
    """Return how many steps an earlier, interrupted run has made; the node refuses to be asked for fewer."""
    runs = importlib.import_module("t2i_adapter_pack.nodes.training.run")
    checkpoints = importlib.import_module("t2i_adapter_pack.training.checkpoints")
    state = checkpoints.load_state(runs.Saving(plan.run_name).folder)
    return len(state["losses"]) if state else 0
