"""Errors of the libraries in a graph: the nodes add which node and input it was, and what to do there."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from ..adapter_models import others
from . import tiny

pytestmark = pytest.mark.host

ROOT = Path(__file__).absolute().parents[2]
LIBRARIES = ("common", "adapter_models", "annotators", "training")


def own_names() -> set[str]:
    texts = json.loads((ROOT / "locales" / "en" / "nodeDefs.json").read_text(encoding="utf-8"))
    return {node["display_name"] for node in texts.values()}


def raised_topics() -> Iterator[str]:
    """Yield every topic that the libraries write down."""
    for path in (path for folder in LIBRARIES for path in (ROOT / folder).rglob("*.py")):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(call, ast.keyword) and call.arg == "topic":
                texts = (text.value for text in ast.walk(call.value) if isinstance(text, ast.Constant))
                yield from (text for text in texts if isinstance(text, str))


def test_every_topic_of_the_libraries_has_one_row_and_every_row_is_raised(inside_comfyui):
    from t2i_adapter_pack.nodes.advice import ADVICE

    topics = [row.topic for row in ADVICE]
    assert len(set(topics)) == len(topics)
    assert set(topics) == set(raised_topics())


def test_the_advice_names_nodes_that_exist(inside_comfyui):
    from t2i_adapter_pack.nodes.advice import ADVICE

    import nodes

    core = "".join(path.read_text(encoding="utf-8") for path in (inside_comfyui.path / "comfy_extras").glob("*.py"))
    known = own_names() | set(nodes.NODE_DISPLAY_NAME_MAPPINGS.values())
    for row in ADVICE:
        rest = row.text
        for name in row.nodes:
            assert name in known or f'"{name}"' in core
            assert name in row.text
            rest = rest.replace(name, "")
        assert [name for name in own_names() if name in rest] == []


@pytest.mark.parametrize(("what", "node", "content"), others.CASES.values(), ids=others.CASES)
def test_another_file_is_named_with_the_node_that_loads_it(folder, loader, what, node, content):
    from t2i_adapter_pack.adapter_models.errors import NotAnAdapterError

    torch.save(content, folder / "controlnet" / "other.pth")
    with pytest.raises(NotAnAdapterError) as caught:
        loader.execute("other.pth")
    sentence, details, advice = str(caught.value).splitlines()
    assert sentence == f"This file is {what}, not a T2I-Adapter."
    assert details == f"other.pth: got {what}; expected a T2I-Adapter. Choose another file."
    assert advice.startswith("Node: Load T2I-Adapter, input adapter_name. ")
    assert node in advice


def test_a_damaged_file_is_reported_with_its_input(folder, loader):
    from t2i_adapter_pack.adapter_models.errors import CorruptFileError

    (folder / "controlnet" / "cut.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{broken}")
    with pytest.raises(CorruptFileError) as caught:
        loader.execute("cut.safetensors")
    assert caught.value.advice == "Node: Load T2I-Adapter, input adapter_name."


def test_an_adapter_that_does_not_fit_is_reported_with_its_input(sdxl):
    from t2i_adapter_pack.adapter_models.errors import FamilyMismatchError

    adapter = tiny.adapter(tiny.adapter_config())
    with pytest.raises(FamilyMismatchError) as caught:
        tiny.apply(sdxl, adapter, tiny.hint(64, 64))
    assert caught.value.advice == "Node: Apply T2I-Adapter, input adapter."


def test_an_error_during_sampling_names_the_node_that_applied_the_adapter(sd):
    from t2i_adapter_pack.adapter_models.errors import CorruptFileError

    adapter = tiny.adapter(tiny.adapter_config())
    with torch.no_grad():
        adapter.network.conv_in.weight.fill_(float("inf"))
    with pytest.raises(CorruptFileError) as caught:
        tiny.sample(tiny.apply(sd, adapter, tiny.hint(64, 64)), tiny.latent(8, 8))
    assert caught.value.advice == "Node: Apply T2I-Adapter. Set dtype to fp32 in Load T2I-Adapter."


def test_an_error_of_a_control_names_the_node_that_made_it(inside_comfyui):
    from t2i_adapter_pack.adapter_models.errors import HintError
    from t2i_adapter_pack.nodes.sampling.control_net import T2IAdapterControl

    control = T2IAdapterControl(tiny.adapter(tiny.adapter_config()))
    with pytest.raises(HintError) as caught:
        control.set_cond_hint(torch.full((1, 3, 8, 8), float("nan")))
    assert caught.value.advice == "Check the node that makes the image."


def test_the_innermost_node_is_named_and_the_error_stays_itself(inside_comfyui):
    from t2i_adapter_pack.common.errors import PackError
    from t2i_adapter_pack.nodes.advice import in_node

    error = PackError("hint", "NaN", "numbers", says="The image holds NaN.", topic="image-values")
    with pytest.raises(PackError) as caught, in_node("Outer"), in_node("Inner", {"image": torch.zeros(1)}):
        raise error
    assert caught.value is error
    assert error.advice == "Node: Inner. Check the node that makes the image."
    assert (error.where, error.got, error.expected, error.fix) == ("hint", "NaN", "numbers", "")


def test_other_errors_pass_unchanged(inside_comfyui):
    from t2i_adapter_pack.nodes.advice import in_node

    with pytest.raises(KeyError, match=r"^'x'$"), in_node("Apply T2I-Adapter"):
        raise KeyError("x")
