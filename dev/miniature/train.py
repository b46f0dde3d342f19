"""Train everything, in one command: `python dev/miniature train --comfyui /path/to/ComfyUI`.

Parts, in order: the VAE, the UNet with its text encoder, the adapters for sketch, colour and segmentation. A part whose
file exists is skipped, and an interrupted part resumes at its last saved step, so the same command finishes an
interrupted run. At the end it prints the table of measures.

`--only second` trains a second model instead: the first one fine-tuned on pictures in another style, to test whether
the adapters work with it.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from safetensors.torch import load_file

from . import adapters, checkpoint, scenes, stages
from .checkpoint import State
from .generate import Studio
from .host import use_comfyui
from .loop import Fit, Plan

HERE = Path(__file__).resolve().parent
SECOND = "second"
PLANS: dict[str, Plan] = {
    "vae": Plan(steps=8000, batch=64, rate=2e-3, seed=1),
    "denoiser": Plan(steps=20000, batch=256, rate=8e-4, warmup=500, decay=0.9995, seed=2),
    SECOND: Plan(steps=300, batch=32, rate=2e-4, warmup=30, decay=0.99, seed=6),
}
POOL = 262144
SECOND_POOL = 4096


@dataclasses.dataclass(frozen=True)
class Job:
    """The folders of a run, and its share of the full training."""

    weights: Path
    work: Path
    device: torch.device
    plans: dict[str, Plan]
    adapters: tuple[adapters.AdapterPlan, ...]
    pool: int
    stop_at: int | None
    only: str | None


def arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="miniature train", description="Train the miniature and its adapters.")
    parser.add_argument("--comfyui", help="ComfyUI's folder; default: the variable COMFYUI_PATH")
    parser.add_argument("--world", choices=("shapes", "landscapes"), default="shapes", help="what the pictures show")
    parser.add_argument("--weights", type=Path, help="folder for the finished files; default: the world's own")
    parser.add_argument("--work", type=Path, help="folder for the states in between; default: .miniature here")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--scale", type=float, default=1.0, help="share of each part's steps, and of the pool")
    parser.add_argument("--batch", type=int, help="another batch size for the VAE and the UNet")
    parser.add_argument(
        "--only",
        choices=(*PLANS, *checkpoint.CONDITIONS, "judge"),
        help="train this part and no other; depth and the judge are parts of the landscapes",
    )
    parser.add_argument("--stop-at", type=int, help="stop the VAE or the UNet at this step")
    parser.add_argument(
        "--workers",
        type=int,
        help="landscapes: processes that train together and share each batch; default: 2 on a CPU, 1 on a GPU",
    )
    parser.add_argument("--rank", type=int, default=0, help=argparse.SUPPRESS)
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
    scaled = tuple(
        dataclasses.replace(
            plan,
            steps=max(2, int(plan.steps * options.scale)),
            pictures=max(plan.batch, int(plan.pictures * options.scale)),
        )
        for plan in adapters.PLANS
    )
    options.work.mkdir(parents=True, exist_ok=True)
    pool = max(256, int(POOL * min(1.0, options.scale)))
    device = torch.device(options.device)
    return Job(options.weights, options.work, device, plans, scaled, pool, options.stop_at, options.only)


def finish(fit: Fit, job: Job) -> State | None:
    """Train a part; return its averaged weights if it is complete, None if it was stopped before."""
    done = fit.run(job.stop_at)
    return fit.averaged() if done else None


def vae_state(job: Job) -> State | None:
    """Return the trained VAE; train it first if it is missing. None if it was stopped before its end."""
    file = job.work / "vae.safetensors"
    if file.exists():
        return load_file(file)
    state = finish(stages.fit_vae(job.plans["vae"], job.device, job.work / "vae.state"), job)
    if state is not None:
        state = stages.finished_vae(state, job.device)
        checkpoint.write(state, file)
    return state


def make_checkpoint(job: Job) -> bool:
    """Train the VAE and the denoiser if their file is missing; False if stopped before they are complete."""
    file = job.weights / checkpoint.CHECKPOINT
    if file.exists():
        return True
    vae = vae_state(job)
    if vae is None or job.only == "vae":
        return False
    pool = stages.build_pool(vae, job.pool, job.device)
    state = finish(stages.fit_denoiser(job.plans["denoiser"], pool, job.device, job.work / "denoiser.state"), job)
    if state is None:
        return False
    checkpoint.write_checkpoint(vae, state, file)
    return True


def make_second(job: Job) -> bool:
    """Fine-tune the denoiser on plump shapes, into a separate file; False if stopped before its end."""
    file = job.weights / checkpoint.SECOND
    if file.exists():
        return True
    vae, denoiser = checkpoint.read_parts(HERE / "weights" / checkpoint.CHECKPOINT)
    pool = stages.build_pool(vae, min(job.pool, SECOND_POOL), job.device, scenes.paint_rounded)
    plan = job.plans[SECOND]
    state = finish(stages.fit_denoiser(plan, pool, job.device, job.work / "second.state", denoiser), job)
    if state is None:
        return False
    checkpoint.write_checkpoint(vae, state, file)
    return True


def make_adapters(job: Job, folder: Path) -> None:
    """Train the adapters that are missing, one after the other."""
    wanted = [plan for plan in job.adapters if job.only in (None, plan.kind)]
    missing = [plan for plan in wanted if not (job.weights / checkpoint.adapter_file(plan.kind)).exists()]
    if missing:
        studio = Studio(str(folder), job.weights)
        for plan in missing:
            adapters.train_adapter(studio, plan, job.weights, job.work)


def train(job: Job, folder: Path) -> bool:
    """Train what is missing, in order; False if something is still incomplete."""
    if job.only == SECOND:
        make_second(job)
        return False
    if not make_checkpoint(job):
        return False
    make_adapters(job, folder)
    return job.only is None


def main(argv: list[str]) -> None:
    """Run the command."""
    options = arguments(argv)
    folder = use_comfyui(options.comfyui)
    if options.world == "landscapes":
        from .landscapes import recipe

        recipe.main(options, folder, argv)
        return
    options.weights, options.work = options.weights or HERE / "weights", options.work or Path(".miniature")
    torch.backends.cuda.matmul.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    torch.backends.cudnn.benchmark_limit = 3
    complete = train(plan_job(options), folder)
    if complete and not options.no_table:
        from . import measure

        measure.main(["--comfyui", str(folder), "--weights", str(options.weights)])
