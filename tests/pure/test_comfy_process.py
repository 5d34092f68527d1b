"""process.py where ComfyUI's port is taken or a pack is broken; tests/server holds what a real one says."""

import socket

import pytest

from steadydancer_pack.comfy_client import process
from steadydancer_pack.comfy_client.client import ServerGone
from steadydancer_pack.comfy_client.process import ComfyProcess, StartFailed, free_port

MAIN = """
import json, sys
from http.server import BaseHTTPRequestHandler, HTTPServer

class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({"system": {"argv": sys.argv}}).encode())

port = int(sys.argv[sys.argv.index("--port") + 1])
try:
    HTTPServer(("127.0.0.1", port), Answers).serve_forever()
except OSError:
    sys.exit(f"Port {port} is already in use on address 127.0.0.1. Please close the other application.")
"""


@pytest.fixture
def comfyui(tmp_path):
    """A folder that stands for ComfyUI: its main.py listens, answers, and says in ComfyUI's words that it cannot."""
    folder = tmp_path / "comfyui"
    folder.mkdir()
    (folder / "main.py").write_text(MAIN)
    return folder


@pytest.fixture
def taken():
    """A port on which somebody else listens."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def offer(monkeypatch, *ports):
    offered = iter(ports)
    monkeypatch.setattr(process, "free_port", lambda: next(offered))
    monkeypatch.setattr(process, "ANSWER_SECONDS", 0.2)


def test_another_port_is_tried_where_the_first_was_taken_meanwhile(monkeypatch, comfyui, tmp_path, taken):
    offer(monkeypatch, taken, free := free_port())
    with ComfyProcess(comfyui, tmp_path) as server:
        assert server.address == f"127.0.0.1:{free}"
        assert str(server.base) in server.client.get("/system_stats")["system"]["argv"]


def test_what_answers_at_a_taken_port_is_not_taken_for_ours(monkeypatch, comfyui, tmp_path):
    with ComfyProcess(comfyui, tmp_path) as other:
        offer(monkeypatch, other.address.rpartition(":")[2], free := free_port())
        with ComfyProcess(comfyui, tmp_path) as server:
            assert server.address == f"127.0.0.1:{free}"


def test_a_second_taken_port_is_told(monkeypatch, comfyui, tmp_path, taken):
    offer(monkeypatch, taken, taken)
    with pytest.raises(StartFailed, match="(?s)exit code 1 while starting.*is already in use"):
        ComfyProcess(comfyui, tmp_path).__enter__()


def test_the_log_of_a_server_that_goes_away_is_shown(comfyui, tmp_path):
    gone = pytest.raises(ServerGone, match="(?s)No ComfyUI answers.*The end of its log")
    with gone, ComfyProcess(comfyui, tmp_path) as server:
        server.process.kill()
        server.process.wait()
        server.client.object_info()


def test_a_broken_pack_is_told_with_the_end_of_the_log(comfyui, tmp_path):
    line = "   0.0 seconds (IMPORT FAILED): /comfyui/custom_nodes/steadydancer"
    (comfyui / "main.py").write_text(f"print({line!r}, flush=True)\n{MAIN}")
    with pytest.raises(StartFailed, match=r"(?s)could not import the pack.*IMPORT FAILED\): /comfyui/custom_nodes"):
        ComfyProcess(comfyui, tmp_path).__enter__()
