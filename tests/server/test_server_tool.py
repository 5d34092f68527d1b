"""ComfyClient and ComfyProcess: prompts run, bad ones are rejected, a broken pack is told from others."""

import pytest

from steadydancer_pack.comfy_client.process import PACK_FOLDER
from steadydancer_pack.comfy_client.prompt_run import PromptFailed, PromptRejected
from steadydancer_pack.tests.server.conftest import BROKEN_PACK, MISSING_MODULE

PICTURE = {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}}
SAVE = {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "server_tool"}}


def test_a_prompt_runs_and_leaves_its_history(server):
    seen = []
    prompt_id = server.client.queue({"1": PICTURE, "2": SAVE})
    report = server.client.wait(prompt_id, lambda kind, data: seen.append(kind))
    (image,) = server.client.history(prompt_id)["outputs"]["2"]["images"]
    assert (server.base / "output" / image["filename"]).is_file()
    assert "2" in report.node_seconds and "execution_success" in seen
    assert server.memory.peak > 50e6


def test_a_bad_prompt_is_refused_with_node_and_input(server):
    bad = {"1": PICTURE | {"inputs": PICTURE["inputs"] | {"width": "wide"}}, "2": SAVE}
    with pytest.raises(PromptRejected, match=r"EmptyImage \(node 1\): .*width, wide"):
        server.client.queue(bad)


def test_a_failing_node_is_named_and_the_next_prompt_runs(server):
    no_image = server.base / "input" / "not_an_image.png"
    no_image.write_text("text")
    load = {"class_type": "LoadImage", "inputs": {"image": no_image.name}}
    with pytest.raises(PromptFailed, match=r"LoadImage \(node 1\)"):
        server.client.wait(server.client.queue({"1": load, "2": SAVE}))
    server.client.wait(server.client.queue({"1": PICTURE | {"inputs": PICTURE["inputs"] | {"color": 1}}, "2": SAVE}))


def test_an_uploaded_file_lies_in_the_input_folder(server, tmp_path):
    file = tmp_path / "note.mp4"
    file.write_bytes(b"any")
    assert server.client.upload(file) == "note.mp4"
    assert (server.base / "input" / "note.mp4").read_bytes() == b"any"


def test_a_broken_pack_is_known_by_the_log_which_has_its_traceback(server):
    assert server.failed_to_import(BROKEN_PACK) and not server.failed_to_import(PACK_FOLDER)
    assert f"No module named '{MISSING_MODULE}'" in server.log()
