"""The files of example_workflows/ are valid for the page, checked against the real server's nodes."""

from __future__ import annotations

from itertools import combinations
from typing import Any
from urllib.parse import quote
from urllib.request import ProxyHandler, build_opener

import pytest
from PIL import Image
from t2i_adapter_pack.dev.demo.templates import catalogue, layout, thumbnails
from t2i_adapter_pack.dev.demo.templates.convert import NOTES, to_prompt
from t2i_adapter_pack.dev.tasks import paths

pytestmark = pytest.mark.host
TEMPLATES = pytest.mark.parametrize("template", catalogue.TEMPLATES, ids=lambda one: one.name)
NAMES = {one.name for one in catalogue.TEMPLATES}
# Boxes that name files; LoadImage and its kin name the user's own.
FILE_BOXES = ("ckpt_name", "adapter_name", "style_name", "fuser_name", "clip_name", "weights")
ALL_TOGETHER = 1_000_000  # bytes
TITLE_BAR = 30  # above a node's position, in the page's units


def real(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in document["nodes"] if node["type"] not in NOTES]


def test_the_folder_holds_a_file_and_a_thumbnail_for_each_and_nothing_else():
    found = {path.name for path in catalogue.FOLDER.iterdir()}
    assert found == {f"{name}.{kind}" for name in NAMES for kind in ("json", "jpg")}
    assert sum(path.stat().st_size for path in catalogue.FOLDER.iterdir()) < ALL_TOGETHER


def test_the_server_offers_all_of_them_under_the_pack_s_name(comfy_server):
    assert set(comfy_server.get("/api/workflow_templates")[paths.PACK_NAME]) == NAMES


@TEMPLATES
def test_the_server_hands_out_file_and_thumbnail(comfy_server, template):
    for path in (template.path(), template.thumbnail()):
        address = quote(f"/api/workflow_templates/{paths.PACK_NAME}/{path.name}")
        with build_opener(ProxyHandler({})).open(comfy_server.url + address, timeout=30) as answer:
            assert answer.read() == path.read_bytes()


@TEMPLATES
def test_the_file_is_tidy(known, template):
    tidied = catalogue.tidied(template.load(), known, template.name, layout.load())
    assert template.path().read_text(encoding="utf-8") == tidied, "python3 run.py templates"


def test_what_the_page_saves_is_tidied(known):
    template = catalogue.TEMPLATES[0]
    saved = template.load()
    saved["extra"] |= {"ds": {"scale": 0.5, "offset": [1, 2]}, "frontendVersion": "1.47.12"}
    for node in saved["nodes"]:
        for key in ("cnr_id", "ver"):
            node["properties"].pop(key, None)
    assert catalogue.tidied(saved, known, template.name, layout.load()) == template.path().read_text(encoding="utf-8")


@TEMPLATES
def test_links_and_slots_agree(known, template):
    document = template.load()
    nodes = {node["id"]: node for node in document["nodes"]}
    links = {link[0]: link for link in document["links"]}
    assert len(links) == len(document["links"]) == document["last_link_id"]
    assert max(nodes) == document["last_node_id"]
    for number, (_, source, output, target, slot, kind) in links.items():
        assert number in nodes[source]["outputs"][output]["links"]
        assert nodes[target]["inputs"][slot]["link"] == number
        assert kind == nodes[source]["outputs"][output]["type"] == nodes[target]["inputs"][slot]["type"]
    ends = [slot["link"] for node in nodes.values() for slot in node["inputs"] if slot["link"] is not None]
    starts = [link for node in nodes.values() for slot in node["outputs"] for link in slot["links"] or ()]
    assert sorted(ends) == sorted(starts) == sorted(links)
    assert list(nodes) == sorted(nodes)
    assert all(link[1] < link[3] for link in links.values()), "in an order in which they can run"


def test_no_two_workflows_share_a_node_s_number():
    """The page shows a result on the node of its number, also in a workflow that was opened meanwhile."""
    numbers = [node["id"] for one in catalogue.TEMPLATES for node in one.load()["nodes"]]
    assert len(set(numbers)) == len(numbers)


@TEMPLATES
def test_nodes_are_those_of_the_server_and_say_where_they_come_from(known, template):
    for node in real(template.load()):
        definition = known[node["type"]]
        assert {slot["name"] for slot in node["inputs"]} >= {one.name for one in definition.inputs if not one.is_widget}
        assert [(slot["name"], slot["type"]) for slot in node["outputs"]] == list(definition.outputs)
        properties = node["properties"]
        assert properties["Node name for S&R"] == node["type"]
        assert properties["cnr_id"] == ("comfy-core" if definition.is_core else catalogue.our_pack().cnr_id)
        assert properties["ver"] == (catalogue.CORE.ver if definition.is_core else catalogue.our_pack().ver)


