"""One table says everything about the annotators that need a network: its rows are complete, and nodes find theirs."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from t2i_adapter_pack.annotators import catalogue, table
from t2i_adapter_pack.annotators.networks.transformers_models import FromTransformers

pytestmark = pytest.mark.host
ROOT = Path(__file__).absolute().parents[2]
SHIPPED = ("common", "adapter_models", "annotators", "training", "nodes", "cli")
ROWS = pytest.mark.parametrize("row", table.NETWORK_ANNOTATORS, ids=lambda row: row.key)


def network_nodes() -> list[Any]:
    from t2i_adapter_pack.nodes import NODES
    from t2i_adapter_pack.nodes.annotation.network_node import NetworkNode

    return [node for node in NODES if issubclass(node, NetworkNode)]


def strings(path: Path) -> list[str]:
    """The texts in a module's code, docstrings and comments not included."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    documents = {id(each.value) for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    constants = (each for each in ast.walk(tree) if isinstance(each, ast.Constant) and id(each) not in documents)
    return [each.value for each in constants if isinstance(each.value, str)]


@ROWS
def test_every_column_of_a_row_is_filled(row):
    from t2i_adapter_pack.adapter_models.conditions import CONDITIONS

    assert row.files
    assert {file.annotator for file in row.files} == {row.annotator}
    assert all(file.licence and file.addresses and file.instead for file in row.files)
    assert row.mark
    assert callable(row.load)
    assert callable(row.annotate)
    assert 0 < row.memory.bytes_per_pixel < 10_000 <= row.memory.pixels
    assert {preset.condition for preset in row.presets} <= {condition.name for condition in CONDITIONS}
    stand_ins = [table.network_named(key) for preset in row.presets for key in preset.stand_ins]
    assert {each.annotator for each in stand_ins} <= {row.annotator}


@ROWS
def test_a_networks_mark_is_its_own(row):
    from t2i_adapter_pack.annotators.networks import transformers_models

    if isinstance(row.load, FromTransformers):
        model = row.load.model
        with transformers_models.SkipInit():
            names = transformers_models.build_network(model).state_dict()
        content = {transformers_models.published_name(model, name) for name in names}
    else:
        with torch.device("meta"):
            network = {"pidinet": "PiDiNet", "hed": "HED", "lineart": "Lineart"}[row.key]
            module = __import__(row.load.__module__, fromlist=[network])
            content = set(getattr(module, network)().state_dict())
    assert [each.key for each in table.NETWORK_ANNOTATORS if each.mark in content] == [row.key]


def test_every_node_finds_its_rows_and_every_row_its_node(inside_comfyui):
    from t2i_adapter_pack.nodes.annotation.network_annotator import weights_choice

    nodes = network_nodes()
    names = [node.annotator for node in nodes]
    assert sorted(names) == sorted({row.annotator for row in table.NETWORK_ANNOTATORS})
    for node in nodes:
        files = tuple(file for row in table.networks_of(node.annotator) for file in row.files)
        assert weights_choice(node.annotator).rows == files
        schema = node.define_schema()
        assert [each.id for each in schema.inputs[:3]] == ["image", "resolution", "weights"]
        assert {file.entry for file in files} <= set(schema.inputs[2].options)


def test_every_preset_of_a_row_is_a_preset_of_the_nodes(inside_comfyui):
    from t2i_adapter_pack.nodes.annotation.presets import ANNOTATOR_PRESETS

    of_nodes = {(each.condition, each.family): each.resolution for each in ANNOTATOR_PRESETS}
    for row in table.NETWORK_ANNOTATORS:
        for preset in row.presets:
            assert of_nodes[preset.condition, preset.family] == preset.resolution


def test_no_other_module_repeats_a_fact_of_the_table():
    facts = {row.mark for row in table.NETWORK_ANNOTATORS}
    for file in catalogue.PUBLISHED:
        facts |= {file.file, *file.addresses, *([file.sha256] if file.sha256 else [])}
    pattern = re.compile("|".join(map(re.escape, facts)))
    for path in (path for folder in SHIPPED for path in (ROOT / folder).rglob("*.py")):
        if path != ROOT / "annotators" / "table.py":
            found = [text for text in strings(path) if pattern.fullmatch(text)]
            assert found == [], path


def test_who_lacks_weights_is_told_of_nodes_that_need_none(inside_comfyui):
    from t2i_adapter_pack.nodes import NODES
    from t2i_adapter_pack.nodes.annotation import downloads

    shown = {node.GET_SCHEMA().display_name for node in NODES}
    assert set(downloads._WITHOUT_WEIGHTS) == {row.annotator for row in table.NETWORK_ANNOTATORS}
    named = [re.findall(r"T2I(?: [A-Z][a-z]+)+", text) for text in downloads._WITHOUT_WEIGHTS.values()]
    assert all(named)
    assert {name for names in named for name in names} <= shown
