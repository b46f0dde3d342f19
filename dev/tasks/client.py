"""Queue a workflow on a running ComfyUI server and fetch its results."""

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

Workflow = dict[str, dict[str, Any]]
# Called with a node's id, the number of steps done, and the total.
Progress = Callable[[str, int, int], None]

TIMEOUT = 600.0
LARGEST_MESSAGE = 64 * 1024 * 1024


class WorkflowError(RuntimeError):
    """The server refused a workflow, or a node failed."""


@dataclass(frozen=True)
class Result:
    """The results of a workflow.

    Attributes:
        outputs: Texts and file names that each output node reported, by node id.
        images: Pictures of each output node as PNG bytes, by node id.
    """

    outputs: dict[str, dict[str, Any]]
    images: dict[str, list[bytes]]


def run(
    url: str, workflow: Workflow, uploads: Mapping[str, bytes] | None = None, progress: Progress | None = None
) -> Result:
    """Upload pictures, queue a workflow, wait for its end, and fetch its pictures.

    Args:
        url: the server's address, as http://127.0.0.1:8188.
        workflow: in API format.
        uploads: pictures for LoadImage, as the bytes of a file by its name.
        progress: called as nodes advance.

    Returns:
        The results of the output nodes.

    Raises:
        WorkflowError: when the server refuses the workflow, a node fails, or the connection ends.
    """
    return asyncio.run(asyncio.wait_for(_run(url, workflow, uploads or {}, progress), TIMEOUT))


async def _run(url: str, workflow: Workflow, uploads: Mapping[str, bytes], progress: Progress | None) -> Result:
    client = str(uuid.uuid4())
    async with aiohttp.ClientSession(url) as session:
        for name, data in uploads.items():
            await _upload(session, name, data)
        # Connected before queueing, so that no event is missed.
        async with session.ws_connect("/ws", params={"clientId": client}, max_msg_size=LARGEST_MESSAGE) as socket:
            prompt = await _queue(session, workflow, client)
            await _wait(socket, prompt, progress)
        return await _collect(session, prompt)


async def _upload(session: aiohttp.ClientSession, name: str, data: bytes) -> None:
    form = aiohttp.FormData()
    form.add_field("image", data, filename=name, content_type="image/png")
    form.add_field("overwrite", "true")
    async with session.post("/upload/image", data=form) as response:
        if response.status != 200:
            raise WorkflowError(f"upload of {name}: got status {response.status}; expected 200.")


async def _queue(session: aiohttp.ClientSession, workflow: Workflow, client: str) -> str:
    async with session.post("/prompt", json={"prompt": workflow, "client_id": client}) as response:
        text = await response.text()
        if response.status != 200:
            raise WorkflowError(_refusal(text, workflow))
        prompt: str = json.loads(text)["prompt_id"]
        return prompt


def _refusal(text: str, workflow: Workflow) -> str:
    """Return the server's reasons for refusing a workflow, one line each."""
    try:
        answer = json.loads(text)
    except ValueError:
        return f"workflow: got a reply that is not JSON; expected a queued prompt.\n{text}"
    error = answer.get("error", {})
    reasons = [" ".join(filter(None, (error.get("message"), error.get("details"))))]
    for node, found in answer.get("node_errors", {}).items():
        name = workflow.get(node, {}).get("class_type", "?")
        lines = (f"{reason.get('message')}: {reason.get('details')}" for reason in found.get("errors", []))
        reasons.extend(f"  node {node} ({name}): {line}" for line in lines)
    return "workflow: got a refusal from ComfyUI; expected it to be queued.\n" + "\n".join(reasons)


async def _wait(socket: "aiohttp.ClientWebSocketResponse[Any]", prompt: str, progress: Progress | None) -> None:
    """Follow the server's events until the prompt has ended."""
    async for message in socket:
        if message.type is not aiohttp.WSMsgType.TEXT:
            continue  # a preview picture
        event = json.loads(message.data)
        kind, data = event.get("type"), event.get("data", {})
        if data.get("prompt_id") != prompt:
            continue
        if kind == "progress" and progress:
            progress(str(data.get("node")), int(data["value"]), int(data["max"]))
        elif kind == "execution_error":
            raise WorkflowError(_failure(data))
        elif kind == "execution_interrupted":
            raise WorkflowError(f"node {data.get('node_id')} ({data.get('node_type')}): got interrupted.")
        elif kind == "executing" and data.get("node") is None:
            return  # sent last, after the history is written
    raise WorkflowError("workflow: got the end of the connection; expected the end of the workflow.")


def _failure(data: dict[str, Any]) -> str:
    trace = "".join(data.get("traceback", []))
    message = f"{data.get('exception_type')}: {data.get('exception_message')}"
    return f"node {data.get('node_id')} ({data.get('node_type')}): {message}\n{trace}"


async def _collect(session: aiohttp.ClientSession, prompt: str) -> Result:
    async with session.get(f"/history/{prompt}") as response:
        entry = (await response.json()).get(prompt)
    if entry is None or entry["status"]["status_str"] != "success":
        raise WorkflowError(f"workflow: got {entry and entry['status']}; expected success.")
    images: dict[str, list[bytes]] = {}
    for node, output in entry["outputs"].items():
        for image in output.get("images", []):
            async with session.get("/view", params=image) as response:
                response.raise_for_status()
                images.setdefault(node, []).append(await response.read())
    return Result(entry["outputs"], images)
