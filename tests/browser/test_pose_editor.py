"""Sessions in the pose editor on ComfyUI's page: a wrong elbow is dragged, an alignment corrected, bad edits kept."""

import json
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from steadydancer_pack.dwpose.formats import pose_json
from steadydancer_pack.dwpose.formats.dialects import STRICT
from steadydancer_pack.dwpose.poses import KEYPOINTS, LEFT_ELBOW, PoseClip, Track
from steadydancer_pack.tests.browser.graph import LOAD, VUE, draw_with, in_time, ours, press_run, show

FRAMES, WRONG, EASE = 24, 12, 4
MEET, SWAPPED = 12, slice(4, 9)  # frames
OTHER_SIDE = [0, 1, 5, 6, 7, 2, 3, 4, 11, 12, 13, 8, 9, 10, 15, 14, 17, 16]  # joints of the body
BODY = {
    0: (0.5, 0.18), 1: (0.5, 0.28), 2: (0.42, 0.28), 3: (0.38, 0.42), 4: (0.37, 0.55), 5: (0.58, 0.28),
    6: (0.62, 0.42), 7: (0.63, 0.55), 8: (0.45, 0.56), 9: (0.44, 0.75), 10: (0.44, 0.93), 11: (0.55, 0.56),
    12: (0.56, 0.75), 13: (0.56, 0.93), 14: (0.48, 0.16), 15: (0.52, 0.16), 16: (0.46, 0.17), 17: (0.54, 0.17),
}  # fmt: skip
PROMPT = {
    "1": {"class_type": "SteadyDancerLoadPoses",
          "inputs": {"file": "", "fps": 16.0, "width": 0, "height": 0, "dialect": STRICT}},
    "2": {"class_type": "SteadyDancerEditPoses", "inputs": {"poses": ["1", 0], "edits": "", "fps": ["1", 1]}},
    "3": {"class_type": "SteadyDancerDrawPoses",
          "inputs": {"poses": ["2", 0], "width": 0, "height": 0, "palette": "steadydancer", "thickness": 1.0,
                     "hands": True}},
    "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0], "filename_prefix": "edited/pose"}},
}  # fmt: skip
PICKED = {  # draws person 1 too, alone
    "8": {"class_type": "SteadyDancerPickPerson",
          "inputs": {"poses": ["2", 0], "rule": "number", "index": 1, "x": 0.5, "y": 0.5, "frame": 0,
                     "when_absent": "blank"}},
    "9": {"class_type": "SteadyDancerDrawPoses", "inputs": {**PROMPT["3"]["inputs"], "poses": ["8", 0]}},
    "10": {"class_type": "SaveImage", "inputs": {"images": ["9", 0], "filename_prefix": "edited/person"}},
}  # fmt: skip
OPEN_PROMPT = "prompt => window.app.loadApiJson(prompt, 'edit')"
EDITS = "() => window.app.graph.getNodeById(2).widgets.find(({name}) => name === 'edits').value"
SET_EDITS = """text => { window.app.graph.getNodeById(2).widgets.find(({name}) => name === 'edits').value = text; }"""
STATUS = "() => document.querySelector('.steadydancer-pose-editor').editor.status.textContent"
CORRECTIONS = """() => Object.fromEntries(window.app.graph.getNodeById(2).widgets
    .filter(({name, value}) => /_(scale|x|y)$/.test(name) && value !== (name.endsWith('scale') ? 1 : 0))
    .map(({name, value}) => [name, value]))"""
PICTURE = """() => {
    const box = document.querySelector('[data-node-id="2"] img').getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
}"""
GRAPH_CHANGES = "() => [window.app.graph.nodes.length, window.app.graph.getNodeById(2).pos[0]]"
STORED = "() => document.querySelector('.steadydancer-pose-editor').editor.session.rows.map(({op}) => op)"
PHOTO_SHOWN = """() => document.querySelector('.steadydancer-pose-editor').shadowRoot.querySelector('.frame img')
    .naturalWidth > 0"""
SERIALIZED = "() => window.app.graph.serialize()"
# Where the button of the node is on the page, in the classic renderer.
BUTTON_ON_CANVAS = """() => {
    const {graph, canvas} = window.app;
    const node = graph.getNodeById(2);
    const widget = node.widgets.find(({name}) => name === 'steadydancer_edit_poses');
    const [x, y] = canvas.ds.convertOffsetToCanvas([node.pos[0] + node.size[0] / 2, node.pos[1] + widget.last_y + 10]);
    const box = canvas.canvas.getBoundingClientRect();
    return [box.x + x, box.y + y];
}"""
# Where a joint of a person is on the page.
JOINT = """([person, keypoint]) => {
    const {stage, session} = document.querySelector('.steadydancer-pose-editor').editor;
    const {points} = session.people().get(person);
    const [x, y] = stage.view.toCanvas(points[2 * keypoint], points[2 * keypoint + 1]);
    const box = stage.canvas.getBoundingClientRect();
    return [box.x + x, box.y + y];
}"""


