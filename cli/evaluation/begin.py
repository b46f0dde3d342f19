"""From the user's choices to an evaluation: what is loaded and checked before any picture is made."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...common.checks import check_choice, check_finite
from ...nodes import host
from ...training.buckets import PixelSize, bucket_sizes
from ...training.cached_dataset import nothing_to_learn
from ...training.distributed import Processes
from ...training.recipe import digest
from ...training.run_names import check_run_name
from ...training.shards import list_data
from ..annotate import CommandAnnotator, find_preset, run_preset
from ..encode import LoadedCheckpoint, file_digest, read_checkpoint, wording_of
from ..models import in_one_file, read_parts
from ..options import AUTO_ANNOTATOR
from .contenders import Guide, Studio, contenders, load_guide
from .errors import EvaluationError
from .inputs import InputFolder
from .judges import PictureJudge, clip_judge, control_judge
from .options import EvaluationOptions
from .quality import load_inception
from .run import Evaluation

_log = logging.getLogger(__name__)
EVALUATIONS = "t2i_evaluations"


def evaluate_run(options: EvaluationOptions, processes: Processes) -> None:
    """Evaluate adapters, or continue an evaluation.

    Args:
        options: The user's choices.
        processes: The processes that share the work.

    Raises:
        AdapterError: An input does not fit; or a subclass, or an AnnotatorError.
    """
    name = check_run_name(options.name or options.adapter.stem)
    how = sampler_settings(options)
    results = (options.output or host.output_folder() / EVALUATIONS).expanduser().absolute()
    listing = list_data(options.data)
    samples = listing.samples[: options.samples]
    if not samples:
        raise nothing_to_learn(listing.skipped)
    checkpoint = read_checkpoint(options.checkpoint or "") if in_one_file(options) else read_parts(options)
    paths = [path.expanduser() for path in (options.adapter, *options.compare)]
    guides = [load_guide(path, checkpoint.model) for path in paths]
    condition = chosen_condition(options, guides[0])
    if processes.first:
        warn_of_conditions(guides, condition)
    inputs, judges = measured_inputs(options, condition, checkpoint, results / name, processes)
    device = checkpoint.model.load_device
    if options.clip_model is not None:
        judges.append(clip_judge(options.clip_model.expanduser(), device))
    # The first process alone compares sets of pictures.
    wanted = options.inception if processes.first else None
    inception = None if wanted is None else load_inception(wanted, results, device)
    negative = host.encode_prompt(checkpoint.clip, options.negative)
    studio = Studio(checkpoint, how, wording_of(options.prompt_weights), negative, options.strength)
    rows = contenders(studio, guides, digest(dict(inputs.facts)), options)
    work = (samples, listing.skipped, condition, inputs, rows, judges, inception)
    Evaluation(options, processes, results / name, *work).run()


def sampler_settings(options: EvaluationOptions) -> host.SamplerSettings:
    """Return the sampler's settings.

    Raises:
        EvaluationError: This ComfyUI has no such sampler or scheduler, or a number is not finite.
    """
    check_choice("--sampler", options.sampler, host.sampler_names(), error=EvaluationError)
    check_choice("--scheduler", options.scheduler, host.scheduler_names(), error=EvaluationError)
    check_finite("--cfg, --strength", options.cfg, options.strength, error=EvaluationError)
    return host.SamplerSettings(options.sampler, options.scheduler, options.steps, options.cfg)


def chosen_condition(options: EvaluationOptions, guide: Guide) -> str:
    """Return the condition: the user's choice, else what the adapter's file says.

    Raises:
        EvaluationError: Nobody says it.
    """
    info = None if guide.adapter is None else guide.adapter.info
    if options.condition is not None:
        return options.condition
    if info is None or info.condition is None:
        raise EvaluationError(
            "--condition",
            f"none, and {guide.path.name} does not tell it",
            "what the maps show",
            "Give --condition.",
            says="The condition of this file is unknown.",
        )
    return info.condition.name


def warn_of_conditions(guides: Sequence[Guide], condition: str) -> None:
    """Log which adapters were trained on something else than the maps."""
    for guide in guides:
        trained = None if guide.adapter is None else guide.adapter.info.condition
        if trained is not None and trained.name != condition:
            _log.warning("%s is an adapter for %s, and the maps are %s.", guide.path.name, trained.name, condition)


def measured_inputs(
    options: EvaluationOptions, condition: str, checkpoint: LoadedCheckpoint, folder: Path, processes: Processes
) -> tuple[InputFolder, list[PictureJudge]]:
    """Return the folder of inputs, and the measure of the control.

    Args:
        options: The user's choices.
        condition: What the maps show.
        checkpoint: The diffusion model, whose family selects the annotator's settings.
        folder: Folder of the evaluation.
        processes: The processes that share the work; the first one downloads weights.
    """
    family = "SDXL" if len(host.unet_outline(checkpoint.model).levels) == 3 else ""
    chosen = condition if options.annotator == AUTO_ANNOTATOR else options.annotator
    annotate, facts = annotation(chosen, family, options.annotator_file, processes)
    sizes = bucket_sizes(options.resolution) if options.all_shapes else squares(options.resolution)
    all_facts = {"condition": condition, "resolution": options.resolution, "sizes": sizes, "annotator": facts}
    inputs = InputFolder(folder / f"inputs-{digest(all_facts)[:8]}", all_facts, sizes, annotate, options.seed)
    if chosen == "keypose":
        # Only OpenPose's colours tell the joints apart.
        annotate, facts = annotation("openpose", family, options.annotator_file, processes)
    return inputs, [control_judge(condition, annotate, {"annotator": facts})]


def annotation(
    name: str, family: str, file: Path | None, processes: Processes
) -> tuple[CommandAnnotator, Mapping[str, Any]]:
    """Return an annotator and the facts that determine its maps; see :func:`run_preset`."""
    annotate = run_preset(find_preset(name, family), file, processes)
    weights = None if annotate.weights is None else file_digest(annotate.weights)
    return annotate, {"means": [annotate.preset.means, annotate.preset.resolution], "file": weights}


def squares(resolution: int) -> Sequence[PixelSize]:
    """Return the one size of square pictures.

    Raises:
        TrainingError: The resolution is not a multiple of 64.
    """
    bucket_sizes(resolution)
    return ((resolution, resolution),)
