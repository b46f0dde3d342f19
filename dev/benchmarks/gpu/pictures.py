"""Time of the first picture after a start, including loading the adapter and models, and of the second."""

from __future__ import annotations

import gc
from collections.abc import Iterator

from .. import models, report
from ..measure import interleave, ratios, summarise, timed
from .setting import Family, Row, Setting

FAMILIES: tuple[Family, ...] = ("SD", "SDXL")
WHICH = ("first", "second")


def cases(setting: Setting) -> list[tuple[str, str]]:
    """Return (table, case) of every row."""
    return [("pictures", _case(family, which, setting)) for family in _families(setting) for which in WHICH]


def _families(setting: Setting) -> tuple[Family, ...]:
    return FAMILIES[:1] if setting.brief else FAMILIES


def _case(family: Family, which: str, setting: Setting) -> str:
    return f"{family} {setting.size(family)}, {which} picture, {_steps(setting)} steps"


def _steps(setting: Setting) -> int:
    return 2 if setting.small else 20


def run(setting: Setting) -> Iterator[Row]:
    """Measure ours and core's by turns."""
    families = _families(setting)
    for number, family in enumerate(families):
        times = _measure(family, setting, len(families) - number)
        for which in WHICH:
            ours, core = times["ours", which], times["core", which]
            ratio = summarise(ratios(ours, core))
            seconds = (report.spread(summarise(each)) for each in (ours, core))
            yield "pictures", (
                _case(family, which, setting), *seconds, report.spread(ratio), report.verdict(ratio, 1.0)
            )  # fmt: skip


def _measure(family: Family, setting: Setting, left: int) -> dict[tuple[str, str], list[float]]:
    scale = models.Scale(setting.device, family, setting.small)
    model, size, steps = models.unet(scale), setting.size(family), _steps(setting)
    models.adapter_file(scale)  # written before the timing
    models.job("bare", model, scale, size).sample(2)
    second: dict[str, list[float]] = {"ours": [], "core": []}

    def turn(variant: str) -> float:
        _forget()
        made: list[models.Job] = []

        def first() -> None:
            made.append(models.job(variant, model, scale, size))
            made[0].sample(steps)

        seconds = timed(first, setting.device)
        second[variant].append(timed(lambda: made[0].sample(steps, seed=1), setting.device))
        return seconds

    turns = {variant: lambda variant=variant: turn(variant) for variant in second}  # type: ignore[misc]
    first = interleave(turns, setting.patience(left, 0.01), [("ours", "core")])
    return {(variant, which): found[variant] for which, found in zip(WHICH, (first, second), strict=True)
            for variant in found}  # fmt: skip


def _forget() -> None:
    """Free the device's memory, as after a start."""
    import comfy.model_management

    comfy.model_management.unload_all_models()
    gc.collect()
    comfy.model_management.soft_empty_cache()