def dancer() -> PoseClip:
    points, scores = np.zeros((FRAMES, KEYPOINTS, 2)), np.zeros((FRAMES, KEYPOINTS))
    for joint, place in BODY.items():
        points[:, joint], scores[:, joint] = place, 0.9
    return PoseClip(288, 512, FRAMES, (Track(0, points, scores),))


def loading(server, clip: PoseClip, name: str) -> dict:
    """Return a node that loads the poses, from a file of that name."""
    path = pose_json.save_new(clip, [server.base / "input" / f"{name}.json"], 16.0, STRICT)
    return {**PROMPT["1"], "inputs": {**PROMPT["1"]["inputs"], "file": path.name}}


@pytest.fixture(scope="module")
def graph(server) -> dict:
    """A prompt that draws the poses of a file: one dancer, whose elbow is far off in one frame."""
    clip = dancer()
    clip.tracks[0].points[WRONG, LEFT_ELBOW] += (0.2, -0.1)
    return {**PROMPT, "1": loading(server, clip, "wrong_elbow")}


@pytest.fixture
def editing(page: Page, server, graph) -> Iterator[Page]:
    page.evaluate(OPEN_PROMPT, graph)
    yield page
    assert ours(page.errors) == []


def pictures(server, run: Callable[[], None]) -> list[np.ndarray]:
    """Return the pictures that a run saves."""
    folder = server.base / "output" / "edited"
    before = set(folder.glob("*.png"))
    run()
    return [np.asarray(Image.open(file)) for file in sorted(set(folder.glob("*.png")) - before)]


def run(page: Page, server) -> list[np.ndarray]:
    """Press Run and return the pictures that the run saved."""
    jobs = len(server.client.get("/history"))

    def press() -> None:
        press_run(page)
        assert in_time(page, lambda: len(server.client.get("/history")), jobs + 1) == jobs + 1

    return pictures(server, press)


def open_editor(page: Page, renderer: str, name: str = "Edit poses") -> Locator:
    show(page, 2)
    if VUE[renderer]:
        page.locator('[data-node-id="2"]').get_by_role("button", name=name).click()
    else:
        page.mouse.click(*page.evaluate(BUTTON_ON_CANVAS))
    dialog = page.get_by_role("dialog", name=name)
    expect(dialog).to_be_visible()
    return dialog


def drag_joint(page: Page, joint: int, dx: float, dy: float) -> None:
    """Drag a joint of person 1 by pixels of the page."""
    x, y = page.evaluate(JOINT, [1, joint])
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + dx / 2, y + dy / 2)
    page.mouse.move(x + dx, y + dy)
    page.mouse.up()


@pytest.mark.parametrize("renderer", VUE)
def test_a_wrong_elbow_is_dragged_eased_and_applied_and_drawn_so_without_the_page(editing, server, graph, renderer):
    page = editing
    draw_with(page, renderer)
    unedited = run(page, server)
    dialog = open_editor(page, renderer)
    dialog.get_by_label("Frame", exact=True).fill(str(WRONG))
    dialog.get_by_label("Ease in").last.fill(str(EASE))
    dialog.get_by_label("Ease out").last.fill(str(EASE))
    drag_joint(page, LEFT_ELBOW, -60, 40)
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    (row,) = json.loads(page.evaluate(EDITS))["edits"]
    (dx, dy) = row.pop("joints")["left_elbow"]
    assert dx < -0.05 and dy > 0.02
    assert row == {"op": "move", "person": 1, "from": WRONG, "to": WRONG, "ease_in": EASE, "ease_out": EASE}
    edited = run(page, server)
    assert len(edited) == len(unedited) == FRAMES
    changed = [i for i in range(FRAMES) if (edited[i] != unedited[i]).any()]
    assert changed == list(range(WRONG - EASE, WRONG + EASE + 1))
    page.evaluate(LOAD, page.evaluate(SERIALIZED))
    assert json.loads(page.evaluate(EDITS))["edits"][0]["joints"] == {"left_elbow": [dx, dy]}
    sent = {id: {**node, "inputs": dict(node["inputs"])} for id, node in graph.items()}
    sent["1"]["inputs"]["fps"] = 17.0  # nothing comes from the cache
    sent["2"]["inputs"]["edits"] = page.evaluate(EDITS)
    alone = pictures(server, lambda: server.client.wait(server.client.queue(sent)))
    np.testing.assert_array_equal(alone, edited)


