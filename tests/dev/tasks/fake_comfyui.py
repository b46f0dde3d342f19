"""A fake of ComfyUI's main.py with its server's API, for behaviour that the real one can't be made to show.

Every picture is gray; the prompt texts "fail", "refuse" and "die" trigger these faults.
"""

import asyncio
import io
import os
import sys

from aiohttp import web
from PIL import Image

sockets = {}
prompts = {}


async def queue(request):
    body = await request.json()
    text = next(node["inputs"]["text"] for node in body["prompt"].values() if node["class_type"] == "CLIPTextEncode")
    if text == "refuse":
        error = {"errors": [{"message": "Value not in list", "details": "ckpt_name"}]}
        return web.json_response({"error": {"message": "Prompt failed"}, "node_errors": {"1": error}}, status=400)
    name = f"id-{len(prompts)}"
    prompts[name] = text
    asyncio.get_running_loop().create_task(work(sockets[body["client_id"]], name))
    return web.json_response({"prompt_id": name})


async def work(socket, name):
    async def say(kind, **data):
        await socket.send_json({"type": kind, "data": {"prompt_id": name, **data}})

    await socket.send_json({"type": "status", "data": {}})
    await socket.send_bytes(b"a preview picture")
    for step in range(3):
        await say("progress", node="9", value=step + 1, max=3)
    if prompts[name] == "die":
        sys.stdout.write("Segmentation fault\n")
        sys.stdout.flush()
        os._exit(9)
    if prompts[name] == "fail":
        trouble = {"exception_type": "AdapterError", "exception_message": "got SDXL; expected SD1.x", "traceback": []}
        await say("execution_error", node_id="8", node_type="ApplyT2IAdapter", **trouble)
    await say("executing", node=None)


async def listen(request):
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    sockets[request.query["clientId"]] = socket
    async for _ in socket:
        pass
    return socket


async def history(request):
    name = request.match_info["name"]
    outputs = {"11": {"images": [{"filename": "a.png", "subfolder": "", "type": "output"}]}}
    return web.json_response({name: {"status": {"status_str": "success"}, "outputs": outputs}})


async def view(_request):
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), "gray").save(buffer, "PNG")
    return web.Response(body=buffer.getvalue(), content_type="image/png")


async def fine(_request):
    return web.json_response({"system": {}})


if __name__ == "__main__":
    app = web.Application()
    app.add_routes([web.get("/system_stats", fine), web.post("/upload/image", fine), web.post("/prompt", queue)])
    app.add_routes([web.get("/ws", listen), web.get("/history/{name}", history), web.get("/view", view)])
    web.run_app(app, host="127.0.0.1", port=int(sys.argv[sys.argv.index("--port") + 1]), print=None)
