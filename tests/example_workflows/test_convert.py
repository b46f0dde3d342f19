"""Convert a workflow file to a prompt as ComfyUI's page does."""

from __future__ import annotations

import pytest
from t2i_adapter_pack.dev.demo.templates.convert import BYPASSED, MUTED, to_prompt
from t2i_adapter_pack.dev.demo.templates.definitions import Definitions, UnknownNodeError


def info(inputs: dict, outputs: tuple[str, ...] = (), optional: dict | None = None) -> dict:
    return {
        "input": {"required": inputs, "optional": optional or {}},
        "output": list(outputs),
        "output_name": [kind.lower() for kind in outputs],
        "display_name": "Shown name",
        "python_module": "nodes",
    }


LEVELS = {
    "options": [
        {"key": "plain", "inputs": {"required": {}}},
        {"key": "own", "inputs": {"required": {"one": ["FLOAT", {"default": 1.0}], "two": ["FLOAT", {}]}}},
    ]
}
KNOWN = Definitions(
    {
        "Load": info({"image": [["a.png"], {"image_upload": True}], "channel": [["red"]]}, ("IMAGE", "MASK")),
        "Change": info({"strength": ["FLOAT", {}], "image": ["IMAGE"]}, ("NUMBER", "IMAGE")),
        "Draw": info({"seed": ["INT", {}], "steps": ["INT", {}], "image": ["IMAGE"]}, ("IMAGE",)),
        "Fixed": info({"seed": ["INT", {"control_after_generate": False}], "steps": ["INT", {}]}),
        "Levels": info({"preset": ["COMFY_DYNAMICCOMBO_V3", LEVELS], "side": ["FLOAT", {}]}),
        "Paint": info({"mask": ["STRING", {"image_upload": True, "widgetType": "PAINTER"}], "colour": ["COLOR", {}]}),
        "Grown": info({"strength": ["FLOAT", {}]}, optional={"shows": ["BOOLEAN", {"default": False}]}),
        "Forced": info({"text": ["STRING", {"forceInput": True}], "other": ["STRING", {}]}),
    }
)


def node(number: int, kind: str, values: list, mode: int = 0, **more) -> dict:
    """A node without sockets; `inputs` and `outputs` may be given."""
    empty = {"inputs": [], "outputs": []}
    return {"id": number, "type": kind, "order": number, "mode": mode, "widgets_values": values, **empty, **more}


def socket(name: str, kind: str, link: int | None) -> dict:
    return {"name": name, "type": kind, "link": link}


def convert(*nodes: dict, links: tuple[tuple, ...] = ()) -> dict:
    return to_prompt({"nodes": list(nodes), "links": [list(link) for link in links]}, KNOWN)


def values(kind: str, given: list) -> dict:
    return convert(node(1, kind, given))["1"]["inputs"]


def test_values_get_the_names_of_the_boxes():
    assert values("Fixed", [7, 20]) == {"seed": 7, "steps": 20}


def test_what_follows_a_seed_and_upload_buttons_are_no_inputs():
    assert values("Draw", [7, "randomize", 20]) == {"seed": 7, "steps": 20}
    assert values("Load", ["a.png", "red", "image"]) == {"image": "a.png", "channel": "red"}
    assert values("Paint", ["", "#000000"]) == {"mask": "", "colour": "#000000"}


def test_a_choice_of_a_dynamic_list_brings_its_boxes():
    assert values("Levels", ["plain", 3.0]) == {"preset": "plain", "side": 3.0}
    own = {"preset": "own", "preset.one": 1.0, "preset.two": 2.0, "side": 3.0}
    assert values("Levels", ["own", 1.0, 2.0, 3.0]) == own


def test_inputs_that_must_be_connected_have_no_value():
    assert values("Forced", ["x"]) == {"other": "x"}


@pytest.mark.parametrize("given", [[7], [7, "fixed"], [7, "fixed", 20, 4]])
def test_too_few_and_too_many_values_are_refused(given):
    with pytest.raises(ValueError, match=r"node 1 \(Draw\): got \d values"):
        values("Draw", given)


def test_an_input_that_came_later_has_its_default_in_an_older_file():
    assert values("Grown", [1.0]) == {"strength": 1.0, "shows": False}
    assert values("Grown", [1.0, True]) == {"strength": 1.0, "shows": True}


def test_a_link_takes_the_place_of_a_box():
    count = node(1, "Change", [1.0], outputs=[{"type": "NUMBER"}, {"type": "IMAGE"}])
    drawn = node(2, "Draw", [7, "fixed", 20], inputs=[socket("steps", "INT", 5)])
    made = convert(count, drawn, links=((5, 1, 0, 2, 0, "INT"),))
    assert made["2"]["inputs"] == {"seed": 7, "steps": ["1", 0]}


def chain(mode: int, kind: str = "IMAGE") -> dict:
    """Load -> Change in some mode -> Draw."""
    outputs = [{"type": "IMAGE"}, {"type": "MASK"}]
    load = node(1, "Load", ["a.png", "red", "image"], outputs=outputs)
    # Beside its second output is a box; its first IMAGE comes first.
    slots = [socket("image", kind, 1), socket("strength", "FLOAT", None)]
    change = node(2, "Change", [1.0], mode, inputs=slots, outputs=[{"type": "NUMBER"}, {"type": "IMAGE"}])
    drawn = node(3, "Draw", [7, "fixed", 20], inputs=[socket("image", "IMAGE", 2)])
    return convert(load, change, drawn, links=((1, 1, 0, 2, 0, "IMAGE"), (2, 2, 1, 3, 0, "IMAGE")))


def test_a_node_that_is_on_is_between():
    made = chain(0)
    assert made["2"]["inputs"] == {"strength": 1.0, "image": ["1", 0]}
    assert made["3"]["inputs"]["image"] == ["2", 1]


def test_a_bypassed_node_hands_on_what_has_the_output_s_type():
    made = chain(BYPASSED)
    assert set(made) == {"1", "3"}
    assert made["3"]["inputs"]["image"] == ["1", 0]
    assert "image" not in chain(BYPASSED, "LATENT")["3"]["inputs"]


def test_a_muted_node_ends_what_hangs_on_it():
    made = chain(MUTED)
    assert set(made) == {"1", "3"}
    assert "image" not in made["3"]["inputs"]


def test_notes_are_left_out_and_titles_kept():
    noted = node(2, "MarkdownNote", ["text"])
    made = convert(node(1, "Fixed", [7, 20], title="Mine"), noted, node(3, "Fixed", [7, 20]))
    assert [one["_meta"]["title"] for one in made.values()] == ["Mine", "Shown name"]


def test_a_node_that_the_server_lacks_is_an_error():
    with pytest.raises(UnknownNodeError, match="Elsewhere: got no such node"):
        convert(node(1, "Elsewhere", []))