def test_keys_stay_in_the_editor_and_unapplied_edits_come_back(editing, server):
    page = editing
    draw_with(page, "classic")
    run(page, server)
    page.evaluate("() => { window.app.graph.getNodeById(2).pos[0] += 40; }")
    graph = page.evaluate(GRAPH_CHANGES)
    dialog = open_editor(page, "classic")
    one, two = ["swap_sides"], ["swap_sides"] * 2
    keys = {"s": one, "Control+s": one, "ArrowRight": one, "S": two, "Control+z": one, "Control+Shift+Z": two}
    for key, rows in [*keys.items(), ("Control+z", one), ("Control+y", two), ("Control+z", one), ("Delete", one)]:
        page.keyboard.press(key)
        assert page.evaluate(STORED) == rows, key
    page.keyboard.press("?")
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert page.evaluate(EDITS) == "" and page.evaluate(GRAPH_CHANGES) == graph
    dialog = open_editor(page, "classic")
    assert page.evaluate(STORED) == []
    dialog.get_by_role("button", name="Use them").click()
    assert page.evaluate(STORED) == one
    page.keyboard.press("Control+Enter")
    expect(dialog).to_have_count(0)
    assert json.loads(page.evaluate(EDITS))["edits"] == [{"op": "swap_sides", "person": 1, "from": 0, "to": 0}]
    dialog = open_editor(page, "classic")
    expect(dialog.get_by_role("button", name="Use them")).to_have_count(0)
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_a_skeleton_is_placed_on_a_photo_by_hand(page, server):
    photo = {"class_type": "LoadImage", "inputs": {"image": "steadydancer_sample.png"}}
    edit = {"class_type": "SteadyDancerEditPoses", "inputs": {"images": ["1", 0], "edits": "", "fps": 16.0}}
    page.evaluate(OPEN_PROMPT, {**PROMPT, "1": photo, "2": edit})
    draw_with(page, "Nodes 2.0")
    (black,) = run(page, server)
    assert black.max() == 0
    dialog = open_editor(page, "Nodes 2.0")
    page.wait_for_function(PHOTO_SHOWN)
    dialog.get_by_role("button", name="Add skeleton").click()
    drag_joint(page, LEFT_ELBOW, 30, -40)
    dialog.get_by_role("button", name="Apply").click()
    (drawn,) = run(page, server)
    assert drawn.max() > 0
    assert [row["op"] for row in json.loads(page.evaluate(EDITS))["edits"]] == ["place", "move"]
    assert ours(page.errors) == []


def test_two_people_are_told_apart_a_ghost_goes_and_sides_are_swapped(page, server):
    """On a small screen; what is drawn then is what is drawn of the clip without these faults."""
    one = dancer().tracks[0]
    two = Track(1, one.points * (0.5, 1) + (0.5, 0), one.scores)
    one = Track(0, one.points * (0.5, 1), one.scores)
    sound = PoseClip(288, 512, FRAMES, (one, two))
    mixed = [np.concatenate([first.points[:MEET], second.points[MEET:]]) for first, second in ((one, two), (two, one))]
    mixed[0][SWAPPED, :18] = mixed[0][SWAPPED, OTHER_SIDE]
    ghost = np.where(np.arange(FRAMES)[:, None] < MEET, one.scores, 0)
    tracks = (Track(0, mixed[0], one.scores), Track(1, mixed[1], one.scores), Track(2, one.points + (0, 0.05), ghost))
    faulty = PoseClip(288, 512, FRAMES, tracks)
    page.set_viewport_size({"width": 1366, "height": 768})
    page.evaluate(OPEN_PROMPT, {**PROMPT, **PICKED, "1": loading(server, sound, "sound")})
    draw_with(page, "Nodes 2.0")
    wanted = run(page, server)
    page.evaluate(OPEN_PROMPT, {**PROMPT, **PICKED, "1": loading(server, faulty, "faulty")})
    draw_with(page, "Nodes 2.0")
    differ = [(now != then).any() for now, then in zip(run(page, server), wanted, strict=True)]
    swapped = [i in range(FRAMES)[SWAPPED] for i in range(MEET)]
    assert differ == [*swapped, *[True] * MEET, *[True] * MEET, *[False] * MEET]  # person 1 alone, then all people
    dialog = open_editor(page, "Nodes 2.0")
    dialog.get_by_label("Edits change").select_option("a range")
    dialog.get_by_label("from", exact=True).fill(str(SWAPPED.start))
    dialog.get_by_label("to", exact=True).fill(str(SWAPPED.stop - 1))
    dialog.get_by_label("Frame", exact=True).fill(str(SWAPPED.start))
    dialog.get_by_role("button", name="Swap left and right").click()
    dialog.get_by_label("Frame", exact=True).fill(str(MEET))
    dialog.get_by_role("button", name="Exchange from here").click()
    dialog.get_by_label("Frame", exact=True).fill(str(SWAPPED.start))
    dialog.get_by_label("Person", exact=True).select_option("3")
    dialog.get_by_label("Edits change").select_option("all frames")
    dialog.get_by_role("button", name="Delete person").click()
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    np.testing.assert_array_equal(run(page, server), wanted)
    assert ours(page.errors) == []


