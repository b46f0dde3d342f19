"""A long session on one server: memory stays bounded, cancelled runs leave nothing wrong, clients keep apart."""

from __future__ import annotations

import ast
import io
import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from t2i_adapter_pack.dev.demo import workflows
from t2i_adapter_pack.dev.tasks import client, paths

from ..attacks import effort
from .conftest import OTHERS, sketch

pytestmark = [pytest.mark.host, pytest.mark.slow]
ADAPTERS = (*(f"t2iadapter_{kind}_miniature" for kind in ("sketch", "color", "seg")), *OTHERS)
SIZES = (64, 128, 192)
PROMPTS, CANCELS, STEPS = 50, 30, 2
MEGABYTE = 2**20
ALLOWANCE = 64 * MEGABYTE


def drawing(name: str, adapter: str = ADAPTERS[0], **values: Any) -> client.Workflow:
    """A picture of a few steps, after the sketch of a name."""
    sampler = {("Sampler", key): value for key, value in {"steps": STEPS, **values}.items()}
    chosen = {("Sketch", "image"): name, ("Adapter", "adapter_name"): f"{adapter}.safetensors"}
    return workflows.put(workflows.load(workflows.WITH), {**sampler, **chosen})


def once_more(workflow: client.Workflow, number: int) -> client.Workflow:
    """The same picture, but not the same to ComfyUI, which would give the old one out of its cache."""
    apply = next(node for node in workflow.values() if node["class_type"] == "ApplyT2IAdapter")
    sampler = next(node for node in workflow.values() if node["class_type"] == "KSampler")
    nothing = {**apply["inputs"], "model": sampler["inputs"]["model"], "strength": 0.0, "start_percent": number / 1000}
    again = {"class_type": "ApplyT2IAdapter", "inputs": nothing, "_meta": {"title": f"Nothing {number}"}}
    changed = {**sampler, "inputs": {**sampler["inputs"], "model": ["nothing", 0]}}
    return {**{key: changed if node is sampler else node for key, node in workflow.items()}, "nothing": again}


def draw(server: Any, workflow: client.Workflow, uploads: dict[str, bytes] | None = None) -> np.ndarray:
    """Run a workflow; return its picture."""
    ((png,),) = client.run(server.url, workflow, uploads).images.values()
    return np.asarray(Image.open(io.BytesIO(png)))


def test_the_probe_counts_classes_of_the_pack():
    """A class under another name would be counted as none alive, whatever holds it."""
    packages = ("adapter_models", "nodes")
    text = "".join(path.read_text("utf-8") for name in packages for path in paths.ROOT.joinpath(name).rglob("*.py"))
    probe = (Path(__file__).parent / "probe" / "__init__.py").read_text("utf-8")
    kinds = ast.literal_eval(re.search(r"^KINDS = (.*)$", probe, re.MULTILINE)[1])
    assert [kind for kind in kinds if not re.search(rf"^class {kind}\b", text, re.MULTILINE)] == []


def test_fifty_prompts_with_other_pictures_adapters_and_sizes(long_server):
    chance = random.Random(0)

    def prompt(number: int) -> tuple[int, int]:
        """Queue one, and return the size that was asked for and the size that came."""
        adapter, size = (ADAPTERS * PROMPTS)[number], SIZES[order[number]]
        name = f"picture-{number}.png"
        picture = draw(long_server, drawing(name, adapter, seed=number), {name: sketch(number, size)})
        return size, picture.shape[0]

    warm_up = 2 * len(ADAPTERS)
    order = [chance.randrange(len(SIZES)) for _ in range(warm_up + PROMPTS)]
    for number in range(warm_up):
        prompt(number)
    largest = max(long_server.get("/probe")["caches"])
    bound = largest // 2  # less than what two pictures of the larger sizes take
    assert long_server.get(f"/probe/bound/{bound}") == {"caches": len(ADAPTERS)}
    before = long_server.resident()
    with ThreadPoolExecutor(4) as clients:  # so that several are queued at any time
        for done, (asked, came) in enumerate(clients.map(prompt, range(warm_up, warm_up + PROMPTS))):
            assert came == asked
            if done % 10 == 9:
                assert max(long_server.get("/probe")["caches"]) <= largest  # the bound holds from the next entry on
    grown = long_server.resident() - before
    told = long_server.get("/probe/collected")
    assert all(nbytes <= bound for nbytes in told["caches"])
    assert told["alive"]["T2IAdapter"] == len(ADAPTERS)
    assert told["alive"]["ResidualComputer"] == told["alive"]["SamplingState"] == 0
    assert grown < ALLOWANCE, f"{grown / MEGABYTE:.1f} MB more after {PROMPTS} prompts"


