"""Malformed prompts on a real server: ComfyUI or the pack refuses them with a message, or they run; no raw errors."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

import pytest
from t2i_adapter_pack.dev.tasks import base_directory, server

from . import malformed
from .effort import LONG

pytestmark = [pytest.mark.host, pytest.mark.slow]
# Number of prompts that the ordinary test command sends.
QUICK = 150
RAW = (None, 5, -1, 1e30, "1.5", "text", "NaN", "", True, {}, {"a": 1}, [], [1], [1, 2, 3], {"__value__": [1]})
NODES: dict[str, Any] = {
    "checkpoint": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "miniature.safetensors"}},
    "adapter": {"class_type": "LoadT2IAdapter",
                "inputs": {"adapter_name": "t2iadapter_sketch_miniature.safetensors", "color_order": "auto",
                           "dtype": "auto"}},
    "image": {"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1, "color": 255}},
    "mask": {"class_type": "SolidMask", "inputs": {"value": 1.0, "width": 64, "height": 64}},
    "text": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["checkpoint", 1]}},
    "weights": {"class_type": "T2IAdapterSchedule",
                "inputs": {"start_strength": 1.0, "end_strength": 0.5, "interpolation": "linear", "start_percent": 0.0,
                           "end_percent": 1.0, "unit": "noise schedule"}},
    "applied": {"class_type": "ApplyT2IAdapter",
                "inputs": {"model": ["checkpoint", 0], "adapter": ["adapter", 0], "image": ["image", 0],
                           "strength": 1.0, "start_percent": 0.0, "end_percent": 1.0, "fit": "crop"}},
}  # fmt: skip
SOURCES = {
    "MODEL": ["applied", 0],
    "T2I_ADAPTER": ["adapter", 0],
    "IMAGE": ["image", 0],
    "MASK": ["mask", 0],
    "CONDITIONING": ["text", 0],
    "T2I_WEIGHTS": ["weights", 0],
}
ATTACKED = (
    *("LoadT2IAdapter", "ApplyT2IAdapter", "T2IAdapterWeights", "T2IAdapterSchedule", "T2IAdapterToControlNet"),
    *("LoadCoAdapterFuser", "CombineT2IAdapters", "LoadT2IStyleAdapter", "T2IAdapterInfo", "PreviewT2IAdapterFeatures"),
    *("T2IAnnotateCanny", "T2ICleanSketch", "T2INormalizeDepth", "T2IAnnotateColor", "T2IPaintSegmentation"),
    *("T2IDrawPose", "T2IAnnotateGray", "T2IAnnotateFor", "T2IAnnotateSketch", "T2IDetectPose", "SaveT2IAdapter"),
)
# ComfyUI's type of an error raised by a node's own check.
RAW_REFUSALS = ("exception_during_validation", "exception_during_inner_validation")


@pytest.fixture(scope="module")
def attacked(comfyui_path, tmp_path_factory) -> Iterator[server.ComfyServer]:
    """A server with a node that gives malformed values to any input."""
    base = base_directory.prepare(tmp_path_factory.mktemp("attacked") / "base", comfyui_path)
    probe = base / "custom_nodes" / "attacks"
    shutil.copytree(Path(__file__).parent / "probe", probe)
    shutil.copy(Path(malformed.__file__), probe)
    alone = {"HF_HOME": str(base / "hub"), "HF_HUB_CACHE": "", "AUX_ANNOTATOR_CKPTS_PATH": ""}
    arguments = [*server.device_arguments(), "--cache-lru", "50"]
    with server.ComfyServer(comfyui_path, base, arguments, {**server.ONE_THREAD, **alone}) as running:
        yield running


def post(url: str, prompt: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Queue a prompt; return the status and the answer."""
    request = Request(f"{url}/prompt", json.dumps({"prompt": prompt}).encode(), {"Content-Type": "application/json"})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=60) as response:
            return response.status, json.load(response)
    except HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"{}")


def right_inputs(rows: dict[str, Any]) -> dict[str, Any]:
    """A valid value, or a link to one, for each input of a node, derived from /object_info."""
    found: dict[str, Any] = {}
    for name, (kind, *more) in {**rows.get("required", {}), **rows.get("optional", {})}.items():
        values = more[0] if more else {}
        if kind in SOURCES:
            found[name] = SOURCES[kind]
        elif kind == "COMFY_DYNAMICCOMBO_V3":
            found[name] = values["options"][0]["key"]
        elif kind == "POSE_KEYPOINT":
            found[name] = {"people": [], "canvas_width": 64, "canvas_height": 64}
        elif values.get("default") is not None:
            found[name] = values["default"]
        elif kind == "COMBO" and values.get("options"):
            found[name] = values["options"][0]
    return found