MOVE = {"op": "move", "person": 1, "from": 0, "joints": {"left_elbow": [0.0, 0.0]}}
BAD = {  # text of the edits: what the editor says of it
    "{": "The stored edits cannot be read:",
    '{"version": 2, "edits": []}': "The edits are of version 2; this page reads version 1.",
    '{"version": 1, "edits": [NaN]}': "The stored edits cannot be read:",
    json.dumps({"version": 1, "edits": [MOVE, {"op": "melt"}]}): "1 cannot be read and are kept",
    json.dumps({"version": 1, "edits": [MOVE, {**MOVE, "person": 7}, {**MOVE, "from": 99}]}):
        "these do not fit the poses and are kept: 2, 3",
}  # fmt: skip


def test_bad_edits_a_short_background_and_ten_thousand_edits_are_named_kept_and_run(editing, server, graph):
    page = editing
    photo = {"class_type": "LoadImage", "inputs": {"image": "steadydancer_sample.png"}}
    three = {"class_type": "RepeatImageBatch", "inputs": {"image": ["5", 0], "amount": 3}}
    edit = {**graph["2"], "inputs": {**graph["2"]["inputs"], "images": ["6", 0]}}
    page.evaluate(OPEN_PROMPT, {**graph, "2": edit, "5": photo, "6": three})
    draw_with(page, "classic")
    for text, said in BAD.items():
        page.evaluate(SET_EDITS, text)
        assert len(run(page, server)) == FRAMES
        dialog = open_editor(page, "classic")
        assert said in page.evaluate(STATUS)
        page.keyboard.press("End")
        dialog.get_by_role("button", name="Apply").click()
        expect(dialog).to_have_count(0)
        assert page.evaluate(EDITS) == text
    page.evaluate(SET_EDITS, json.dumps({"version": 1, "edits": [MOVE] * 10_000}))
    assert len(run(page, server)) == FRAMES
    dialog = open_editor(page, "classic")
    drag_joint(page, LEFT_ELBOW, -60, 40)
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    assert len(json.loads(page.evaluate(EDITS))["edits"]) == 10_001


def test_an_alignment_is_corrected_on_the_photo_by_dragging_the_arms(page, server):
    photo = {"class_type": "LoadImage", "inputs": {"image": "steadydancer_sample.png"}}
    tall = {"class_type": "ImageScale", "inputs": {"image": ["5", 0], "upscale_method": "bicubic", "width": 288,
                                                   "height": 512, "crop": "center"}}  # fmt: skip
    align = {"class_type": "SteadyDancerAlignPoses", "inputs": {
        "poses": ["1", 0], "photo": ["6", 0], "photo_poses": ["7", 0], "mode": "robust", "anchor_frame": 0,
    }}  # fmt: skip
    dance, standing = dancer(), dancer().at(slice(0, 1))
    nodes = {"1": loading(server, dance, "dance"), "7": loading(server, standing, "standing"), "5": photo, "6": tall}
    page.evaluate(OPEN_PROMPT, {**PROMPT, "1": nodes["1"]})  # whose node 2 has another button
    page.evaluate(OPEN_PROMPT, {**PROMPT, **nodes, "2": align})
    draw_with(page, "Nodes 2.0")
    plain = run(page, server)
    show(page, 2)
    page.mouse.dblclick(*page.evaluate(PICTURE))
    dialog = page.get_by_role("dialog", name="Align by hand")
    expect(dialog).to_be_visible()
    drag_joint(page, LEFT_ELBOW, 60, -40)
    shown = {key: float(dialog.get_by_label(f"arms_{key}").input_value()) for key in ("x", "y")}
    dialog.get_by_label("body_scale").fill("0.8")
    dialog.get_by_role("button", name="Apply").click()
    expect(dialog).to_have_count(0)
    assert shown["x"] > 0.02 and shown["y"] < -0.02
    assert page.evaluate(CORRECTIONS) == {"body_scale": 0.8, "arms_x": shown["x"], "arms_y": shown["y"]}
    corrected = run(page, server)
    assert all((before != after).any() for before, after in zip(plain, corrected, strict=True))
    dialog = open_editor(page, "Nodes 2.0", "Align by hand")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert ours(page.errors) == []