def mixed(long_server: Any, chance: random.Random, number: int) -> None:
    """A picture; or a run that is cancelled; or a prompt that is refused."""
    kind = chance.choice(("picture", "cancelled", "refused"))
    name = f"mixed-{number % 20}.png"
    values = {"denoise": 0.5} if kind == "refused" else {}
    workflow = drawing(name, "no such" if kind == "refused" else chance.choice(ADAPTERS), seed=number, **values)
    timer = threading.Timer(chance.uniform(0, 0.5), long_server.post, ["/interrupt"])
    if kind == "cancelled":
        timer.start()
    try:
        draw(long_server, workflow, {name: sketch(number % 20, chance.choice(SIZES))})
        assert kind != "refused"
    except client.WorkflowError:
        assert kind != "picture"
    if kind == "cancelled":
        timer.join()


def test_a_mixed_session_holds_no_more_at_its_end(long_server):
    """A few seconds in the test command, as long as it is given in the session `fuzz`."""
    chance, number = random.Random(2), 0
    for number in range(20):
        mixed(long_server, chance, number)
    long_server.post("/probe/comfyui-only")
    long_server.get("/probe/collected")
    before, held = long_server.resident(), long_server.held()
    until = time.monotonic() + max(12.0, 60 * effort.MINUTES)
    while time.monotonic() < until:
        number += 1
        mixed(long_server, chance, number)
        if number % 50 == 0:
            long_server.post("/probe/comfyui-only")
    told = long_server.get("/probe/collected")
    assert told["alive"]["ResidualComputer"] == told["alive"]["SamplingState"] == 0
    grown = long_server.resident() - before
    assert grown < ALLOWANCE, f"{grown / MEGABYTE:.1f} MB more after {number} prompts"
    # A pool of threads or connections may not have been full.
    assert all(now - held[kind] <= 4 for kind, now in long_server.held().items()), (held, long_server.held())


def test_nothing_of_ours_stays_when_memory_is_freed(long_server):
    draw(long_server, drawing("freed.png"), {"freed.png": sketch(1)})
    assert long_server.get("/probe")["alive"]["AdapterFeatures"] > 0
    long_server.post("/free", unload_models=True, free_memory=True)
    # ComfyUI frees when its queue comes to rest after the next prompt.
    empty = {"1": {"class_type": "EmptyImage", "inputs": {"width": 8, "height": 8, "batch_size": 1, "color": 0}},
             "2": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}  # fmt: skip
    client.run(long_server.url, empty)
    assert set(long_server.get("/probe/collected")["alive"].values()) == {0}


def test_cancelled_at_random_moments_the_next_run_is_right(long_server):
    chance = random.Random(1)
    workflow, uploads = drawing("cancel.png"), {"cancel.png": sketch(2)}
    expected = draw(long_server, workflow, uploads)
    begun = time.monotonic()
    assert np.array_equal(draw(long_server, once_more(workflow, 0), uploads), expected)
    duration = time.monotonic() - begun
    cancelled = 0
    for number in range(CANCELS):
        timer = threading.Timer(chance.uniform(0, duration), long_server.post, ["/interrupt"])
        timer.start()
        try:
            draw(long_server, once_more(workflow, 2 * number + 1), uploads)
        except client.WorkflowError as error:
            assert "got interrupted" in str(error)
            cancelled += 1
        timer.join()
        assert np.array_equal(draw(long_server, once_more(workflow, 2 * number + 2), uploads), expected)
    assert cancelled > 0
    assert long_server.get("/probe/collected")["alive"]["SamplingState"] == 0


def test_two_clients_at_once_each_get_their_own_pictures(long_server):
    names = [f"client-{number}.png" for number in range(6)]
    uploads = {name: sketch(number) for number, name in enumerate(names, start=100)}
    jobs = [drawing(name, ADAPTERS[number % len(ADAPTERS)], seed=number) for number, name in enumerate(names)]
    alone = [draw(long_server, job, uploads) for job in jobs]
    assert len({picture.tobytes() for picture in alone}) == len(jobs)

    def work(mine: range) -> list[np.ndarray]:
        return [draw(long_server, once_more(jobs[number], number)) for number in mine]

    with ThreadPoolExecutor(2) as clients:
        even, odd = clients.map(work, (range(0, len(jobs), 2), range(1, len(jobs), 2)))
    for number, picture in enumerate(alone):
        assert np.array_equal((even, odd)[number % 2][number // 2], picture)
