"""Every node with every malformed value at every input gives a result or a well-formed error."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import pytest
import torch

from ..host import companions, tiny
from . import malformed

pytestmark = pytest.mark.host


def node_classes() -> list[Any]:
    from t2i_adapter_pack.nodes import NODES

    return [node for node in NODES if node.__name__ not in ("CreateT2IAdapter", "TrainT2IAdapter")]


@pytest.fixture(scope="module")
def good(inside_comfyui, models) -> dict[str, Any]:
    """A valid value for each socket type."""
    from t2i_adapter_pack.adapter_models.weights import Weights

    adapter = tiny.adapter(tiny.adapter_config(), name="t2iadapter_sketch_sd14v1")
    people = [{"people": [{"pose_keypoints_2d": [8.0, 8.0, 1.0] * 18}], "canvas_width": 32, "canvas_height": 32}]
    return {
        "MODEL": tiny.apply(models["SD"], adapter, tiny.hint(32, 32)),
        "T2I_ADAPTER": adapter,
        "T2I_WEIGHTS": Weights(),
        "T2I_STYLE_ADAPTER": companions.style_adapter(),
        "T2I_FUSER": companions.fuser(),
        "CONDITIONING": tiny.conditioning(0),
        "CLIP_VISION_OUTPUT": companions.vision(),
        "IMAGE": tiny.hint(32, 32),
        "MASK": torch.ones(1, 32, 32),
        "POSE_KEYPOINT": people,
        "BOUNDING_BOX": [{"x": 1, "y": 1, "width": 9, "height": 9}],
        "CURVE": {"points": [[0.0, 1.0], [1.0, 0.0]]},
    }


@pytest.fixture
def folders(weights, output) -> Path:
    """Annotators' weights, and an output folder of this test's."""
    return output


def right_inputs(node: Any, good: dict[str, Any]) -> dict[str, Any]:
    """A valid value for every input of a node."""
    found = {}
    for row in node.define_schema().inputs:
        kind = row.get_io_type()
        if kind == "COMFY_DYNAMICCOMBO_V3":
            found[row.id] = {row.id: row.options[0].key}
        elif kind in good:
            found[row.id] = good[kind]
        elif getattr(row, "default", None) is not None:
            found[row.id] = row.default
        elif not row.optional:
            found[row.id] = (*row.options, "missing.safetensors")[0]
    return found


def trouble(node: Any, inputs: dict[str, Any]) -> str | None:
    """Run a node; return what is wrong with its result or error, or None."""
    from t2i_adapter_pack.adapter_models.errors import AdapterError
    from t2i_adapter_pack.annotators.errors import AnnotatorError

    try:
        output = malformed.execute(node, inputs)
    except (AdapterError, AnnotatorError) as error:
        if not (error.got and error.expected and error.fix):
            return f"incomplete: {error}"
        return None if len(str(error)) < 6000 else f"too long: {str(error)[:100]}"
    except Exception as error:  # noqa: BLE001 - these are looked for
        return f"{type(error).__name__}: {str(error)[:200]}"
    for result in output.result or ():
        if isinstance(result, torch.Tensor) and not (result.min() >= 0 and result.max() <= 1):
            return "a picture out of its range"
    return None


def attack(node: Any, good: dict[str, Any], values: list[malformed.Value]) -> list[str]:
    """Put each value into each input of a node."""
    right = right_inputs(node, good)
    found = []
    for row in node.define_schema().inputs:
        kinds = [malformed.Value(f"a {kind}", value) for kind, value in good.items() if kind != row.get_io_type()]
        for value in [*values, *kinds]:
            wrong = trouble(node, {**right, row.id: value.value})
            if wrong:
                found.append(f"{node.__name__}.{row.id} = {value.name}: {wrong}")
    return found


NAMES = (
    *("LoadT2IAdapter", "ApplyT2IAdapter", "T2IAdapterWeights", "T2IAdapterSchedule", "T2IAdapterToControlNet"),
    *("LoadCoAdapterFuser", "CombineT2IAdapters", "LoadT2IStyleAdapter", "ApplyT2IStyleAdapter", "T2IAdapterInfo"),
    *("PreviewT2IAdapterFeatures", "T2IAnnotateCanny", "T2IAnnotateSketch", "T2IAnnotateSoftEdge", "T2ICleanSketch"),
    *("T2IAnnotateLineart", "T2IAnnotateDepth", "T2INormalizeDepth", "T2IAnnotateColor", "T2IAnnotateSegmentation"),
    *("T2IPaintSegmentation", "T2IDetectPose", "T2IDrawPose", "T2IAnnotateGray", "T2IAnnotateFor", "SaveT2IAdapter"),
)


def test_every_node_is_attacked(inside_comfyui):
    assert sorted(NAMES) == sorted(node.__name__ for node in node_classes())


@pytest.mark.parametrize("name", NAMES)
def test_no_value_ends_in_a_raw_error(folders, good, name):
    (node,) = (node for node in node_classes() if node.__name__ == name)
    found = attack(node, good, malformed.all_values())
    assert not found, "\n".join([f"{len(found)} of them:", *found])


CHECKS = ("validate_inputs", "fingerprint_inputs")


@pytest.mark.parametrize("name", NAMES)
def test_no_value_breaks_what_comfyui_asks_before_a_run(folders, good, name):
    """ComfyUI calls these methods directly: it shows a raw error to the user, or runs the node again each time."""
    from t2i_adapter_pack.adapter_models.errors import AdapterError

    (node,) = (node for node in node_classes() if node.__name__ == name)
    found = []
    for check in CHECKS:
        function = vars(node).get(check)
        names = inspect.signature(function.__func__).parameters if function else {}
        for key in (key for key in names if key not in ("cls", "_")):
            # A name that is not a string is refused before its fingerprint is computed.
            values = [
                value for value in malformed.all_values() if check == "validate_inputs" or isinstance(value.value, str)
            ]
            for value in values:
                try:
                    answer = getattr(node, check)(**{key: value.value})
                except AdapterError:
                    assert check == "fingerprint_inputs"
                except Exception as error:  # noqa: BLE001 - these are looked for
                    found.append(f"{name}.{check}({key}={value.name}): {type(error).__name__}: {str(error)[:200]}")
                else:
                    if check == "validate_inputs" and not (answer is True or isinstance(answer, str)):
                        found.append(f"{name}.{check}({key}={value.name}): answers {answer!r}")
    assert not found, "\n".join(found)
