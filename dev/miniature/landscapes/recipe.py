"""Train the landscapes' model in one command: `python3 run.py miniature -- train --world landscapes`.

Parts, in order: the VAE, the judge of the measures, the UNet with its text encoder, the adapters. A part whose file
exists is not trained again, and an interrupted part continues from its last saved step, so the same command finishes
what was begun. `--only second` makes a second model: the same one trained further on pictures in the second style.

On a CPU everything takes about 4 hours of one core, shared by two processes, see `README.md`; a GPU gets the longer
plan.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
from pathlib import Path

import torch
from safetensors.torch import load_file

from .. import adapters, checkpoint
from ..checkpoint import State
from ..generate import Studio
from ..loop import Fit, Plan
from . import judge, measure, stages, team
from .captions import TOKEN_IDS
from .lessons import CHANNELS, lessons
from .light import FLAT, PAPER, Style

WEIGHTS = Path(__file__).resolve().parent / "weights"
WORK = Path(".miniature/landscapes")
SCENES = 128  # held out, for the table at the end
MEASURED = 512  # scenes whose latents tell the scale of all
SCHOOL = adapters.School(lessons, CHANNELS)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Plans of every part, and the number of scenes that the denoiser learns from."""

    plans: dict[str, Plan]
    adapters: tuple[adapters.AdapterPlan, ...]
    pool: int
    second_pool: int

    def scaled(self, share: float, batch: int | None) -> Recipe:
        """Return a share of the recipe, with another batch size."""
        plans = {
            name: dataclasses.replace(plan, steps=max(2, int(plan.steps * share)), batch=batch or plan.batch)
            for name, plan in self.plans.items()
        }
        least = min(1.0, share)
        taught = []
        for plan in self.adapters:
            size, steps = batch or plan.batch, max(2, int(plan.steps * share))
            pictures = max(size, int(plan.pictures * least))
            taught.append(dataclasses.replace(plan, steps=steps, pictures=pictures, batch=size))
        pools = (max(16, int(count * least)) for count in (self.pool, self.second_pool))
        return Recipe(plans, tuple(taught), *pools)


# Steps as a CPU affords them: see the table of costs in README.md.
CPU = Recipe(
    plans={
        "vae": Plan(steps=9000, batch=16, rate=4e-3, decay=0.998, seed=1, muon=True),
        "judge": Plan(steps=1200, batch=8, rate=2e-3, decay=0.99, seed=7),
        "denoiser": Plan(steps=9000, batch=32, rate=1e-3, warmup=300, decay=0.998, seed=2),
        "second": Plan(steps=500, batch=32, rate=2e-4, warmup=30, decay=0.99, seed=6),
    },
    adapters=(
        adapters.AdapterPlan("sketch", pictures=4096, steps=2500, batch=32, rate=1.5e-3, ema=0.995, seed=3),
        adapters.AdapterPlan("color", 4096, steps=2000, batch=32, rate=2e-3, ema=0.995, seed=4, size="small"),
        adapters.AdapterPlan("depth", 4096, steps=1200, batch=32, rate=1e-3, ema=0.99, seed=8, begin="sketch"),
        adapters.AdapterPlan("seg", 4096, steps=1500, batch=32, rate=1e-3, ema=0.99, seed=5, begin="sketch"),
    ),
    pool=20480,
    second_pool=2048,
)
GPU = Recipe(
    plans={
        "vae": Plan(steps=20000, batch=64, rate=2e-3, seed=1, muon=True),
        "judge": Plan(steps=3000, batch=32, rate=2e-3, decay=0.99, seed=7),
        "denoiser": Plan(steps=25000, batch=256, rate=8e-4, warmup=500, decay=0.9995, seed=2),
        "second": Plan(steps=1000, batch=64, rate=2e-4, warmup=30, decay=0.99, seed=6),
    },
    adapters=tuple(
        dataclasses.replace(plan, pictures=8192, batch=128, steps=2 * plan.steps, ema=0.999) for plan in CPU.adapters
    ),
    pool=262144,
    second_pool=8192,
)


