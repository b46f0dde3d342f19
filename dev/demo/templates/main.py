"""Tidy the workflows of example_workflows/ after an edit, and draw their thumbnails: `python3 run.py templates`.

A real ComfyUI provides the node definitions, and draws the thumbnails with the miniature.
"""

import argparse
import os
import tempfile
from pathlib import Path

from ...tasks import base_directory
from ...tasks.server import ONE_THREAD, ComfyServer, device_arguments
from . import catalogue, thumbnails, twins


def main(arguments: list[str]) -> int:
    """Tidy the workflows, run their twins, and write the thumbnails."""
    parser = argparse.ArgumentParser(prog="templates", description=__doc__)
    parser.add_argument("--only", action="append", choices=[one.name for one in twins.TWINS], help="only this one")
    parser.add_argument("--no-thumbnails", action="store_true", help="only tidy the workflows")
    asked = parser.parse_args(arguments)
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory(prefix="templates-") as folder:
        base = base_directory.prepare(Path(folder) / "base", comfyui)
        with ComfyServer(comfyui, base, device_arguments(), ONE_THREAD) as server:
            known = catalogue.definitions(server)
            for template in catalogue.TEMPLATES:
                template.path().write_text(catalogue.tidied(template.load(), known), encoding="utf-8")
            if not asked.no_thumbnails:
                draw(server, asked.only or [one.name for one in twins.TWINS])
    return 0


def draw(server: ComfyServer, names: list[str]) -> None:
    """Run the twins of these names and write their thumbnails."""
    known = twins.prepare(server)
    for twin in twins.TWINS:
        if twin.name in names:
            path = twin.template.thumbnail()
            thumbnails.save(thumbnails.thumbnail(twin, twins.run(server, twin, known)), path)
            print(path, flush=True)
