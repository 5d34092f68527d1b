"""ComfyUI imports the pack: nothing is downloaded, started or written, nothing loaded that it has not loaded itself."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PACK = Path(__file__).resolve().parents[2]
# ComfyUI loads the pack by its own code; what the pack requires cannot be imported there, as if it were not installed.
CHILD = """
import asyncio, json, os, sys, threading
comfyui, base, pack = sys.argv[1:]
sys.argv = sys.argv[:1]
sys.path.insert(0, comfyui)
for required in ("cv2", "onnxruntime", "torchmetrics", "matplotlib"):
    sys.modules[required] = None
from comfy.cli_args import args
args.cpu, args.base_directory = True, base
import server, nodes, comfy_config.config_parser

FORBIDDEN = ("socket.connect", "socket.bind", "socket.getaddrinfo", "subprocess.Popen", "os.", "shutil.", "urllib.")
HARMLESS = ("os.listdir", "os.scandir", "os.walk")
events, watching = [], True

def watch(event, details):
    writes = event == "open" and (set(str(details[1])) & set("wax+") or (details[2] or 0) & (os.O_WRONLY | os.O_RDWR))
    if watching and event not in HARMLESS and (writes or event.startswith(FORBIDDEN)):
        events.append(f"{event} {details}")

before, path, threads = set(sys.modules), list(sys.path), set(threading.enumerate())
sys.addaudithook(watch)
loaded = asyncio.run(nodes.load_custom_node(pack))
watching = False
new = [name for name in set(sys.modules) - before if name.partition(".")[0] not in sys.stdlib_module_names]
print(json.dumps({
    "loaded": loaded,
    "nodes": sum(name.startswith("SteadyDancer") for name in nodes.NODE_CLASS_MAPPINGS),
    "events": events,
    "modules": sorted(name for name in new if not name.startswith(pack.replace(".", "_x_"))),
    "path": sys.path != path,
    "threads": [thread.name for thread in set(threading.enumerate()) - threads],
}))
"""


@pytest.fixture(scope="module")
def imported(tmp_path_factory) -> dict:
    """What a fresh ComfyUI without the pack's requirements has seen while it loaded the pack."""
    command = [sys.executable, "-c", CHILD, os.environ["COMFYUI_PATH"], str(tmp_path_factory.mktemp("base")), str(PACK)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_the_pack_loads_before_its_requirements_are_installed(imported, schemas):
    assert imported["loaded"] and imported["nodes"] == len(schemas)


def test_nothing_is_downloaded_started_or_written(imported):
    assert imported["events"] == []
    assert not imported["path"] and imported["threads"] == []


def test_nothing_is_loaded_that_comfyui_has_not_loaded_itself(imported):
    assert imported["modules"] == []
