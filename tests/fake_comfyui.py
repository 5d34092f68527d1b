"""A ComfyUI without models: the endpoints that comfy_client uses, with results that are the driving videos themselves.

    with FakeComfyUI(seconds=0.1) as server:
        ComfyClient(server.address)

The names of cells, and thus of photos and videos, say what goes wrong: one of the words of ENDS in the cell's name.
As a process of its own: `python -m tests.fake_comfyui --port 8200 --seconds 0.1`. It prints its address.
"""

import argparse
import json
import os
import re
import socket
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

WORKFLOW = {
    "1": {"class_type": "LoadImage", "inputs": {"image": "x.png"}, "_meta": {"title": "Photo"}},
    "2": {"class_type": "LoadVideo", "inputs": {"file": "x.mp4"}, "_meta": {"title": "Driving video"}},
    "3": {"class_type": "KSampler", "inputs": {"seed": 1, "steps": 4}, "_meta": {"title": "S"}},
    "4": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "x", "video": ["2", 0]}, "_meta": {"title": "V"}},
    "5": {"class_type": "UNETLoader", "inputs": {"unet_name": "m.safetensors"}, "_meta": {"title": "M"}},
}
FINGERPRINT = "SteadyDancerFingerprint"
SLOW, ERROR, NOBODY, REFUSED, STOPPED, KILLER = "slow", "error", "nobody", "refused", "stopped", "killer"
ENDS = (SLOW, ERROR, NOBODY, REFUSED, STOPPED, KILLER)
SLOW_FACTOR = 10
MESSAGES = {ERROR: "out of memory", NOBODY: "Nobody was found in the photo."}
PNG = b"\x89PNG\r\n\x1a\n"


