"""Train everything, in one command: `python miniature train --comfyui /path/to/ComfyUI`.

Parts, in order: the VAE, the UNet with its text encoder, the adapters for sketch, colour and segmentation. A part whose
file exists is not trained again, and an interrupted part goes on from its last saved step, so the same command
finishes what was begun. At the end it prints the table of measures for what it made.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import checkpoint, stages
from .checkpoint import State
from .host import use_comfyui
from .loop import Fit, Plan

HERE = Path(__file__).resolve().parent
PLANS: dict[str, Plan] = {
    "vae": Plan(steps=8000, batch=64, rate=2e-3, seed=1),
    "denoiser": Plan(steps=9000, batch=256, rate=8e-4, warmup=500, decay=0.9993, seed=2),
    "sketch": Plan(steps=2450, batch=128, rate=1.5e-3, seed=3),
    "color": Plan(steps=2600, batch=128, rate=1.5e-3, seed=4),
    "seg": Plan(steps=3900, batch=128, rate=1.5e-3, seed=5),
}
POOL = 262144


@dataclasses.dataclass(frozen=True)
class Job:
    """Where one run reads and writes, and how much of the full recipe it makes."""

    weights: Path
    work: Path
    device: torch.device
    plans: dict[str, Plan]
    pool: int
    stop_at: int | None
    only: str | None


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="miniature train", description="Train the miniature and its adapters.")
    parser.add_argument("--comfyui", help="ComfyUI's folder; default: the variable COMFYUI_PATH")
    parser.add_argument("--weights", type=Path, default=HERE / "weights", help="folder for the finished files")
    parser.add_argument("--work", type=Path, default=Path(".miniature"), help="folder for the states in between")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="share of each part's steps, and of the pool")
    parser.add_argument("--batch", type=int, help="another batch size for every part")
    parser.add_argument("--only", choices=tuple(PLANS), help="train this part and no other")
    parser.add_argument("--stop-at", type=int, help="stop the first unfinished part at this step")
    parser.add_argument("--no-table", action="store_true", help="do not measure at the end")
    return parser.parse_args(argv)


def plan_job(options: argparse.Namespace) -> Job:
    """Turn options into a job."""
    plans = {
        name: dataclasses.replace(
            plan, steps=max(2, int(plan.steps * options.scale)), batch=options.batch or plan.batch
        )
        for name, plan in PLANS.items()
    }
    options.work.mkdir(parents=True, exist_ok=True)
    pool = max(256, int(POOL * min(1.0, options.scale)))
    return Job(options.weights, options.work, torch.device(options.device), plans, pool, options.stop_at, options.only)


def finish(fit: Fit, job: Job) -> State | None:
    """Run a part; its averaged weights once it is complete, None if it was told to stop before."""
    done = fit.run(job.stop_at)
    return fit.averaged() if done else None


def vae_state(job: Job) -> State | None:
    """Return the finished VAE, trained now if there is none; None if it was told to stop before its end."""
    file = job.work / "vae.safetensors"
    if file.exists():
        return load_file(file)
    state = finish(stages.fit_vae(job.plans["vae"], job.device, job.work / "vae.state"), job)
    if state is not None:
        state = stages.finished_vae(state, job.device)
        checkpoint.write(state, file)
    return state


def denoiser_parts(job: Job) -> tuple[State, State, stages.Pool] | None:
    """Return the finished VAE and denoiser and a pool of latents; None if told to stop before they were complete."""
    file = job.weights / checkpoint.CHECKPOINT
    if file.exists():
        vae, denoiser = checkpoint.read_parts(file)
        return vae, denoiser, stages.build_pool(vae, job.pool, job.device)
    vae = vae_state(job)
    if vae is None or job.only == "vae":
        return None
    pool = stages.build_pool(vae, job.pool, job.device)
    fit = stages.fit_denoiser(job.plans["denoiser"], pool, job.device, job.work / "denoiser.state")
    state = finish(fit, job)
    if state is None:
        return None
    checkpoint.write_checkpoint(vae, state, file)
    # Adapters are trained against the rounded weights that they will meet.
    return vae, checkpoint.read_parts(file)[1], pool


def train(job: Job) -> bool:
    """Train what is missing, in order; False if told to stop on the way."""
    wanted = [kind for kind in stages.ADAPTERS if job.only in (None, kind)]
    missing = [kind for kind in wanted if not (job.weights / checkpoint.adapter_file(kind)).exists()]
    if not missing and (job.weights / checkpoint.CHECKPOINT).exists():
        return job.only is None
    parts = denoiser_parts(job)
    if parts is None:
        return False
    _, denoiser, pool = parts
    for kind in missing:
        fit = stages.fit_adapter(kind, job.plans[kind], denoiser, pool, job.device, job.work / f"{kind}.state")
        state = finish(fit, job)
        if state is None:
            return False
        checkpoint.write_adapter(state, kind, job.weights)
    return job.only is None


def main(argv: list[str]) -> None:
    """Run the command."""
    options = arguments(argv)
    folder = use_comfyui(options.comfyui)
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 3
    complete = train(plan_job(options))
    if complete and not options.no_table:
        from . import measure

        measure.main(["--comfyui", str(folder), "--weights", str(options.weights)])
