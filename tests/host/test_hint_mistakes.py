"""An image of another kind than the adapter was trained on is told on the node; what the annotators make is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from t2i_adapter_miniature import conditions, scenes
from t2i_adapter_pack.adapter_models.conditions import CONDITIONS
from t2i_adapter_pack.annotators.canny import canny
from t2i_adapter_pack.annotators.depth import normalize_depth
from t2i_adapter_pack.annotators.gray import gray
from t2i_adapter_pack.annotators.keypoints import Person, Poses
from t2i_adapter_pack.annotators.palette import palette
from t2i_adapter_pack.annotators.pose import draw_poses
from t2i_adapter_pack.annotators.segmentation import paint as paint_labels
from t2i_adapter_pack.annotators.sketch import clean_sketch

from ..annotators.photographs import NAMES, photograph, pictures
from ..annotators.test_pose import BODY, SIZE
from . import tiny

pytestmark = pytest.mark.host
PHOTOGRAPHS = {name: pictures(photograph(name)[::2, ::2]) for name in NAMES}


def facts(condition: str | None) -> Any:
    """What the check reads of an adapter for a condition."""
    return SimpleNamespace(condition=next((row for row in CONDITIONS if row.name == condition), None))


def mistake(condition: str | None, hint: torch.Tensor) -> str | None:
    from t2i_adapter_pack.nodes.sampling.hint_mistakes import image_mistake

    return image_mistake(facts(condition), hint)


def running(node: str) -> Any:
    """While it lasts, ComfyUI runs the node of this id."""
    from comfy_execution.utils import CurrentNodeContext

    return CurrentNodeContext("prompt", node)


def skeleton(style: str = "openpose") -> torch.Tensor:
    return draw_poses(Poses(SIZE, ((Person(tuple(BODY)),),)), style)


def labels() -> torch.Tensor:
    rows = torch.arange(64).view(-1, 1) // 16
    return paint_labels((rows + 3 * (torch.arange(64) // 16)).unsqueeze(0) * 9 + 1)


def made_by_annotators() -> dict[str, list[torch.Tensor]]:
    """Condition images of photographs, painted scenes and a body, by condition."""
    drawn = scenes.draw_scenes(torch.arange(2))
    field = scenes.distances(drawn)
    made: dict[str, list[torch.Tensor]] = {
        "sketch": [conditions.sketch(field)],
        "color": [conditions.palette(scenes.paint(drawn, field))],
        "segmentation": [conditions.segmentation(drawn, field), labels()],
        "depth": [conditions.depth(field)],
        "openpose": [skeleton(), skeleton("openpose bgr")],
        "keypose": [skeleton("keypose")],
    }
    for photo in PHOTOGRAPHS.values():
        soft = [clean_sketch(photo, mode, threshold) for mode in ("line art", "xdog") for threshold in (0.0, 0.5)]
        made["sketch"] += soft
        made.setdefault("lineart", []).extend(soft)
        made.setdefault("canny", []).extend([canny(photo), canny(photo, 40.0, 110.0)])
        made["color"].append(palette(photo))
        made.setdefault("recolor", []).append(gray(photo))
        made["depth"].append(normalize_depth(gray(photo), "midas", "disparity", 0.0))
        made.setdefault("zoedepth", []).append(normalize_depth(gray(photo), "zoe", "depth", 0.0))
    return made


def test_what_the_annotators_make_is_told_of_nowhere():
    made = made_by_annotators()
    assert set(made) == {row.name for row in CONDITIONS if row.name != "style"}
    told = {(name, mistake(name, hint)) for name, hints in made.items() for hint in hints}
    assert {text for _, text in told} == {None}, told


def test_a_half_precision_gray_or_transparent_image_is_seen_alike():
    lines = canny(PHOTOGRAPHS["coffee"])
    for hint in (lines.half(), lines[:, :1], torch.cat((lines, torch.ones_like(lines[:, :1])), 1)):
        assert mistake("canny", hint) is None
        assert "bright ground" in str(
            mistake("canny", 1 - hint if hint.shape[1] < 4 else torch.cat((1 - lines, lines), 1))
        )


# A few of ADE20K's colours, as maps for ControlNets have them.
ADE20K = ((120, 120, 120), (180, 120, 120), (6, 230, 230), (80, 50, 50), (4, 200, 3), (235, 255, 7), (61, 230, 250))


def ade20k() -> torch.Tensor:
    rows = torch.tensor(ADE20K)[torch.arange(128) // 16 % len(ADE20K)] / 255
    return rows.view(1, 128, 1, 3).expand(-1, -1, 128, -1).movedim(-1, 1)


LINES = canny(PHOTOGRAPHS["coffee"])
MISTAKES = {
    "dark lines on white": (("sketch", "canny", "lineart"), 1 - LINES, "a bright ground"),
    "soft dark lines on white": (("sketch",), 1 - clean_sketch(PHOTOGRAPHS["coffee"], "xdog", 0.0), "a bright ground"),
    "a photograph": (("sketch", "canny", "lineart", "depth", "zoedepth"), PHOTOGRAPHS["coffee"], "colours"),
    "a photograph for a pose": (("openpose", "keypose"), PHOTOGRAPHS["coffee"], "no black ground"),
    "a photograph for segmentation": (("segmentation",), PHOTOGRAPHS["coffee"], "COCO-Stuff"),
    "ADE20K's colours": (("segmentation",), ade20k(), "ADE20K"),
    "a segmentation": (("sketch", "canny", "lineart", "depth"), labels(), "colours"),
    "a palette": (("sketch", "canny", "lineart"), palette(PHOTOGRAPHS["astronaut"]), "colours"),
    "a skeleton": (("sketch", "depth"), skeleton(), "colours"),
    "a depth map": (("sketch", "canny", "lineart"), gray(PHOTOGRAPHS["camera"]), ""),
    "lines for depth": (("depth", "zoedepth"), LINES, "only black and white"),
    "lines for colours": (("color", "segmentation"), LINES, ""),
    "lines for a pose": (("openpose", "keypose"), LINES, "no colours"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_another_kind_of_image_is_told_with_what_is_expected_and_what_mends_it(name):
    from t2i_adapter_pack.nodes.sampling import hint_mistakes

    for condition, hint, sees in ((each, *MISTAKES[name][1:]) for each in MISTAKES[name][0]):
        text = mistake(condition, hint)
        assert text is not None, condition
        expects, mends = facts(condition).condition.expects, hint_mistakes.MENDS[condition]
        assert text.startswith("The condition image shows ")
        assert sees in text
        assert text.endswith(f". This adapter expects {expects}. {mends}")
    assert mistake(None, MISTAKES[name][1]) is None  # unknown adapters may take anything


@pytest.mark.parametrize("condition", [*(row.name for row in CONDITIONS), None])
def test_a_black_image_is_told_whatever_the_adapter(condition):
    assert str(mistake(condition, torch.zeros(1, 3, 64, 64))).startswith("The condition image is black everywhere.")


def test_one_stroke_is_no_black_image():
    hint = torch.zeros(2, 3, 512, 512)
    hint[1, :, 100, 100:140] = 1
    assert mistake("sketch", hint) is None


def test_the_advice_names_nodes_that_exist():
    from t2i_adapter_pack.nodes import NODES
    from t2i_adapter_pack.nodes.sampling import hint_mistakes

    import nodes as core

    names = {node.GET_SCHEMA().display_name for node in NODES}
    core_names = {*core.NODE_DISPLAY_NAME_MAPPINGS.values(), "Invert Image"}
    texts = " ".join((*hint_mistakes.MENDS.values(), str(hint_mistakes.mask_mistake(torch.zeros(1, 8, 8)))))
    named = set(re.findall(r"T2I [A-Z]\w+(?: [A-Z]\w+)*(?: \(\w+\))?|Invert Image|Load Image", texts))
    assert len(named) > 10
    assert named <= names | core_names


def test_a_mask_that_was_never_painted_is_told():
    from t2i_adapter_pack.nodes.sampling.hint_mistakes import mask_mistake

    never_painted = torch.zeros(1, 64, 64)  # as Load Image gives it
    assert "acts nowhere" in str(mask_mistake(never_painted))
    never_painted[0, 3, 3] = 0.5
    assert mask_mistake(never_painted) is None
    assert mask_mistake(None) is None


@pytest.mark.parametrize(
    ("hint", "size", "share"),
    [((300, 900), (512, 512), "33%"), ((512, 512), (512, 1024), "50%"), ((512, 768), (512, 512), None),
     ((768, 512), (512, 512), None), ((64, 64), (512, 512), None)],
)  # fmt: skip
def test_a_crop_that_leaves_little_is_told(hint, size, share):
    from t2i_adapter_pack.nodes.sampling.hint_mistakes import crop_mistake

    text = crop_mistake(hint, size)
    assert (text is None) == (share is None)
    assert share is None or share in str(text)


@pytest.fixture
def page(monkeypatch) -> Iterator[list[tuple[str, str]]]:
    """What the page is told: pairs of node and text; an empty text removes the last one."""
    import server

    told: list[tuple[str, str]] = []
    events: list[Any] = []

    def sync(event: str, data: dict[str, Any]) -> None:
        events.append((event, *data.values()))
        if event == "t2i_adapter.text":
            told.append(events[-1][1:])

    instance = SimpleNamespace(
        send_progress_text=lambda text, node: events.append(("progress", node, text)),
        send_sync=sync,
        client_id=None,
        events=events,
    )
    monkeypatch.setattr(server.PromptServer, "instance", instance, raising=False)
    yield told
    # Pages without the script show the progress texts alone, which must not be empty.
    progress = [event[1:] for event in events if event[0] == "progress"]
    assert progress == [event[1:] for event in events if event[0] == "t2i_adapter.text" and event[2]]


def test_apply_tells_on_its_node_and_never_refuses(sd, page):
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd15v2.pth")
    paper = (1 - LINES)[..., :100, :].movedim(1, -1)
    with running("7"):
        patched = ApplyT2IAdapter.execute(sd, adapter, paper, mask=torch.zeros(1, 64, 64))[0]
    ((told_on, text),) = page
    assert told_on == "7"
    assert [line.partition(".")[0] for line in text.splitlines()] == [
        "The condition image shows a bright ground, as dark lines on paper do",
        "The mask is black everywhere, so the adapter acts nowhere",
    ]
    page.clear()
    tiny.sample(patched, tiny.latent(16, 16), steps=1)
    assert [(node, text.count("\n")) for node, text in page] == [("7", 2)]
    assert "Only 33% of the condition image is used" in page[0][1]
    page.clear()
    tiny.sample(patched, tiny.latent(8, 24), steps=1)
    assert page == [("7", text)]
    page.clear()


def test_a_text_goes_when_the_picture_fits(sd, page):
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd15v2.pth")
    wide = torch.zeros(1, 64, 192, 3)
    wide[:, 20:24] = 1
    with running("7"):
        patched = ApplyT2IAdapter.execute(sd, adapter, wide)[0]
        padded = ApplyT2IAdapter.execute(sd, adapter, wide, fit="pad")[0]
    assert page == []
    for model, size in ((patched, (8, 8)), (patched, (8, 24)), (padded, (8, 8))):
        tiny.sample(model, tiny.latent(*size), steps=1)
    assert [bool(text) for _, text in page] == [True, False, False]


def test_apply_controlnet_tells_of_an_image_too(sd, page):
    from t2i_adapter_pack.nodes.as_controlnet import T2IAdapterToControlNet

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd15v2.pth")
    control = T2IAdapterToControlNet.execute(adapter)[0]
    with running("9"):
        tiny.apply_core(tiny.conditioning(1), tiny.conditioning(2), control, (1 - LINES).movedim(1, -1))
    assert {node for node, _ in page} == {"9"}
    assert "bright ground" in page[0][1]


@pytest.fixture
def shown(page, monkeypatch, tmp_path) -> Any:
    """Read the pictures in what a node tells the page."""
    import folder_paths
    import server

    monkeypatch.setattr(folder_paths, "temp_directory", str(tmp_path))
    server.PromptServer.instance.client_id = "page"

    def read(ui: Any) -> torch.Tensor:
        assert {image["type"] for image in ui["images"]} == {"temp"}
        files = [Image.open(tmp_path / image["filename"]).convert("RGB") for image in ui["images"]]
        return torch.stack([torch.from_numpy(np.asarray(file).copy()) / 255 for file in files])

    return read


def test_annotators_show_their_whole_batch_where_a_page_waits(shown):
    import server
    from t2i_adapter_pack.nodes.annotate import T2IAnnotateCanny

    batch = torch.cat([PHOTOGRAPHS["coffee"], PHOTOGRAPHS["coffee"].flip(-1)]).movedim(1, -1)
    with running("3"):
        output = T2IAnnotateCanny.execute(batch)
        assert (shown(output.ui) - output[0]).abs().mean() < 0.02
        server.PromptServer.instance.client_id = None
        assert T2IAnnotateCanny.execute(batch).ui is None
    server.PromptServer.instance.client_id = "page"
    assert T2IAnnotateCanny.execute(batch).ui is None  # outside of a graph, as in the training command


def test_every_annotator_shows_its_images():
    from t2i_adapter_pack.nodes import NODES

    schemas = [node.GET_SCHEMA() for node in NODES]
    annotators = [schema for schema in schemas if schema.category == "T2I-Adapter/annotators"]
    assert len(annotators) == 14
    # The page gets the images again when the node is cached.
    assert all(schema.has_intermediate_output for schema in annotators)


def test_apply_shows_the_image_as_used_when_asked(sd, shown):
    import server
    from t2i_adapter_pack.nodes.apply import ApplyT2IAdapter

    events = server.PromptServer.instance.events
    image, mask = torch.zeros(1, 64, 128, 3), torch.ones(1, 64, 128)
    image[:, :, 60:68] = 1
    mask[:, :, 64:] = 0
    adapter = tiny.adapter(tiny.adapter_config())
    pictures = {}
    for asked in (False, True):
        with running("7"):
            patched = ApplyT2IAdapter.execute(sd, adapter, image, mask=mask, show_image=asked)[0]
        with running("9"):
            pictures[asked] = tiny.sample(patched, tiny.latent(16, 16), steps=1)
        told = [event[1:] for event in events if event[0] == "executed"]
        assert len(told) == asked
    assert torch.equal(pictures[False], pictures[True])
    ((node, display_node, output, prompt),) = told
    assert (node, display_node, prompt) == ("7", "7", "prompt")
    (used,) = shown(output)
    assert used.shape == (128, 128, 3)
    assert used[:, 58:62].min() > 0.9  # the line, cropped to the middle
    assert used[:, :40].max() < 0.1
    assert (used[:, 80:] - torch.tensor([0.4, 0.0, 0.0])).abs().max() < 0.1
