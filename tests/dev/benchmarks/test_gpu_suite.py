"""`run.py gpu` on the CPU: all rows are there, each process ends in time, and a failed check is reported.

Measured values are not asserted.
"""

import contextlib
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import torch
from t2i_adapter_pack.dev.benchmarks import host_reads, models, report
from t2i_adapter_pack.dev.benchmarks.gpu import checks, children, main, parts, steps
from t2i_adapter_pack.dev.benchmarks.gpu.setting import TABLES, Setting

pytestmark = [pytest.mark.host, pytest.mark.timeout(600)]
ROOT = Path(__file__).absolute().parents[3]
CPU = torch.device("cpu")
BRIEF = Setting(CPU, brief=True)


@pytest.fixture(autouse=True)
def few_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# --- the parts -------------------------------------------------------------------------------------------------------


# SDXL's training has all that SD's has, and the command measures the pictures.
IN_PROCESS = [part for part in parts.PARTS if part.name not in ("training SD", "pictures")]


@pytest.mark.workshop
@pytest.mark.parametrize("part", IN_PROCESS, ids=lambda part: part.name)
def test_a_part_yields_every_announced_row(comfyui, part):
    rows = list(part.run(BRIEF))
    assert [(table, cells[0]) for table, cells in rows] == list(part.cases(BRIEF))
    assert all(len(cells) == len(TABLES[table][1]) for table, cells in rows)
    assert all(all(cells) for _, cells in rows), rows


def test_both_training_loops_give_the_same_loss_on_sdxl(comfyui):
    from t2i_adapter_pack.dev.benchmarks.training_loops import LOOPS, SCRIPT, Plan

    plan = Plan(CPU, 64, 1, "fp32", tiny=True, family="SDXL", checkpointing=True)
    model = models.unet(plan.scale, whole=True)
    with contextlib.ExitStack() as stack:
        ours, theirs = (LOOPS[name](stack, plan, model).step() for name in ("ours", SCRIPT))
    assert ours == pytest.approx(theirs, rel=1e-4)


def test_the_table_has_all_required_cases():
    setting = Setting(CPU)
    cases = [case for part in parts.PARTS for case in part.cases(setting)]
    count = {table: sum(row[0] == table for row in cases) for table in TABLES}
    # Two families, batches of one and four, one and four adapters, eager and compiled.
    assert count == {"steps": 16, "memory": 16, "reads": 8, "pictures": 4, "training": 2, "annotators": 4}
    assert len(set(cases)) == len(cases)


def test_a_part_without_time_left_reports_it():
    results = main.Results(CPU, "a machine", None)
    part = parts.PARTS[0]
    results.miss(part.cases(Setting(CPU)), "stopped after 3 s")
    assert [row[1] for row in results.tables["steps"].rows] == ["not measured: stopped after 3 s"] * 8


# --- waits of the host -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("inference", [False, True])
def test_reads_on_the_cpu_are_counted(inference):
    tensor = torch.arange(3.0)
    with host_reads.counting(CPU) as count, torch.inference_mode(inference):
        assert count() == 0
        tensor + 1
        assert count() == 0
        float(tensor[0]), bool(tensor[1] > 0), tensor[2].item(), tensor.tolist(), tensor.nonzero()
        assert count() == 5
        tensor.max().numpy()
    assert count() == 6


def test_waits_on_cuda_are_counted_from_its_warnings(monkeypatch):
    modes = [0]
    monkeypatch.setattr(torch.cuda, "get_sync_debug_mode", lambda: modes[-1])
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", modes.append)
    with host_reads.counting(torch.device("cuda")) as count:
        assert modes[-1] == "warn"
        for _ in range(2):  # both, though they come from the same line
            warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)
        assert count() == 2
    assert modes[-1] == 0


@pytest.mark.workshop
def test_waits_of_a_scheduled_adapter_are_counted(comfyui):
    """Its weights follow the noise level, which is on the device, so the count is not constant."""
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter

    scale = models.Scale(CPU, tiny=True)
    bare = models.job("bare", models.unet(scale), scale, 64)
    image = models.picture(64, 0)
    patched = ApplyT2IAdapter.execute(bare.model, models.our_adapter(scale), image, end_percent=0.5)[0]
    ranged = models.Job(patched, bare.positive, bare.negative, scale, 64)
    assert steps.reads_per_step(ranged) == steps.reads_per_step(bare) + 1


# --- processes -------------------------------------------------------------------------------------------------------


def python(code):
    return [sys.executable, "-c", code]


