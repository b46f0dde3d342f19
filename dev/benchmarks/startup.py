"""The time to import the pack, as ComfyUI prints it at start."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from ..tasks import links, paths
from . import report
from .measure import summarise
from .options import Options

GOAL = 0.15
STARTS = 5
LIMIT = 300.0
TIMER = "t2i_import_timer"
MARK = "imported in "
# ComfyUI prints tenths of a second. This custom node makes ComfyUI load the pack in the same way, and prints more
# digits.
TIMER_SOURCE = f'''
import time
from comfy_api.latest import ComfyExtension

class Empty(ComfyExtension):
    async def get_node_list(self):
        return []

async def comfy_entrypoint():
    import nodes
    started = time.perf_counter()
    loaded = await nodes.load_custom_node({{pack!r}}, set(), "custom_nodes")
    print(f"{MARK}{{{{time.perf_counter() - started}}}} {{{{loaded}}}}")
    return Empty()
'''


def run(options: Options) -> report.Section:
    """Start ComfyUI several times with the pack, and several times with the timer that loads it."""
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory() as folder:
        with_pack, with_timer = _with_pack(Path(folder, "pack")), _with_timer(Path(folder, "timer"))
        # Python stores the pack's bytecode beside it or, with PYTHONPYCACHEPREFIX, by its path.
        first = _printed(_start(comfyui, with_pack))
        printed, precise = [], []
        if not options.quick:
            _start(comfyui, with_timer)
            for _ in range(STARTS):
                printed.append(_printed(_start(comfyui, with_pack)))
                precise.append(_precise(_start(comfyui, with_timer)))
    table = report.Table(("figure", "seconds", "goal", "holds"))
    table.add(
        'printed under "Import times for custom nodes", first start after an installation', f"{first:.1f}", "", ""
    )
    if printed:
        figure = summarise(printed)
        table.add("the same, later starts", report.spread(figure, 1), f"≤ {GOAL}", report.holds(figure.median, GOAL))
        figure = summarise(precise)
        table.add("the same call of ComfyUI, timed", report.spread(figure), f"≤ {GOAL}", report.verdict(figure, GOAL))
    notes = [
        "Real starts: `main.py --cpu --quick-test-for-ci` with a base directory that links the pack. The first start "
        "compiles the pack; if Python stores no bytecode (PYTHONDONTWRITEBYTECODE), every start is a first one."
    ]
    return report.Section(options.key("startup"), "Import by ComfyUI", [table], notes)


def _with_pack(base: Path) -> Path:
    (base / "custom_nodes").mkdir(parents=True)
    links.link(paths.ROOT, base / "custom_nodes" / paths.PACK_NAME)
    return base


def _with_timer(base: Path) -> Path:
    timer = base / "custom_nodes" / TIMER
    timer.mkdir(parents=True)
    # Outside custom_nodes, so that only the timer loads it.
    pack = base / "timed" / paths.PACK_NAME
    links.link(paths.ROOT, pack)
    (timer / "__init__.py").write_text(TIMER_SOURCE.format(pack=str(pack)), encoding="utf-8")
    return base


def _start(comfyui: Path, base: Path) -> str:
    command = [sys.executable, str(comfyui / "main.py"), "--cpu", "--quick-test-for-ci", "--base-directory", str(base)]
    command += ["--database-url", "sqlite:///:memory:", "--disable-api-nodes", "--disable-auto-launch"]
    done = subprocess.run(
        command, cwd=base, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=LIMIT
    )
    if done.returncode != 0:
        raise RuntimeError(f"ComfyUI: got status {done.returncode}; expected a start.\n{done.stdout[-3000:]}")
    return done.stdout


def _printed(log: str) -> float:
    found = re.search(rf"([\d.]+) seconds(.*): .*{paths.PACK_NAME}", log)
    if found is None or found[2]:
        raise RuntimeError(f"ComfyUI: got no import of {paths.PACK_NAME}; expected its time.\n{log[-3000:]}")
    return float(found[1])


def _precise(log: str) -> float:
    found = re.search(rf"{MARK}([\d.e-]+) True", log)
    if found is None:
        raise RuntimeError(f"ComfyUI: got no time from the timer; expected one.\n{log[-3000:]}")
    return float(found[1])