@dataclasses.dataclass(frozen=True)
class Job:
    """Where one run reads and writes, and what it makes."""

    weights: Path
    work: Path
    device: torch.device
    recipe: Recipe
    stop_at: int | None
    only: str | None
    team: team.Team

    def plan(self, name: str) -> Plan:
        """Return a part's plan for one of the processes: its share of each batch."""
        plan = self.recipe.plans[name]
        return dataclasses.replace(plan, batch=max(2, plan.batch // self.team.workers))

    def finish(self, fit: Fit) -> State | None:
        """Run a part; its averaged weights once it is complete, None if it was told to stop before."""
        return fit.averaged() if fit.run(self.stop_at) else None


def main(options: argparse.Namespace, folder: Path, argv: list[str]) -> None:
    """Train what is missing, in one process or several, and print the table.

    Args:
        options: the command line of `train`, read.
        folder: ComfyUI's.
        argv: the command line, for the other processes.
    """
    device = torch.device(options.device)
    options.work, options.weights = options.work or WORK, options.weights or WEIGHTS
    options.work.mkdir(parents=True, exist_ok=True)
    workers = options.workers or (1 if device.type == "cuda" else min(2, os.cpu_count() or 1))
    with team.gathered(workers, options.rank, options.work, argv) as together:
        recipe = (GPU if device.type == "cuda" else CPU).scaled(options.scale, options.batch)
        job = Job(options.weights, options.work, device, recipe, options.stop_at, options.only, together)
        complete = train(job, folder)
    if complete and together.lead and not options.no_table:
        options.scenes = SCENES
        measure.run(options)


def train(job: Job, folder: Path) -> bool:
    """Train what is missing, in order; False if that wasn't all."""
    if job.only == "judge":
        make_judge(job)
        return False
    if job.only == "second":
        make_second(job)
        return False
    if not make_checkpoint(job) or job.only == "denoiser":
        return False
    make_adapters(job, folder)
    return job.only is None


def make_judge(job: Job) -> bool:
    """Train the judge if its file is missing; False if told to stop before."""
    file = job.work / judge.FILE
    if file.exists():
        return True
    state = job.finish(judge.fit_judge(job.plan("judge"), job.device, job.work / "judge.state"))
    if state is not None and job.team.lead:
        checkpoint.write({name: value.cpu().contiguous() for name, value in state.items()}, file)
    job.team.wait()
    return state is not None


def vae_state(job: Job) -> State | None:
    """Return the finished VAE, trained now if there is none; None if it was told to stop before its end."""
    file = job.work / "vae.safetensors"
    if file.exists():
        return load_file(file)
    state = job.finish(stages.fit_vae(job.plan("vae"), job.device, job.work / "vae.state"))
    if state is not None:
        state = stages.finished_vae(state, job.device, min(MEASURED, job.recipe.pool))
        if job.team.lead:
            checkpoint.write(state, file)
    job.team.wait()
    return state


def make_checkpoint(job: Job) -> bool:
    """Train VAE, judge and denoiser if the checkpoint is missing; False if told to stop before they were complete."""
    file = job.weights / checkpoint.CHECKPOINT
    if file.exists():
        return True
    vae = vae_state(job)
    if vae is None or job.only == "vae" or not make_judge(job):
        return False
    return make_denoiser(job, vae, ("denoiser", FLAT, job.recipe.pool), file)


def make_second(job: Job) -> bool:
    """Train the finished denoiser further on the second style, into a file of its own; False if told to stop before."""
    file = job.weights / checkpoint.SECOND
    if file.exists():
        return True
    vae, begin = checkpoint.read_parts(job.weights / checkpoint.CHECKPOINT)
    return make_denoiser(job, vae, ("second", PAPER, job.recipe.second_pool), file, begin)


def make_denoiser(job: Job, vae: State, what: tuple[str, Style, int], file: Path, begin: State | None = None) -> bool:
    """Train a denoiser on a pool of its own and write its checkpoint; False if told to stop before."""
    name, style, count = what
    pool = stages.build_pool(vae, count, job.device, style, job.work / f"{name}.pool", job.team)
    fit = stages.fit_denoiser(job.plan(name), pool, job.device, job.work / f"{name}.state", begin)
    state = job.finish(fit)
    if state is None:
        return False
    if job.team.lead:
        checkpoint.write_checkpoint(vae, state, file, TOKEN_IDS)
    job.team.wait()
    return True


def make_adapters(job: Job, folder: Path) -> None:
    """Train the adapters that are missing; each process its own, and one that begins with another waits for it."""
    share = job.recipe.adapters[job.team.rank :: job.team.workers]
    wanted = [plan for plan in job.recipe.adapters if job.only == plan.kind and job.team.lead] if job.only else share
    missing = [plan for plan in wanted if not (job.weights / checkpoint.adapter_file(plan.kind)).exists()]
    if missing:
        studio = Studio(str(folder), job.weights)
        for plan in missing:
            if plan.begin and job.only is None:
                job.team.wait_for(job.weights / checkpoint.adapter_file(plan.begin))
            adapters.train_adapter(studio, plan, job.weights, job.work, SCHOOL)