def test_lines_are_yielded_until_the_limit():
    seen = []
    with pytest.raises(children.StoppedError, match="stopped after 5 s"):
        for line in children.lines(python(SLEEPER), 5.0, os.environ):
            seen.append(line)  # noqa: PERF402 - what came before the error stays
    assert seen == ["begun\n"]


SLEEPER = """
import subprocess, sys, time
print("begun", flush=True)
# A child that holds the pipe open: it has to go too.
subprocess.run([sys.executable, "-c", "import time; time.sleep(60)"])
"""


def test_a_failed_process_reports_why():
    with pytest.raises(children.StoppedError, match=r"exit status 1: .*ZeroDivisionError"):
        list(children.lines(python("1 / 0"), 60.0, os.environ))


def test_processes_beside_a_block_end_with_it(tmp_path):
    mark = tmp_path / "mark"
    code = f"import pathlib, time; pathlib.Path({str(mark)!r}).touch(); time.sleep(60)"
    with children.beside([python(code)]):
        until = time.monotonic() + 60
        while not mark.exists() and time.monotonic() < until:
            time.sleep(0.1)
        started = time.monotonic()
    assert mark.exists()
    assert time.monotonic() - started < 30


# --- checks ----------------------------------------------------------------------------------------------------------

JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="right"/>
<testcase classname="a" name="wrong"><failure message="x">x</failure></testcase>
</testsuite></testsuites>"""


def test_a_failed_test_is_named():
    found = checks.read(JUNIT, "3 deselected: gpu: none\n", 4.0, "exit status 1: ")
    assert (found.passed, found.failed, found.left_out) == (1, ("a::wrong",), 3)
    assert found.bad
    assert found.verdict == "no"


def test_a_check_without_tests_is_left_out_and_a_stopped_one_fails():
    empty = "<testsuites><testsuite/></testsuites>"
    out = checks.read(empty, "2 deselected: devices: got one GPU\n", 1.0, "exit status 5: ")
    assert not out.bad
    assert out.verdict.startswith("left out")
    assert checks.read(empty, "", 1.0, "exit status 5: no tests").bad
    assert checks.Outcome(trouble="stopped after 60 s").bad


def test_every_file_of_a_check_exists():
    files = {file for check in (*checks.CHECKS, *checks.BRIEF) for cpu in (True, False) for file in check.files(cpu)}
    assert all((ROOT / file).is_file() for file in files)
    assert {path.relative_to(ROOT).as_posix() for path in (ROOT / "tests" / "gpu").glob("test_*.py")} <= files


# --- the command -----------------------------------------------------------------------------------------------------


def suite(*arguments, **environ):
    command = [sys.executable, str(ROOT / "dev" / "tasks" / "launch.py"), "dev.benchmarks.gpu.main", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=500, env={**os.environ, **environ}
    )


@pytest.mark.workshop
@pytest.mark.slow
def test_the_command_checks_measures_and_writes_results(comfyui_path, tmp_path):
    out = tmp_path / "RESULTS.md"
    done = suite("--device", "cpu", "--brief", "--out", str(out), COMFYUI_PATH=str(comfyui_path))
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    text = out.read_text(encoding="utf-8")
    assert "device cpu" in text
    check = next(line for line in text.splitlines() if line.startswith("| flags | --novram |"))
    assert check.endswith("| yes |")
    assert "SD 64, second picture" in text
    assert "not measured" not in text


def test_without_a_gpu_the_error_explains_what_to_do(comfyui_path, monkeypatch, tmp_path):
    monkeypatch.setenv("COMFYUI_PATH", str(comfyui_path))
    monkeypatch.setattr(main, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"got no CUDA device; expected one.*--device cpu"):
        main.main([])
    assert "has not run on a GPU" in (tmp_path / "RESULTS.md").read_text(encoding="utf-8")


def test_a_run_on_a_gpu_names_it_and_replaces_the_placeholder(tmp_path, monkeypatch):
    path = tmp_path / "RESULTS.md"
    main.note_absence(path)
    assert main.NOT_RUN in path.read_text(encoding="utf-8")
    card = torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "Fake Card 9000")
    main.Results(card, report.machine(card), path).write()
    main.note_absence(path)
    text = path.read_text(encoding="utf-8")
    assert "device cuda (Fake Card 9000)" in text
    assert "has not run" not in text


def test_the_results_state_whether_it_has_run_on_a_gpu():
    text = main.RESULTS.read_text(encoding="utf-8")
    section = text.split("<!-- begin gpu cuda -->")[1].split("<!-- end")[0]
    assert (main.NOT_RUN in section) != ("device cuda (" in section)
