"""Tidy the workflows of example_workflows/ after an edit: `python3 run.py templates`.

A real ComfyUI provides the node definitions and runs the workflows on the miniature. Its page measures the nodes in
both renderers; their sizes decide the layout. The results of the runs become the thumbnails.
"""

import argparse
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from ...tasks import base_directory, browser
from ...tasks.server import ONE_THREAD, ComfyServer, device_arguments
from .. import served
from . import catalogue, layout, measuring, thumbnails, twins


def main(arguments: list[str]) -> int:
    """Run the twins of the workflows, measure and tidy the workflows, and write the thumbnails."""
    names = [one.name for one in twins.TWINS]
    parser = argparse.ArgumentParser(prog="templates", description=__doc__)
    parser.add_argument("--only", action="append", choices=names, help="draw only this thumbnail")
    parser.add_argument("--no-thumbnails", action="store_true", help="draw no thumbnails")
    parser.add_argument("--keep-sizes", action="store_true", help="don't measure the nodes")
    asked = parser.parse_args(arguments)
    chromium = None if asked.keep_sizes else browser.find(os.environ)
    if chromium is None and not asked.keep_sizes:
        print(f"{browser.ADVICE} The nodes keep their measured sizes.", flush=True)
    comfyui = Path(os.environ["COMFYUI_PATH"])
    with tempfile.TemporaryDirectory(prefix="templates-") as folder:
        base = base_directory.prepare(Path(folder) / "base", comfyui)
        with ComfyServer(comfyui, base, device_arguments(), ONE_THREAD) as server:
            new = measuring.measured(server, chromium) if chromium else None
            runs = {} if asked.keep_sizes and asked.no_thumbnails else run(server)
            if chromium and new:
                measuring.put_files(server)
                outputs = {name: one.outputs for name, one in runs.items()}
                layout.save(measuring.rows(new, measuring.measured(server, chromium, outputs)))
            tidy(server)
    if not asked.no_thumbnails:
        draw(runs, asked.only or names)
    return 0


def run(server: ComfyServer) -> Mapping[str, twins.Run]:
    """Run the twins; return their results by name."""
    known = twins.prepare(server)
    runs = {}
    for twin in twins.TWINS:
        runs[twin.name] = twins.run(server, twin, known)
        print(f"{twin.name}: ran", flush=True)
    return runs


def tidy(server: ComfyServer) -> None:
    """Rewrite the workflows, and the one that the demo opens."""
    known, sizes = catalogue.definitions(server), layout.load()
    for template in catalogue.TEMPLATES:
        template.path().write_text(catalogue.tidied(template.load(), known, template.name, sizes), encoding="utf-8")
    served.PATH.write_text(served.text(known), encoding="utf-8")


def draw(runs: Mapping[str, twins.Run], names: list[str]) -> None:
    """Write the thumbnails of these names."""
    for twin in twins.TWINS:
        if twin.name in names:
            path = twin.template.thumbnail()
            thumbnails.save(thumbnails.thumbnail(twin, runs[twin.name]), path)
            print(path, flush=True)