def prompts(url: str) -> list[tuple[str, dict[str, Any]]]:
    """Every node with every value at every input: typed by the API, and through a link."""
    with build_opener(ProxyHandler({})).open(f"{url}/object_info", timeout=60) as response:
        nodes = json.load(response)
    found = []
    for node in ATTACKED:
        rows = nodes[node]["input"]
        right = right_inputs(rows)
        for name in {**rows.get("required", {}), **rows.get("optional", {})}:
            values = [(f"{value!r}", value, {}) for value in RAW]
            for number, row in enumerate(malformed.all_values()):
                source = {"bad": {"class_type": "AttackValue", "inputs": {"number": number}}}
                values.append((f"a link to {row.name}", ["bad", 0], source))
            for title, value, more in values:
                attack = {"class_type": node, "inputs": {**right, name: value}}
                shown = {"class_type": "PreviewAny", "inputs": {"source": ["attack", 0]}}
                shown = {} if nodes[node]["output_node"] else {"shown": shown}
                found.append((f"{node}.{name} = {title}", {**NODES, **more, "attack": attack, **shown}))
    return found


def ending(url: str, ident: str) -> dict[str, Any]:
    """Wait until a prompt ends; return its status."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        with build_opener(ProxyHandler({})).open(f"{url}/history/{ident}", timeout=60) as response:
            if (entry := json.load(response).get(ident)) is not None:
                return entry["status"]  # type: ignore[no-any-return]
        time.sleep(0.02)
    raise TimeoutError(ident)


def raw_error(code: int, answer: dict[str, Any], url: str) -> str | None:
    """Return the raw error that a prompt ended with, or None."""
    if code != 200:
        reasons = [reason for node in answer.get("node_errors", {}).values() for reason in node["errors"]]
        found = [reason["details"] for reason in reasons if reason["type"] in RAW_REFUSALS]
        return f"raw refusal: {found}" if found or code >= 500 else None
    status = ending(url, answer["prompt_id"])
    errors = [values for kind, values in status["messages"] if kind == "execution_error"]
    if status["status_str"] == "success" and not errors:
        return None
    wrong = [error for error in errors if error["node_type"] in ATTACKED and not ours(error)]
    return f"{wrong[0]['exception_type']}: {wrong[0]['exception_message'][:200]}" if wrong else None


def ours(error: dict[str, Any]) -> bool:
    """Return whether an error is one of the pack's, with its message."""
    return error["exception_type"].startswith("t2i_adapter.") and "; expected " in error["exception_message"]


def send(running: server.ComfyServer, chosen: list[tuple[str, dict[str, Any]]]) -> list[str]:
    """Queue prompts in groups; return those that ended with a raw error."""
    found = []
    for begin in range(0, len(chosen), 50):
        part = chosen[begin : begin + 50]
        answers = [post(running.url, prompt) for _, prompt in part]
        for (title, _), (code, answer) in zip(part, answers, strict=True):
            wrong = raw_error(code, answer, running.url)
            found += [f"{title}: {wrong}"] if wrong else []
        running.require_alive()
    return found


def test_no_malformed_prompt_ends_in_a_raw_error(attacked):
    every = prompts(attacked.url)
    chosen = every if LONG else random.Random(0).sample(every, QUICK)
    found = send(attacked, chosen)
    assert not found, "\n".join([f"{len(found)} of {len(chosen)}:", *found])


@pytest.mark.parametrize("preset", ["unifrom", "", 5, None])
def test_an_unknown_preset_is_refused(attacked, preset):
    """ComfyUI leaves out a preset that it does not know, which was taken for uniform."""
    attack = {"class_type": "T2IAdapterWeights", "inputs": {"preset": preset, "positive": 1.0, "negative": 1.0}}
    shown = {"class_type": "PreviewAny", "inputs": {"source": ["attack", 0]}}
    code, answer = post(attacked.url, {"attack": attack, "shown": shown})
    assert code == 200
    status = ending(attacked.url, answer["prompt_id"])
    ((_, error),) = [message for message in status["messages"] if message[0] == "execution_error"]
    assert error["exception_type"] == "t2i_adapter.AdapterError"
    assert "T2I-Adapter Level Weights, preset: got '" in error["exception_message"]


def test_a_preset_may_come_by_a_link(attacked):
    text = {"class_type": "PrimitiveString", "inputs": {"value": "custom"}}
    inputs = {"preset": ["text", 0], "preset.level_1": 0.25, "positive": 1.0, "negative": 1.0}
    shown = {"class_type": "PreviewAny", "inputs": {"source": ["attack", 0]}}
    attack = {"class_type": "T2IAdapterWeights", "inputs": inputs}
    code, answer = post(attacked.url, {"text": text, "attack": attack, "shown": shown})
    assert code == 200
    assert ending(attacked.url, answer["prompt_id"])["status_str"] == "success"
    with build_opener(ProxyHandler({})).open(f"{attacked.url}/history/{answer['prompt_id']}", timeout=60) as response:
        assert "levels=(0.25, 1.0, 1.0, 1.0)" in str(json.load(response))
