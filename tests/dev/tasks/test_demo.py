"""The demo: its workflow files, its pictures, and one pass through the real server."""

import io
import json

import pytest
import torch
from PIL import Image
from t2i_adapter_miniature import measure, scenes
from t2i_adapter_pack.dev.demo import cases, main, progress, report, sheet, workflows
from t2i_adapter_pack.dev.tasks import client

PATHS = [workflows.WITHOUT, workflows.WITH]


def titles(workflow):
    return {node["_meta"]["title"] for node in workflow.values()}


def test_the_two_workflows_differ_by_the_adapter_only():
    without, with_adapter = map(workflows.load, PATHS)
    assert titles(with_adapter) - titles(without) == {"Adapter", "Apply the adapter"}
    for node, content in without.items():
        other = with_adapter[node]
        assert other["class_type"] == content["class_type"]
        changed = {name for name in content["inputs"] if content["inputs"][name] != other["inputs"][name]}
        assert changed <= {"model", "filename_prefix"}


def test_values_are_set_by_title_without_changing_the_file():
    workflow = workflows.load(workflows.WITHOUT)
    before = json.dumps(workflow)
    result = workflows.put(workflow, {("Prompt", "text"): "a lighthouse", ("Adapter", "adapter_name"): "x"})
    assert json.dumps(workflow) == before
    assert [node["inputs"]["text"] for node in result.values() if node["_meta"]["title"] == "Prompt"] == [
        "a lighthouse"
    ]


def test_a_misspelt_input_is_an_error():
    with pytest.raises(KeyError, match="expected one of"):
        workflows.put(workflows.load(workflows.WITHOUT), {("Prompt", "txt"): "a lighthouse"})


def test_cases_are_held_out_scenes():
    drawn = measure.held_out(3)
    assert bool((drawn.seed >= scenes.HELD_OUT).all())
    for size in (scenes.SIZE, 512):
        for case in cases.from_scenes(drawn, size):
            assert case.sketch.size == (size, size)
            values = torch.frombuffer(bytearray(case.sketch.tobytes()), dtype=torch.uint8)
            assert values.max() == 255
            assert 0.005 < (values > 127).float().mean() < 0.2, "white lines on black"
            assert "background" in case.prompt


def test_a_sheet_holds_pictures_of_any_aspect_and_prompts_of_any_length():
    pictures = [Image.new("RGB", size, "red") for size in ((128, 128), (64, 512), (512, 64))]
    made = sheet.make([("a long prompt " * 50, pictures), ("", pictures)])
    assert made.width == 4 * sheet.GAP + 3 * sheet.CELL
    assert made.height > 2 * sheet.CELL


@pytest.mark.parametrize(
    "arguments", [["--sketch", "x.png"], ["--prompt", "x"], ["--sketch", "no.png", "--prompt", "x"]]
)
def test_invalid_options_are_refused(arguments, capsys):
    with pytest.raises(SystemExit):
        main.parse(arguments)
    assert "expected" in capsys.readouterr().err


@pytest.mark.host
def test_the_demos_workflows_run_on_the_real_server(comfy_server):
    (case,) = cases.from_scenes(measure.held_out(1), scenes.SIZE)
    values = {("Prompt", "text"): case.prompt, ("Sketch", "image"): "sketch-1.png", ("Sampler", "steps"): 4}
    steps = []
    pictures = []
    for path in PATHS:
        workflow = workflows.put(workflows.load(path), values)
        uploads = {"sketch-1.png": case.png()}
        result = client.run(comfy_server.url, workflow, uploads, lambda _node, done, total: steps.append((done, total)))
        ((data,),) = result.images.values()
        pictures.append(Image.open(io.BytesIO(data)))
    assert {picture.size for picture in pictures} == {case.sketch.size}
    assert pictures[0].tobytes() != pictures[1].tobytes(), "the adapter changed nothing"
    assert (4, 4) in steps


@pytest.mark.host
def test_the_servers_reasons_for_a_refusal_are_shown(comfy_server):
    workflow = workflows.put(workflows.load(workflows.WITH), {("Checkpoint", "ckpt_name"): "no such file.safetensors"})
    with pytest.raises(client.WorkflowError, match=r"CheckpointLoaderSimple.*no such file"):
        client.run(comfy_server.url, workflow, {"sketch-1.png": cases.from_scenes(measure.held_out(1), 64)[0].png()})


def test_without_a_terminal_progress_is_one_line_per_picture(capsys):
    shown = progress.Progress(2)
    shown.waiting(1.0)
    for name in ("without", "with"):
        shown.start(name)
        for step in range(20):
            shown.step("9", step + 1, 20)
        shown.finish()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("]")[0] for line in lines] == ["[ 1/2", "[ 2/2"]


def test_the_report_scores_the_truth_high_and_black_low():
    drawn = measure.held_out(4)
    truth = [Image.fromarray((picture * 255).round().byte().numpy()) for picture in measure.truth(drawn)]
    lines = report.text([Image.new("RGB", truth[0].size, "black")] * 4, truth, drawn).splitlines()
    assert len(lines) == 3
    for line in lines[1:]:
        without, with_adapter = map(float, line.split()[-2:])
        assert without < 0.4
        assert with_adapter > 0.95


def test_without_truth_the_report_says_why():
    assert report.text([], [], None) == report.NOT_MEASURED
