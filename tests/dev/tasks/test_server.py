"""The server as a child process: it is always stopped, and the error says why it did not start."""

import sys

import pytest
from t2i_adapter_pack.dev.tasks import base_directory, server


@pytest.fixture
def fake(tmp_path):
    """A folder with a fake main.py in place of ComfyUI's."""
    comfyui = tmp_path / "ComfyUI"
    comfyui.mkdir()

    def make(code):
        (comfyui / "main.py").write_text(code)
        return server.ComfyServer(comfyui, base_directory.prepare(tmp_path / "base", comfyui))

    return make


ANSWERING = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b'{"system": {}}')
port = int(sys.argv[sys.argv.index("--port") + 1])
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


def test_a_server_that_exits_is_reported_with_the_end_of_its_log(fake):
    running = fake("import sys; print('\\x1b[31mno module named torchsde\\x1b[0m'); sys.exit(3)")
    with pytest.raises(server.ServerError, match=r"(?s)exit status 3.*  no module named torchsde"):
        running.start()
    assert running.process is None


def test_the_server_ends_when_the_block_fails(fake):
    running = fake(ANSWERING)
    child = None
    with pytest.raises(KeyboardInterrupt), running:
        child = running.process
        assert child.poll() is None
        raise KeyboardInterrupt
    assert child.poll() is not None


def test_a_server_that_does_not_answer_in_time_is_ended(fake, monkeypatch):
    monkeypatch.setattr(server, "READY_WITHIN", 1.0)
    seen = []
    running = fake("import time; time.sleep(60)")
    with pytest.raises(server.ServerError, match="no answer after"):
        running.start(seen.append)
    assert running.process is None
    assert seen


def test_a_server_that_ignores_sigterm_is_killed(fake, monkeypatch):
    monkeypatch.setattr(server, "END_WITHIN", 0.5)
    running = fake("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + ANSWERING)
    running.start()
    child = running.process
    running.stop()
    assert child.poll() is not None


def test_the_log_may_contain_any_bytes(fake):
    running = fake("import sys; sys.stdout.buffer.write(b'\\xff\\xfe broken'); sys.exit(1)")
    with pytest.raises(server.ServerError, match="broken"):
        running.start()


@pytest.mark.host
def test_the_server_loads_the_pack_without_failures(comfy_server):
    log = comfy_server.log.read_text(encoding="utf-8", errors="replace")
    assert "IMPORT FAILED" not in log
    for node in ("LoadT2IAdapter", "ApplyT2IAdapter", "T2IAdapterInfo", "PreviewT2IAdapterFeatures"):
        assert node in comfy_server.get(f"/object_info/{node}")


def test_the_same_python_runs_the_server(fake):
    assert fake("").command[0] == sys.executable
