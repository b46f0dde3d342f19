"""How often an adapter's network runs, and when a queued run reuses its features."""

from __future__ import annotations

from typing import Any

import torch

from . import models, report
from .options import Options

SIZE = 64
STEPS = 2
# name of the run, forwards needed, and its differences from the first run: seed, strength, prompt, picture
RUNS = (
    ("a run", 1, (0, 1.0, 1, 0)),
    ("a second run with another seed", 0, (1, 1.0, 1, 0)),
    ("another strength", 0, (1, 0.7, 1, 0)),
    ("another prompt", 0, (1, 0.7, 3, 0)),
    ("another image", 1, (1, 0.7, 3, 1)),
)


class Count:
    """Counts the forwards of a network."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.calls = 0
        network.register_forward_hook(self._count)

    def _count(self, *_: Any) -> None:
        self.calls += 1

    def take(self) -> int:
        """Return the count and reset it."""
        calls, self.calls = self.calls, 0
        return calls


def run(options: Options) -> report.Section:
    """Queue the runs one after the other, as a user would."""
    # Always tiny: the count does not depend on the size.
    scale = models.Scale(options.device, options.family, tiny=True)
    model = models.unet(scale)
    ours, core = models.our_adapter(scale), models.core_adapter(scale)
    counts = {"ours": Count(ours.network), "core": Count(core.t2i_model)}
    images = [models.picture(SIZE, number) for number in (0, 1)]
    table = report.Table(("run", "ours", "goal", "holds", "core"))
    for what, goal, (seed, strength, words, image) in RUNS:
        prompts = (models.prompt(scale, words), models.prompt(scale, 2))
        patched = models.apply_ours(model, ours, images[image], strength)
        models.Job(patched, *prompts, scale, SIZE).sample(STEPS, seed=seed)
        controlled = models.apply_core(prompts, core, images[image], strength)
        models.Job(model, *controlled, scale, SIZE).sample(STEPS, seed=seed)
        made = {name: count.take() for name, count in counts.items()}
        table.add(what, made["ours"], goal, report.holds(made["ours"], goal), made["core"])
    notes = [f"Runs of {STEPS} steps, one after the other in one process; counted by a hook on the network."]
    return report.Section(options.key("forwards"), "Adapter forwards", [table], notes)
