"""The pose editor's arithmetic, in Chromium: the same edits as Python applies, and what a drag does to a pose."""

import base64
import json
import random

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.corrections import Corrections, correct, with_necks
from steadydancer_pack.dwpose.edit.edit_apply import apply_edits
from steadydancer_pack.dwpose.edit.edit_list import JOINTS, OPERATIONS, read_edits
from steadydancer_pack.dwpose.edit.facing import estimate_facing
from steadydancer_pack.dwpose.edit.facing_json import facing_json
from steadydancer_pack.dwpose.edit.facing_strip import yaw_color
from steadydancer_pack.dwpose.formats.packed_poses import pack_poses
from steadydancer_pack.dwpose.poses import KEYPOINTS, PoseClip, Track
from steadydancer_pack.nodes.common.pose_input import CORRECTED, correction_values, take_corrections
from steadydancer_pack.tests.browser.graph import PACK

HOST, FRAMES, CLIPS, LISTS = "http://127.0.0.1:1", 5, 10, 20
WEB = PACK / "web" / "pose_editor"
COMPARE = """
async ([host, clip, texts, expected]) => {
    const { readEdits } = await import(`${host}/edit_list.js`);
    const { poseAt } = await import(`${host}/apply_edits.js`);
    const numbers = text => new Float64Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
    const people = new Map(clip.people.map(([number, points, scores]) =>
        [number, { points: numbers(points), scores: numbers(scores) }]));
    const results = [];
    texts.forEach((text, index) => {
        const { edits, notes } = readEdits(text);
        const more = [];
        let worst = 0;
        for (let frame = 0; frame < clip.frames; frame++) {
            const found = poseAt({ ...clip, people }, edits, frame, edits.length, frame ? null : more);
            const wanted = expected[index].people;
            if (found.size !== wanted.length) {
                worst = Infinity;
                continue;
            }
            for (const [number, points, scores] of wanted) {
                for (const [mine, theirs, size] of [
                    [found.get(number).points, numbers(points), 268], [found.get(number).scores, numbers(scores), 134],
                ]) {
                    const offset = frame * size;
                    mine.forEach((value, i) => { worst = Math.max(worst, Math.abs(value - theirs[offset + i])); });
                }
            }
        }
        results.push([worst, [...notes, ...more].map(([number]) => number)]);
    });
    return results;
}
"""
DRAG = """
async ([host, points, keypoint, target, mode, aspect]) => {
    const { drag } = await import(`${host}/kinematics.js`);
    return [...drag(Float64Array.from(points), keypoint, target, mode, aspect)];
}
"""


