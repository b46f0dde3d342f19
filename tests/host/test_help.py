"""Help pages and tooltips: every node is explained in the same places, with existing pictures."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.request import ProxyHandler, build_opener

import pytest
import t2i_adapter_pack
from PIL import Image, ImageChops
from t2i_adapter_pack.dev.figures import help_pictures

pytestmark = pytest.mark.host
PAGES = Path(t2i_adapter_pack.__file__).parent / t2i_adapter_pack.WEB_DIRECTORY / "docs"
SECTIONS = ["Inputs", "Example", "Common errors"]
# What users download with every installation, with the pages in four languages.
LARGEST = 720_000


@pytest.fixture(scope="module")
def schemas(inside_comfyui) -> list[Any]:
    from t2i_adapter_pack.nodes import NODES

    return [node.GET_SCHEMA() for node in NODES]


def texts() -> dict[str, str]:
    return {path.stem: path.read_text(encoding="utf-8") for path in PAGES.glob("*.md")}


def test_every_page_belongs_to_a_node(schemas):
    assert set(texts()) == {schema.node_id for schema in schemas}


def test_every_page_has_the_same_sections(schemas):
    for name, text in texts().items():
        found = re.findall(r"^## (.+)$", text, re.MULTILINE)
        assert [section for section in found if section in SECTIONS] == SECTIONS, name
        for section in SECTIONS:
            assert text.split(f"## {section}\n", 1)[1].split("\n## ", 1)[0].strip(), (name, section)


def test_every_page_folds_its_errors():
    for name, text in texts().items():
        errors = text.split("## Common errors\n", 1)[1].split("\n## ", 1)[0].strip()
        # Without the empty lines, the page shows the list as plain text.
        assert re.fullmatch(r"<details><summary>[^<\n]+</summary>\n\n- .+\n\n</details>", errors, re.DOTALL), name


def test_no_page_has_a_table():
    """ComfyUI shows the pages in a column of 272 pixels."""
    assert [name for name, text in texts().items() if re.search(r"^\|", text, re.MULTILINE)] == []


def test_every_page_tells_of_all_inputs(schemas):
    pages = texts()
    for schema in schemas:
        for one in schema.inputs:
            assert f"`{one.id}`" in pages[schema.node_id], (schema.node_id, one.id)


def test_pages_name_nodes_as_they_are_called(schemas):
    """Bold words that begin like the names of our nodes are such names."""
    names = {schema.display_name for schema in schemas}
    short = {name.partition(" (")[0] for name in names}
    for page, text in texts().items():
        for bold in re.findall(r"\*\*([^*]+)\*\*", text):
            name = " ".join(bold.split())
            if "T2I" in name or "CoAdapter" in name:
                assert name in names | short, (page, name)


def test_pictures_are_those_of_the_pages_and_small():
    shown = {name for text in texts().values() for name in re.findall(r"!\[[^\]]+\]\(pictures/([^)]+)\)", text)}
    kept = {path.name for path in help_pictures.OUT.iterdir()}
    assert shown == kept
    assert sum(path.stat().st_size for path in PAGES.parent.rglob("*") if path.is_file()) < LARGEST


def test_the_pictures_are_what_the_program_makes(tmp_path):
    assert help_pictures.main([str(tmp_path)]) == 0
    for path in help_pictures.OUT.iterdir():
        with Image.open(tmp_path / path.name) as made, Image.open(path) as kept:
            assert made.size == kept.size
            difference = ImageChops.difference(made, kept).convert("L").resize((made.width // 8, made.height // 8))
            assert max(difference.get_flattened_data()) < 60, path.name


def adapter_rows() -> list[tuple[str, list[str]]]:
    """(file, the other cells) of every row in docs/adapters.md."""
    lines = (PAGES.parents[1] / "docs" / "adapters.md").read_text(encoding="utf-8").splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("| `")]
    return [(file, rest) for first, *rest in cells for file in re.findall(r"`([^`]+)`", first)]


def test_the_table_of_adapters_agrees_with_what_the_pack_picks(schemas):
    from t2i_adapter_pack.adapter_models import conditions
    from t2i_adapter_pack.nodes.annotation.presets import preset_for

    rows = adapter_rows()
    names = {schema.display_name for schema in schemas}
    assert len({file for file, _ in rows}) == len(rows) == 26
    for file, (condition, annotator, resolution, *_) in rows:
        found = conditions.condition_of(file, {})
        assert found is not None
        assert found.name == condition, file
        assert set(re.findall(r"\*\*([^*]+)\*\*", annotator)) <= names, file
        if condition != "style":
            info = SimpleNamespace(name=file, condition=found, family=conditions.stated_family(file, {}))
            preset = preset_for(SimpleNamespace(info=info))
            assert resolution == str(preset.resolution), file
            assert re.split(r",| and ", preset.means)[0] in annotator, file


def test_tooltips_name_default_and_range(schemas):
    """Of every widget the default; of numbers with a slider's range both ends where users may need them."""
    for schema in schemas:
        for one in schema.inputs:
            default = getattr(one, "default", None)
            if default is not None:
                assert "default" in one.tooltip.lower(), (schema.node_id, one.id)
            if isinstance(default, float | int) and not isinstance(default, bool):
                # 1e-05 is written 1e-5.
                written = f"{default:g}".replace("e-0", "e-")
                assert re.search(rf"(?<![\w.]){re.escape(written)}(?![\d])", one.tooltip), (schema.node_id, one.id)


def test_tooltips_tell_what_each_choice_does(schemas):
    """Of short lists; long ones and lists of files are explained as a whole."""
    for schema in schemas:
        for one in schema.inputs:
            options = [getattr(option, "key", option) for option in getattr(one, "options", None) or ()]
            if 1 < len(options) < 6 and not any("." in option for option in options):
                assert [option for option in options if option not in one.tooltip] == [], (schema.node_id, one.id)


def test_aliases_are_words_of_users(schemas):
    for schema in schemas:
        assert len(schema.search_aliases) >= 3, schema.node_id
        assert len(set(schema.search_aliases)) == len(schema.search_aliases), schema.node_id
        # What the name says already is found without an alias.
        assert schema.display_name.lower() not in schema.search_aliases, schema.node_id


def test_the_server_serves_pages_and_pictures(comfy_server):
    info = comfy_server.get("/object_info/ApplyT2IAdapter")["ApplyT2IAdapter"]
    folder = info["python_module"].partition(".")[2]
    opener = build_opener(ProxyHandler({}))
    for name in ("ApplyT2IAdapter.md", "pictures/strengths.jpg"):
        with opener.open(f"{comfy_server.url}/extensions/{folder}/docs/{name}", timeout=30) as answer:
            assert answer.read() == (PAGES / name).read_bytes()
