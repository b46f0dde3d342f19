"""Every benchmark runs and fills its tables. Measured values are not asserted, since machines differ."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from t2i_adapter_pack.dev.benchmarks import main, report

# Ten seconds of it are ComfyUI starting; a machine that does other things at the same time takes minutes.
pytestmark = [pytest.mark.host, pytest.mark.slow, pytest.mark.workshop, pytest.mark.timeout(900)]
LAUNCH = Path(__file__).absolute().parents[3] / "dev" / "tasks" / "launch.py"
# In processes of their own, at the same time: they import ComfyUI on the CPU, whatever this process has.
TOGETHER = (
    (
        "forwards",
        "allocations",
        "forward",
        "load",
        "annotators",
        "annotator_networks",
        "step",
        "features",
        "train",
        "feeding",
    ),
    ("startup",),
)


@pytest.fixture(scope="module")
def results(comfyui_path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("benchmarks")
    running = []
    for number, names in enumerate(TOGETHER):
        out = folder / f"{number}.md"
        command = [sys.executable, str(LAUNCH), "dev.benchmarks.main", "--quick", "--device", "cpu", "--out", str(out)]
        command += [word for name in names for word in ("--only", name)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        running.append((out, subprocess.Popen(command, env={**os.environ, "COMFYUI_PATH": str(comfyui_path)}, **pipes)))
    texts = []
    for out, process in running:
        printed, _ = process.communicate(timeout=840)
        assert process.returncode == 0, printed[-3000:]
        texts.append(out.read_text(encoding="utf-8"))
    return "\n".join(texts)


def rows(text, name):
    section = text.split(f"<!-- begin {name} cpu quick -->")[1].split("<!-- end")[0]
    return [line for line in section.splitlines() if line.startswith("|") and not line.startswith("| ---")]


def test_all_benchmarks_are_tested():
    assert sorted(name for names in TOGETHER for name in names) == sorted(main.BENCHMARKS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("forwards", ("another seed", "another image")),
        ("allocations", ("ours ×4", "four adapters", "bare")),
        ("startup", ("Import times",)),
        ("forward", ("diffusers", "core", "ours, float32 file")),
        ("load", ("read once", "mapped", "peak memory")),
        ("features", ("mask", "schedule, by noise", "as ControlNet", "two areas")),
        ("annotators", ("canny, L2 / OpenCV", "palette / OpenCV", "gray / Pillow")),
        ("annotator_networks", ("PiDiNet", "HED", "lineart", "ours / controlnet_aux")),
        ("train", ("ours / diffusers' script", "ours, checkpointing", "diffusers, UNet frozen", "bf16", "peak memory")),
        ("feeding", ("one by one", "map: canny", "made ahead by threads", "50 listed, MB", "drawing from 1000, ms")),
        ("step", ("ours / bare", "ours / core", "ours ×4 / core ×4", "| core ×4 |")),
    ],
)
def test_a_benchmark_fills_its_tables(results, name, words):
    found = "\n".join(rows(results, name))
    assert all(word in found for word in words), found


def test_goals_without_timing_are_met(results):
    counts = [[cell.strip() for cell in row.split("|")[2:4]] for row in rows(results, "forwards")[1:]]
    assert counts == [["1", "1"], ["0", "0"], ["0", "0"], ["0", "0"], ["1", "1"]]
    allocated = [row for row in rows(results, "allocations") if row.startswith("| ours") and "0 | 0.0 MB | 0" in row]
    assert len(allocated) == 2


def test_the_training_loops_give_the_same_loss(results):
    """With the same batch and weights in fp32, both losses agree up to rounding."""
    losses = [row.split("|")[2:4] for row in rows(results, "train") if row.startswith("| loss of the same batch, fp32")]
    assert len(losses) == 1
    ours, theirs = map(float, losses[0])
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_annotators_agree_in_every_pixel(results):
    head, *cells = ([cell.strip() for cell in row.strip("|").split("|")] for row in rows(results, "annotators"))
    column = head.index("pixels that differ")
    assert [row[column] for row in cells] == ["0"] * 8


def test_a_second_run_replaces_its_own_section_only(tmp_path):
    out = tmp_path / "RESULTS.md"
    for key, title in (("step cpu", "first"), ("load cpu", "other"), ("step cpu", r"second \1")):
        report.write(report.Section(key, title, []), "a machine", out)
    text = out.read_text(encoding="utf-8")
    assert "first" not in text
    assert text.index(r"## second \1") < text.index("## other")
    assert text.startswith(report.TITLE)