class FakeComfyUI:
    """Runs one prompt after the other, each for `seconds`, between __enter__ and __exit__.

    done: how often each cell was run to its end, by name. models, pack_version: what its fingerprint reports.
    on_begin: called when a cell begins.
    """

    def __init__(self, seconds=0.05, models=None, pack_version="1.0", port=0, is_process=False):
        self.seconds, self.pack_version, self.is_process = seconds, pack_version, is_process
        self.models = models or {"m.safetensors": "0" * 64}
        self.pending, self.running, self.history = [], None, {}
        self.files, self.done, self.probes = {}, Counter(), 0
        self.begun: list[str] = []
        self.on_begin: Callable[[], None] = lambda: None
        self.changed = threading.Condition()
        self.stopped_ids: set[str] = set()
        self.closing = False
        self._http = _Http(("127.0.0.1", port), _Handler)
        self._http.fake = self
        self.address = f"127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()
        threading.Thread(target=self._work, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.kill()

    def kill(self):
        """End like a killed process: connections break, and nobody listens at the port any more."""
        if self.closing:
            return
        self.closing = True
        with self.changed:
            self.changed.notify_all()
        self._http.drop()
        if threading.current_thread() is not threading.main_thread():
            threading.Thread(target=self._http.shutdown, daemon=True).start()
        else:
            self._http.shutdown()

    def _work(self):
        while True:
            with self.changed:
                while not self.pending and not self.closing:
                    self.changed.wait()
                if self.closing:
                    return
                self.running = self.pending.pop(0)
                prompt_id, prompt = self.running
            outcome = self._run(prompt_id, prompt)
            if outcome is None:
                return
            with self.changed:
                self.history[prompt_id] = outcome
                self.running = None

    def _run(self, prompt_id, prompt):
        """Return the history entry of a prompt; None when the server ends."""
        if prompt["1"]["class_type"] == FINGERPRINT:
            self.probes += 1
            report = {"fingerprint": json.dumps(self.models), "pack_version": self.pack_version, "models": self.models}
            return success({"1": {"text": [json.dumps(report)]}}, 0)
        name = cell_name(prompt)
        self.begun.append(name)
        self.on_begin()
        if KILLER in name:
            if self.is_process:
                os._exit(1)
            self.kill()
            return None
        end = time.monotonic() + self.seconds * (SLOW_FACTOR if SLOW in name else 1)
        with self.changed:
            while (left := end - time.monotonic()) > 0 and not self.closing and prompt_id not in self.stopped_ids:
                self.changed.wait(left)
        if self.closing:
            return None
        if prompt_id in self.stopped_ids or STOPPED in name:
            self.stopped_ids.discard(prompt_id)
            return {"status": {"status_str": "error", "messages": [["execution_interrupted", {"timestamp": 1}]]}}
        for word, message in MESSAGES.items():
            if word in name:
                about = {"node_type": "N", "node_id": "3", "exception_message": message, "exception_type": "ValueError"}
                return {"status": {"status_str": "error", "messages": [["execution_error", about]]}}
        self.done[name] += 1
        video = {"filename": f"{name}_00001_.mp4", "subfolder": "xdance", "type": "output"}
        self.files["output", video["filename"]] = self.files["input", prompt["2"]["inputs"]["file"]]
        return success({"4": {"images": [video]}}, self.seconds)

    def queue(self, body):
        prompt = body["prompt"]
        kind = prompt["1"]["class_type"]
        if kind != FINGERPRINT and REFUSED in cell_name(prompt):
            reason = {"message": "Value not in list", "details": "unet_name: 'm.safetensors' not in []"}
            node = {"5": {"class_type": "UNETLoader", "errors": [reason]}}
            return 400, {"error": {"message": "Prompt outputs failed validation"}, "node_errors": node}
        entry = (body.get("prompt_id") or str(uuid.uuid4()), prompt)
        with self.changed:
            self.pending.insert(0 if body.get("front") else len(self.pending), entry)
            self.changed.notify_all()
        return 200, {"prompt_id": entry[0], "node_errors": {}}

    def stop(self, prompt_ids):
        with self.changed:
            self.pending = [entry for entry in self.pending if entry[0] not in prompt_ids]
            if self.running and self.running[0] in prompt_ids:
                self.stopped_ids.add(self.running[0])
                self.changed.notify_all()

    def dequeue(self, prompt_ids):
        with self.changed:
            self.pending = [entry for entry in self.pending if entry[0] not in prompt_ids]


def cell_name(prompt):
    return prompt["4"]["inputs"]["filename_prefix"].removeprefix("xdance/")


def success(outputs, seconds):
    times = [["execution_start", {"timestamp": 0}], ["execution_success", {"timestamp": 1000 * seconds}]]
    return {"status": {"status_str": "success", "messages": times}, "outputs": outputs}


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeComfyUI

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.open = set()

    def process_request(self, request, client_address):
        self.open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self.open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, *_):
        pass

    def drop(self):
        """Close the port and every connection, abruptly."""
        self.socket.close()
        for request in list(self.open):
            try:
                request.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self):
        fake, url = self.server.fake, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path == "/view":
            content = fake.files.get((query["type"], query["filename"]))
            self.answer(404 if content is None else 200, content or b"")
            return
        with fake.changed:
            pages = {
                "/system_stats": lambda: {"system": {"argv": sys.argv}},
                "/object_info": lambda: object_info(),
                "/queue": lambda: {
                    "queue_running": [[0, fake.running[0]]] if fake.running else [],
                    "queue_pending": [[0, entry[0]] for entry in fake.pending],
                },
                "/history": lambda: dict(list(fake.history.items())[-int(query.get("max_items", 10000)) :]),
            }
            if url.path.startswith("/history/"):
                prompt_id = url.path.rpartition("/")[2]
                page = {prompt_id: fake.history[prompt_id]} if prompt_id in fake.history else {}
            else:
                page = pages[url.path]() if url.path in pages else None
        self.answer(404 if page is None else 200, page)

    do_HEAD = do_GET

    def do_POST(self):
        fake, body = self.server.fake, self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/upload/image":
            name, content = uploaded(self.headers["Content-Type"], body)
            fake.files["input", name] = content
            self.answer(200, {"name": name})
            return
        content = json.loads(body or b"{}")
        if self.path == "/prompt":
            self.answer(*fake.queue(content))
            return
        if self.path == "/queue":
            fake.dequeue(content.get("delete", ()))
        elif self.path == "/interrupt":
            fake.stop([content.get("prompt_id")])
        self.answer(200, {})

    def answer(self, status, content):
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_):
        pass


def object_info():
    kinds = {node["class_type"] for node in WORKFLOW.values()}
    return {kind: {"input": {}} for kind in (*kinds, FINGERPRINT, "SteadyDancerExtractPoses", "SteadyDancerLoadPoses")}


def uploaded(kind, body):
    """Return (name, content) of the one file in a multipart body."""
    boundary = b"--" + kind.partition("boundary=")[2].encode()
    file = next(part for part in body.split(boundary) if b'filename="' in part)
    header, _, content = file.partition(b"\r\n\r\n")
    return re.search(rb'filename="([^"]+)"', header)[1].decode(), content.removesuffix(b"\r\n")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.05)
    options, _ = parser.parse_known_args()
    with FakeComfyUI(options.seconds, port=options.port, is_process=True) as server:
        sys.stdout.write(f"{server.address}\n")
        sys.stdout.flush()
        threading.Event().wait()


if __name__ == "__main__":
    main()