@pytest.fixture(scope="module")
def page(browser):
    """An empty page that can import the editor's modules."""
    with browser.new_context() as context:
        page = context.new_page()
        page.route(f"{HOST}/*.js", lambda route: route.fulfill(path=WEB / route.request.url.rpartition("/")[2]))
        page.route(f"{HOST}/", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
        page.goto(f"{HOST}/")
        yield page


def numbers(values) -> str:
    return base64.b64encode(np.ascontiguousarray(values, "<f8").tobytes()).decode()


def people(clip) -> list:
    return [[track.number, numbers(track.points), numbers(track.scores)] for track in clip.tracks]


def random_clip(generator) -> PoseClip:
    tracks = [
        Track(identity, generator.random((FRAMES, KEYPOINTS, 2)), generator.random((FRAMES, KEYPOINTS)))
        for identity in range(generator.integers(0, 3))
    ]
    return PoseClip(int(generator.integers(16, 99)), int(generator.integers(16, 99)), FRAMES, tuple(tracks))


def random_row(chance: random.Random) -> dict:
    start = chance.randrange(FRAMES + 1)  # one beyond the end
    op = chance.choice(OPERATIONS)
    names = chance.sample(list(JOINTS), chance.randint(1, 5))
    row = {
        "op": op,
        "person": chance.randint(1, 3),
        "from": start,
        "to": chance.choice([None, start, start + 1]),
        "ease_in": chance.randrange(4),
        "ease_out": chance.randrange(4),
        "other": chance.randint(1, 3),
        "source": chance.randrange(FRAMES + 1),
        "part": chance.choice(["body", "head", "arms", "legs", "tail"]),
        "factor": chance.uniform(0.1, 3),
        "joints": names,
    }
    if op in ("move", "place"):
        row["joints"] = {name: [chance.uniform(-1, 1), chance.uniform(-1, 1)] for name in names}
    return row


@pytest.mark.parametrize("seed", range(CLIPS))
def test_the_page_and_python_apply_random_edits_alike(page, seed):
    chance, generator = random.Random(seed), np.random.default_rng(seed)
    clip = random_clip(generator)
    texts, expected, skipped = [], [], []
    for _ in range(LISTS):
        text = json.dumps({"version": 1, "edits": [random_row(chance) for _ in range(chance.randint(1, 12))]})
        edits, notes = read_edits(text)
        result, more = apply_edits(clip, edits)
        texts.append(text)
        expected.append({"people": people(result)})
        skipped.append([int(note.split()[1]) for note in [*notes, *more]])
    sent = {"width": clip.width, "height": clip.height, "frames": FRAMES, "people": people(clip)}
    found = page.evaluate(COMPARE, [HOST, sent, texts, expected])
    assert max(worst for worst, _ in found) < 1e-9
    assert [numbers for _, numbers in found] == skipped and any(skipped)


LIMBS = [(2, 3), (3, 4), (5, 6), (6, 7), (8, 9), (9, 10), (11, 12), (12, 13)]


def lengths(points, aspect):
    metric = points * (aspect, 1)
    return np.array([np.linalg.norm(metric[a] - metric[b]) for a, b in LIMBS])


@pytest.mark.parametrize("keypoint", [3, 4, 6, 7, 9, 10, 12, 13])
@pytest.mark.parametrize("mode", ["keep bone lengths", "rotate about parent"])
def test_a_drag_keeps_the_lengths_of_bones_and_goes_where_it_can(page, keypoint, mode):
    aspect, points = 0.6, np.random.default_rng(keypoint).random((KEYPOINTS, 2))
    target = [0.4, 0.7]
    moved = page.evaluate(DRAG, [HOST, points.ravel().tolist(), keypoint, target, mode, aspect])
    after = points.copy()
    for index, place in moved:
        after[index] = place
    np.testing.assert_allclose(lengths(after, aspect), lengths(points, aspect), atol=1e-9)
    root = {"keep bone lengths": {4: 2, 7: 5, 10: 8, 13: 11}}.get(mode, {}).get(keypoint, keypoint - 1)
    here, there = ((place - points[root]) * (aspect, 1) for place in (after[keypoint], np.array(target)))
    assert here @ there / np.linalg.norm(here) / np.linalg.norm(there) > 1 - 1e-9  # it points at the target
    if mode == "keep bone lengths" and keypoint in (4, 7, 10, 13):
        upper, lower = (np.linalg.norm((points[a] - points[a - 1]) * (aspect, 1)) for a in (keypoint - 1, keypoint))
        reach = np.clip(np.linalg.norm(there), abs(upper - lower), upper + lower)
        assert abs(np.linalg.norm(here) - reach) < 1e-9


def test_a_free_drag_moves_one_joint_and_the_neck_carries_all(page):
    points = np.random.default_rng(1).random((KEYPOINTS, 2)).ravel().tolist()
    assert [index for index, _ in page.evaluate(DRAG, [HOST, points, 3, [0, 0], "free", 1])] == [3]
    carried = page.evaluate(DRAG, [HOST, points, 1, [0, 0], "rotate about parent", 1])
    assert sorted(index for index, _ in carried) == list(range(KEYPOINTS))


UNPACK = """
async ([host, packed, samples]) => {
    const { unpackPoses } = await import(`${host}/packed_poses.js`);
    const clip = unpackPoses(Uint8Array.from(atob(packed), c => c.charCodeAt(0)).buffer);
    const picked = [...clip.people].map(([number, { points, scores }]) =>
        [number, samples.map(i => [points[2 * i], points[2 * i + 1], scores[i]])]);
    return [clip.width, clip.height, clip.frames, picked];
}
"""


def test_the_page_reads_the_poses_that_a_node_packed(page):
    generator = np.random.default_rng(3)
    tracks = [
        Track(i, generator.uniform(-1, 2, (FRAMES, KEYPOINTS, 2)), generator.random((FRAMES, KEYPOINTS)))
        for i in (0, 4)
    ]
    packed = pack_poses(PoseClip(48, 64, FRAMES, tuple(tracks)))
    samples = [frame * KEYPOINTS + joint for frame in (0, FRAMES - 1) for joint in (0, 17, 23, 92, 133)]
    found = page.evaluate(UNPACK, [HOST, base64.b64encode(packed).decode(), samples])
    assert found[:3] == [48, 64, FRAMES] and [number for number, _ in found[3]] == [1, 5]
    for track, (_, values) in zip(tracks, found[3], strict=True):
        wanted = np.concatenate([track.points, track.scores[..., None]], axis=2).reshape(-1, 3)[samples]
        np.testing.assert_allclose(values, wanted, atol=2.1e-3)  # of a score; of a place 3 / 65535 / 2
        np.testing.assert_allclose(np.array(values)[:, :2], wanted[:, :2], atol=2.4e-5)


def test_a_dance_of_five_minutes_is_small_enough_for_the_page():
    track = Track(0, np.broadcast_to(0.5, (4800, KEYPOINTS, 2)), np.broadcast_to(1.0, (4800, KEYPOINTS)))
    two = PoseClip(576, 1024, 4800, (track, Track(1, track.points, track.scores)))
    assert len(pack_poses(two)) <= 6_000_000
    with pytest.raises(ValueError, match="too many for the editor"):
        pack_poses(PoseClip(576, 1024, 300_000, (track,)))


# A session does the named things one after the other and returns the edits as they would be stored.
SESSION = """
async ([host, packed, steps]) => {
    const { unpackPoses } = await import(`${host}/packed_poses.js`);
    const { Session } = await import(`${host}/session.js`);
    const clip = unpackPoses(Uint8Array.from(atob(packed), c => c.charCodeAt(0)).buffer);
    const session = new Session(clip, '', 16);
    for (const [name, ...values] of steps) {
        if (name === 'set') Object.assign(session, values[0]);
        else if (name === 'undo' || name === 'redo') session.history[name]();
        else session[name](...values);
    }
    return session.text;
}
"""
SEEN = 5  # of people 1 and 2 in every frame: the joints 0 to 4


@pytest.fixture
def crossing() -> PoseClip:
    """Two people on two sides, with hidden joints."""
    scores = np.zeros((FRAMES, KEYPOINTS))
    scores[:, :SEEN] = 1
    generator = np.random.default_rng(5)
    places = generator.uniform(0.2, 0.4, (FRAMES, KEYPOINTS, 2))
    return PoseClip(60, 80, FRAMES, (Track(0, places, scores), Track(1, places + (0.4, 0), scores)))


def edited(page, clip: PoseClip, *steps: list) -> PoseClip:
    """Return the clip as Python makes it of what the steps in the page stored."""
    text = page.evaluate(SESSION, [HOST, base64.b64encode(pack_poses(clip)).decode(), steps])
    edits, notes = read_edits(text)
    result, more = apply_edits(clip, edits)
    assert notes == more == []
    return result


def test_people_are_exchanged_and_split_from_a_frame_on(page, crossing):
    first, second = crossing.tracks
    mixed = edited(page, crossing, ["goTo", 2], ["exchange", 2])
    np.testing.assert_array_equal(mixed.tracks[0].points[:2], first.points[:2])
    np.testing.assert_array_equal(mixed.tracks[0].points[2:], second.points[2:])
    one, _, new = edited(page, crossing, ["goTo", 2], ["split"]).tracks
    assert new.number == 3
    assert one.present.tolist() == [True, True, False, False, False] == (~new.present).tolist()


def test_a_ghost_is_deleted_sides_are_swapped_and_a_range_is_marked_as_nobody(page, crossing):
    ghost = edited(page, crossing, ["choose", 2], ["set", {"scope": "all"}], ["deletePerson"])
    assert [track.number for track in ghost.people] == [1]
    swapped = edited(page, crossing, ["goTo", 2], ["setRange", 1, 3], ["swapSides"]).tracks[0]
    np.testing.assert_array_equal(swapped.points[1:4, 5], crossing.tracks[0].points[1:4, 2])
    np.testing.assert_array_equal(swapped.points[[0, 4]], crossing.tracks[0].points[[0, 4]])
    empty = edited(page, crossing, ["goTo", 2], ["setRange", 1, 3], ["nobody"])
    assert empty.present.tolist() == [True, False, False, False, True]


def test_a_range_that_the_frame_is_not_in_changes_the_frame_alone(page, crossing):
    empty = edited(page, crossing, ["setRange", 1, 3], ["goTo", 4], ["nobody"])
    assert empty.present.tolist() == [True, True, True, True, False]


def test_a_pose_is_pasted_and_joints_are_hidden_and_shown(page, crossing):
    pasted = edited(page, crossing, ["copy"], ["goTo", 3], ["paste"]).tracks[0]
    np.testing.assert_allclose(pasted.points[3], crossing.tracks[0].points[0], atol=1e-12)
    hidden = edited(page, crossing, ["hide", [3, 4]]).tracks[0]
    assert np.flatnonzero(hidden.visible[0]).tolist() == [0, 1, 2] and hidden.visible[1, 3]
    shown = edited(page, crossing, ["show", [7]]).tracks[0]
    assert shown.visible[:, 7].tolist() == [True, False, False, False, False]
    scaled = edited(page, crossing, ["scaleBy", 2]).tracks[0].points[0] - crossing.tracks[0].points[0, 1]
    np.testing.assert_allclose(scaled, 2 * (crossing.tracks[0].points[0] - crossing.tracks[0].points[0, 1]), atol=1e-9)


def test_a_skeleton_is_added_where_nobody_is_and_a_missing_joint_beside_its_parent(page):
    empty = PoseClip(60, 80, FRAMES, ())
    added = edited(page, empty, ["set", {"scope": "all"}], ["addPerson"])
    (person,) = added.tracks
    assert person.visible.all(axis=0).nonzero()[0].tolist() == list(range(18))
    body = person.points[0, :18]
    assert body.min() > 0.05 and body.max() < 0.95 and body[13, 1] > body[12, 1] > body[11, 1] > body[1, 1] > body[0, 1]
    foot = edited(page, added, ["set", {"scope": "all"}], ["show", [18]]).tracks[0]
    assert foot.visible[:, 18].all() and np.linalg.norm(foot.points[0, 18] - body[13]) < 0.1


def test_undo_takes_back_one_drag_and_redo_brings_it_again(page, crossing):
    drag = [["choose", 1, [3]], ["startDrag"], ["dragTo", 3, [0.1, 0.1]], ["dragTo", 3, [0.9, 0.8]], ["endDrag"]]
    steps = [["nobody"], *drag, ["undo"], ["undo"], ["redo"], ["redo"]]
    moved = edited(page, crossing, *steps, ["undo"], ["undo"], *drag)
    np.testing.assert_allclose(moved.tracks[0].points[0, 3], [0.9, 0.8], atol=1e-4)
    assert moved.present.all()
    np.testing.assert_array_equal(moved.tracks[1].points, crossing.tracks[1].points)


def test_two_drags_of_a_joint_are_stored_as_one_move(page, crossing):
    text = page.evaluate(
        SESSION,
        [
            HOST,
            base64.b64encode(pack_poses(crossing)).decode(),
            [["choose", 1, [4]], ["nudge", 3, 0], ["nudge", 3, -4], ["goTo", 1], ["nudge", 0, 8]],
        ],
    )
    assert json.loads(text)["edits"] == [
        {"op": "move", "person": 1, "from": 0, "to": 0, "joints": {"right_wrist": [0.1, -0.05]}},
        {"op": "move", "person": 1, "from": 1, "to": 1, "joints": {"right_wrist": [0, 0.1]}},
    ]


# The start of a script: opens an editor of packed poses.
WITH_EDITOR = """
async ([host, packed]) => {
    const { Editor } = await import(`${host}/dialog.js`);
    const { unpackPoses } = await import(`${host}/packed_poses.js`);
    const clip = unpackPoses(Uint8Array.from(atob(packed), c => c.charCodeAt(0)).buffer);
    const saved = { read: () => null, write() {}, clear() {} };
    const editor = new Editor({ clip, text: '', fps: 16, background: null, language: 'en', saved, apply() {} });
    editor.open();
    const { stage, session, canvas } = editor;
"""
# The median script time in ms of 200 drag events, alone and with drawing, after 100 edits of a clip that is open.
DRAG_TIMES = (
    WITH_EDITOR
    + """
    session.history.push(Array.from({ length: 100 }, (_, i) => (
        { op: 'move', person: 1, from: i, to: i, ease_in: 4, ease_out: 4, joints: { left_elbow: [0.01, 0.01] } })));
    session.goTo(50);
    session.mode = 'keep bone lengths';
    canvas.setPointerCapture = () => {};
    stage.resize();
    const { points } = session.people().get(1);
    const [x, y] = stage.view.toCanvas(points[8], points[9]);
    const { left, top } = canvas.getBoundingClientRect();
    const fire = (name, by) => canvas.dispatchEvent(
        new PointerEvent(name, { clientX: left + x + by, clientY: top + y + by, bubbles: true }));
    fire('pointerdown', 0);
    const times = Array.from({ length: 200 }, (_, i) => {
        const start = performance.now();
        fire('pointermove', 5 + i % 50);
        const moved = performance.now();
        editor.draw();
        return [moved - start, performance.now() - start];
    });
    const dragged = [...session.pending.values.keys()].length;
    fire('pointerup', 0);
    editor.close();
    return [...[0, 1].map(which => times.map(time => time[which]).sort((a, b) => a - b)[100]), dragged];
}
"""
)


def test_a_drag_in_600_frames_of_two_people_is_quick(page):
    places = np.random.default_rng(0).random((600, KEYPOINTS, 2))
    clip = PoseClip(576, 1024, 600, tuple(Track(i, places, np.ones(places.shape[:2])) for i in (0, 1)))
    event, drawn, dragged = page.evaluate(DRAG_TIMES, [HOST, base64.b64encode(pack_poses(clip)).decode()])
    assert event <= 8 and drawn <= 16 and dragged > 1


CORRECT = """
async ([host, clip, anchors, cases]) => {
    const { anchorNecks, correctedPose } = await import(`${host}/corrections.js`);
    const numbers = text => new Float64Array(Uint8Array.from(atob(text), c => c.charCodeAt(0)).buffer);
    const people = new Map(clip.people.map(([number, points, scores]) =>
        [number, { points: numbers(points), scores: numbers(scores) }]));
    const necks = anchorNecks({ people }, anchors);
    return cases.map(([values, wanted]) => {
        let worst = 0;
        for (const [number, points, scores] of wanted) {
            const [places, seen, pose] = [numbers(points), numbers(scores), people.get(number)];
            for (let frame = 0; frame < clip.frames; frame++) {
                const found = correctedPose({
                    points: pose.points.subarray(frame * 268, (frame + 1) * 268),
                    scores: pose.scores.subarray(frame * 134, (frame + 1) * 134),
                }, necks.get(number), values, clip.width / clip.height);
                found.points.forEach((value, index) => {
                    if (seen[frame * 134 + (index >> 1)] >= 0.35) {
                        worst = Math.max(worst, Math.abs(value - places[frame * 268 + index]));
                    }
                });
            }
        }
        return worst;
    });
}
"""


@pytest.mark.parametrize("seed", range(CLIPS))
def test_the_page_and_python_correct_alignments_alike(page, seed):
    generator = np.random.default_rng(seed)
    track = Track(0, generator.random((FRAMES, KEYPOINTS, 2)), generator.random((FRAMES, KEYPOINTS)))
    tracks = [track, Track(1, 1 - track.points, track.scores[::-1])]
    clip = PoseClip(int(generator.integers(16, 99)), int(generator.integers(16, 99)), FRAMES, tuple(tracks))
    aspect, anchors = clip.width / clip.height, {1: seed % FRAMES, 2: 0}
    cases = []
    for _ in range(LISTS):
        values = {name: 1.0 if name.endswith("scale") else 0.0 for name in correction_values(Corrections(), CORRECTED)}
        for name in generator.choice(list(values), generator.integers(0, 13), replace=False):
            values[name] = generator.uniform(0.1, 3) if name.endswith("scale") else generator.uniform(-1, 1)
        chosen = take_corrections(dict(values), CORRECTED)
        cases.append([values, people(clip.with_tracks(correct(t, chosen, aspect, anchors[t.number]) for t in tracks))])
    sent = {"width": clip.width, "height": clip.height, "frames": FRAMES}
    sent["people"] = people(clip.with_tracks(with_necks(track, aspect) for track in tracks))
    assert max(page.evaluate(CORRECT, [HOST, sent, anchors, cases])) < 1e-9


# What dragging with the handles makes of the corrections; steps: [name of a method, ...], or ["drag", from, to].
CORRECTIONS = """
async ([host, packed, setup, text, steps]) => {
    const { unpackPoses } = await import(`${host}/packed_poses.js`);
    const { CorrectionSession } = await import(`${host}/correction_session.js`);
    const clip = unpackPoses(Uint8Array.from(atob(packed), c => c.charCodeAt(0)).buffer);
    const session = new CorrectionSession(clip, setup, text, 16);
    const places = [];
    for (const [name, ...values] of steps) {
        if (name === 'undo') session.history.undo();
        else if (name === 'where') places.push([...session.people(values[0]).get(values[1]).points]);
        else session[name](...values);
    }
    return [JSON.parse(session.text), places];
}
"""
NAMES = [f"{part}_{key}" for part in CORRECTED for key in ("scale", "x", "y")]


def corrected(page, clip: PoseClip, *steps: list, text: str = "", **locked: float) -> tuple[dict, np.ndarray]:
    """Return the values that differ from no correction, and the places [steps "where", 134, 2]."""
    setup = {"anchors": {"1": 0, "2": 0}, "names": NAMES, "locked": locked}
    packed = base64.b64encode(pack_poses(clip)).decode()
    values, places = page.evaluate(CORRECTIONS, [HOST, packed, setup, text, steps])
    changed = {name: value for name, value in values.items() if value != (1 if name.endswith("scale") else 0)}
    return changed, np.reshape(places, (-1, KEYPOINTS, 2))


def test_a_part_follows_the_drag_also_of_a_body_that_is_scaled(page, crossing):
    drag = [["startDrag"], ["shiftPart", 0.03, 0.04], ["shiftPart", 0.06, -0.02], ["endDrag"]]
    where = ["where", 2, 1]
    values, (before, after) = corrected(
        page, crossing, where, ["choosePart", 1, "head"], *drag, where, text='{"body_scale": 2, "head_scale": 1.5}'
    )
    np.testing.assert_allclose((after - before)[0], (0.06, -0.02), atol=1.4e-3)  # x is rounded to 0.001
    np.testing.assert_array_equal(after[1], before[1])
    assert values == {"body_scale": 2, "head_scale": 1.5, "head_x": 0.022, "head_y": -0.01}


def test_corrections_are_scaled_nudged_undone_and_reset_but_not_where_a_link_sets_them(page, crossing):
    scale = [["choosePart", 1, "arms"], ["startDrag"], ["scalePart", 1.2], ["scalePart", 1.5], ["endDrag"]]
    assert corrected(page, crossing, *scale)[0] == {"arms_scale": 1.5}
    assert corrected(page, crossing, *scale, ["scaleBy", 100])[0] == {"arms_scale": 10}
    assert corrected(page, crossing, *scale, ["nudge", 0, 8], ["undo"])[0] == {"arms_scale": 1.5}
    assert corrected(page, crossing, *scale, ["nudge", 0, 8])[0] == {"arms_scale": 1.5, "arms_y": 0.1}
    assert corrected(page, crossing, *scale, ["reset"])[0] == {}
    assert corrected(page, crossing, *scale, ["reset"], text='{"arms_scale": 2}', arms_scale=3)[0] == {"arms_scale": 3}


def test_a_part_is_shifted_and_scaled_as_an_edit(page, crossing):
    drag = [["choosePart", 1, "arms"], ["startDrag"], ["shiftPart", 0.1, 0.05], ["endDrag"]]
    moved = edited(page, crossing, *drag).tracks[0].points - crossing.tracks[0].points
    arms = [2, 3, 4, 5, 6, 7, *range(92, 134)]
    np.testing.assert_allclose(moved[0, arms], np.tile((0.1, 0.05), (len(arms), 1)), atol=1e-9)
    moved[0, arms] = 0
    np.testing.assert_allclose(moved, 0, atol=1e-12)
    scaling = [["choosePart", 1, "arms"], ["startDrag"], ["scalePart", 1.5], ["endDrag"]]
    before, after = (clip.tracks[0].points[0] for clip in (crossing, edited(page, crossing, *scaling)))
    np.testing.assert_allclose(after[3] - after[2], 1.5 * (before[3] - before[2]), atol=1e-9)
    np.testing.assert_allclose(after[0], before[0], atol=1e-12)


# Drags a corner of the body's handles to one and a half of its distance, then the neck; returns the edits, and the
# shift of the neck as fractions of the frame.
HANDLES = (
    WITH_EDITOR
    + """
    const { cornersOf } = await import(`${host}/handles.js`);
    canvas.setPointerCapture = () => {};
    stage.resize();
    const fire = (name, [x, y]) => {
        const { left, top } = canvas.getBoundingClientRect();
        canvas.dispatchEvent(new PointerEvent(name, { clientX: left + x, clientY: top + y, bubbles: true }));
    };
    const drag = (from, to) => { fire('pointerdown', from); fire('pointermove', to); fire('pointerup', to); };
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: '4', bubbles: true }));
    const corner = cornersOf(session, stage.view)[3];
    const [x, y] = stage.view.toCanvas(...session.pivot);
    drag(corner, [x + 1.5 * (corner[0] - x), y + 1.5 * (corner[1] - y)]);
    drag([x, y], [x + 20, y + 10]);
    const [here, there] = [stage.view.toFrame(x, y), stage.view.toFrame(x + 20, y + 10)];
    editor.close();
    return [session.rows, [there[0] - here[0], there[1] - here[1]]];
}
"""
)


def test_the_handles_on_the_canvas_scale_and_shift_the_part(page, crossing):
    (scale, move), shift = page.evaluate(HANDLES, [HOST, base64.b64encode(pack_poses(crossing)).decode()])
    assert scale.pop("factor") == pytest.approx(1.5, abs=0.02)
    assert scale == {"op": "scale", "person": 1, "from": 0, "to": 0, "part": "body"}
    assert move["op"] == "move" and move["joints"]["right_elbow"] == pytest.approx(shift, abs=1e-5)


TURNS = """
async ([host, text, angles]) => {
    const { colorOf, readTurns } = await import(`${host}/turn_strip.js`);
    const { frames, people } = readTurns(text);
    return [frames, [...people], angles.map(colorOf)];
}
"""


def test_turns_have_the_colors_that_python_draws(page, crossing):
    angles = [None, 0, 44, 45, 66, 67, 89, 90, 180]
    text = facing_json(crossing)
    frames, people, colors = page.evaluate(TURNS, [HOST, text, angles])
    yaw = [estimate_facing(track, crossing.width / crossing.height).yaw for track in crossing.tracks]
    assert frames == FRAMES and [number for number, _ in people] == [1, 2]
    for (_, found), wanted in zip(people, yaw, strict=True):
        assert np.array_equal(np.array(found, float), np.round(wanted), equal_nan=True)
    drawn = [yaw_color(np.nan if angle is None else angle) for angle in angles]
    assert colors == [f"rgb({red},{green},{blue})" for red, green, blue in drawn]
