"""What a page is sent while a run lasts: the stages in words, and pictures of the video so far."""

import io
import json
import struct

import pytest
import websocket
from PIL import Image

from steadydancer_pack.comfy_client.prompt_edit import find, set_inputs
from steadydancer_pack.miniature import write_all
from steadydancer_pack.tests.prompts import SAMPLER, small_prompt

TEXT, PICTURE = 3, 4  # ComfyUI's types of binary messages
FLAGS = {"type": "feature_flags", "data": {"supports_preview_metadata": True}}


def watch(server, prompt, **extra):
    """Run the prompt as a page does; return the texts and the pictures, each with the id of its node."""
    texts, pictures = [], []
    page = websocket.create_connection(f"ws://{server.address}/ws?clientId=page", timeout=300)
    page.send(json.dumps(FLAGS))
    body = {"prompt": prompt, "client_id": "page", "extra_data": extra}
    server.client.http.post("/prompt", json=body, timeout=60).raise_for_status()
    while True:
        message = page.recv()
        if isinstance(message, str):
            told = json.loads(message)
            if told["type"] == "executing" and told["data"]["node"] is None:
                page.close()
                return texts, pictures
            continue
        kind, length = struct.unpack(">II", message[:8])
        head, rest = message[8 : 8 + length], message[8 + length :]
        if kind == TEXT:
            texts.append((head.decode(), rest.decode()))
        if kind == PICTURE:
            pictures.append((json.loads(head)["display_node_id"], Image.open(io.BytesIO(rest))))


@pytest.mark.parametrize("refused", [False, True])
def test_a_page_sees_each_stage_and_unless_it_wants_none_the_video(server, object_info, refused):
    write_all(server.base / "models", server.base / "input")
    prompt = small_prompt(object_info)
    sampler = find(prompt, SAMPLER)
    set_inputs(prompt, sampler, seed=77 + refused)
    texts, pictures = watch(server, prompt, **({"preview_method": "none"} if refused else {}))
    told = [text for node, text in texts if node == sampler]
    assert told[:2] == ["Loading the model", "Step 1 of 2"] and told[2].startswith("Step 2 of 2")
    assert "left" in told[2] and told[3:] == [""]
    shown = [picture for node, picture in pictures if node == sampler]
    videos = [picture for picture in shown if picture.format == "JPEG"]
    assert shown[-1].format == "PNG"  # the timeline, in the end
    assert [picture.size for picture in videos[:1]] == ([] if refused else [(512, 512)])