@TEMPLATES
def test_everything_that_must_be_connected_is(known, template):
    prompt = to_prompt(template.load(), known)
    for node in prompt.values():
        required = known.info[node["class_type"]]["input"].get("required", {})
        assert set(required) <= set(node["inputs"]), node["_meta"]["title"]


@TEMPLATES
def test_every_box_that_names_a_model_says_where_it_can_be_had(template):
    named = 0
    for node in real(template.load()):
        models = node["properties"].get("models", ())
        boxes = [slot for slot in node["inputs"] if "widget" in slot and slot["name"] in FILE_BOXES]
        assert len(models) == len(boxes), node["type"]
        for model in models:
            assert model["name"] in node["widgets_values"]
            assert model["url"].startswith("https://huggingface.co/")
            assert "/resolve/" in model["url"]
            assert model["url"].endswith((".safetensors", ".pth"))
            assert model["name"].endswith((".safetensors", ".pth"))
            named += 1
    assert named > 0


@TEMPLATES
def test_models_belong_into_folders_that_the_server_knows(comfy_server, template):
    known = {entry["name"] for entry in comfy_server.get("/api/experiment/models")}
    directories = {
        model["directory"] for node in real(template.load()) for model in node["properties"].get("models", ())
    }
    assert directories <= known


@TEMPLATES
def test_a_note_says_what_to_do_and_names_every_file(template):
    document = template.load()
    (note,) = (node for node in document["nodes"] if node["type"] == "MarkdownNote")
    (text,) = note["widgets_values"]
    assert "### Do this" in text
    for node in real(document):
        for model in node["properties"].get("models", ()):
            assert f"**models/{model['directory']}**: [{model['name']}]({model['url']})" in text


@TEMPLATES
def test_a_note_begins_with_one_sentence_and_holds_no_inline_code(template):
    (text,) = template.load()["nodes"][0]["widgets_values"]
    first = text.split("\n")[0]
    assert first.endswith(".")
    assert len(first) <= 95
    assert "`" not in text, "Nodes 2.0 writes inline code in blue on blue"


def test_the_first_template_by_name_is_the_one_that_needs_no_file():
    assert min(NAMES) == "Draw it here"


def test_names_say_what_to_expect_and_fit_a_card():
    assert all(len(name) <= 40 and len(name.split()) >= 3 for name in NAMES)


def test_the_table_of_sizes_has_the_nodes_of_the_files_and_no_others():
    nodes = {(one.name, node["id"]): node["type"] for one in catalogue.TEMPLATES for node in one.load()["nodes"]}
    assert {place: row.type for place, row in layout.load().items()} == nodes, "python3 run.py templates"


@TEMPLATES
def test_nodes_and_groups_lie_side_by_side_in_both_renderers(template):
    document, sizes = template.load(), layout.load()
    boxes = []
    for node in document["nodes"]:
        (left, top), (width, height) = node["pos"], node["size"]
        height = max(height, sizes[template.name, node["id"]].height)
        boxes.append((left, top - TITLE_BAR, width, height + TITLE_BAR))
    groups = [tuple(group["bounding"]) for group in document["groups"]]
    assert not any(overlap(one, other) for one, other in combinations(boxes, 2))
    assert not any(overlap(one, other) for one, other in combinations([*groups, boxes[0]], 2)), "the first is the note"
    assert all(any(inside(box, group) for group in groups) for box in boxes[1:])


def test_nodes_that_the_page_moved_return_to_their_group():
    template = catalogue.TEMPLATES[0]
    before, moved = template.load(), template.load()
    for node in moved["nodes"][1:]:
        node["pos"] = [node["pos"][0] + 9, node["pos"][1] - 9]
        if node["type"] not in layout.STRETCHED:
            node["size"] = [node["size"][0], 900]
    layout.arrange(moved, layout.load(), template.name)
    assert moved == before


def overlap(one: tuple[float, ...], other: tuple[float, ...]) -> bool:
    """Whether two boxes (left, top, width, height) have a point in common."""
    return all(one[axis] < other[axis] + other[axis + 2] and other[axis] < one[axis] + one[axis + 2] for axis in (0, 1))


def inside(one: tuple[float, ...], outer: tuple[float, ...]) -> bool:
    """Whether a box lies in another."""
    return all(
        outer[axis] <= one[axis] and one[axis] + one[axis + 2] <= outer[axis] + outer[axis + 2] for axis in (0, 1)
    )


@TEMPLATES
def test_links_run_from_left_to_right(template):
    document = template.load()
    left = {node["id"]: node["pos"][0] for node in document["nodes"]}
    assert all(left[link[1]] <= left[link[3]] for link in document["links"])


@TEMPLATES
def test_the_thumbnail_is_square_and_small(template):
    assert template.thumbnail().stat().st_size <= thumbnails.LARGEST
    with Image.open(template.thumbnail()) as picture:
        assert (picture.format, picture.size) == ("JPEG", (thumbnails.SIDE, thumbnails.SIDE))
