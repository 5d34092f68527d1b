"""What surrounds the two alignments: who is paired with whom, corrections by hand, the table, the overlay, errors."""

import math
from dataclasses import replace

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.align import Alignment, Request, align, overlay, remarks_text, report_text
from steadydancer_pack.dwpose.edit.align_robust import PartRatio
from steadydancer_pack.dwpose.edit.corrections import Correction, Corrections, correct, with_necks
from steadydancer_pack.dwpose.poses import LEFT_WRIST, NECK, NOSE, RIGHT_ANKLE, RIGHT_HIP, PoseClip
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

SIZE = 576, 1024
PHOTO = clip(ADULT, [Stance()], Camera(neck=(0.3, 0.2), size=0.6))
VIDEO = clip(ADULT, dance(8), Camera(neck=(0.25, 0.3), size=0.5))


def together(*clips):
    """Return one clip with everybody of the given ones."""
    tracks = (replace(track, identity=number) for number, c in enumerate(clips, 1) for track in c.tracks)
    return clips[0].with_tracks(tracks)


def at(x, stances=None, size=0.3):
    return clip(ADULT, stances or [Stance()], Camera(neck=(x, 0.3), size=size))


def unseen(clip, joints, frames=slice(None), place=0):
    """Return the clip with these joints unseen and, as other packs write what they did not find, at 0, 0."""
    track = clip.tracks[0]
    points, scores = track.points.copy(), track.scores.copy()
    points[frames, joints], scores[frames, joints] = place, 0
    return clip.with_tracks([replace(track, points=points, scores=scores)])


def aligned(**request):
    (track,) = align(PHOTO, VIDEO, Request(SIZE, **request)).clip.tracks
    return track.points * (SIZE[0] / SIZE[1], 1)


def test_the_same_picture_aligned_to_itself_stays_where_it_is():
    for mode in ("robust", "official"):
        (track,) = align(PHOTO, PHOTO, Request((720, 1280), mode)).clip.tracks
        seen = track.visible & (np.arange(134) < 18)
        assert np.allclose(track.points[seen], PHOTO.tracks[0].points[seen], atol=1e-12), mode


@pytest.mark.parametrize(
    ("mode", "size", "step"), [("robust", 0.15, 0.25), ("robust", 0.9, 1), ("official", 0.15, 1), ("official", 0.9, 1)]
)
def test_the_path_becomes_smaller_with_the_body_in_robust_mode_only(mode, size, step):
    walk = clip(ADULT, [Stance()] * 2, Camera(neck=(0.2, 0.3), size=0.6), path=np.array([(0, 0), (0.1, 0)]))
    photo = clip(ADULT, [Stance()], Camera(neck=(0.2, 0.3), size=size))
    (track,) = align(photo, walk, Request((720, 1280), mode)).clip.tracks
    neck = track.points[:, NECK, 0] * 720 / 1280
    assert neck[1] - neck[0] == pytest.approx(0.1 * step)


def test_a_later_anchor_meets_the_photo():
    assert aligned(anchor=3)[3, NECK] == pytest.approx(PHOTO.tracks[0].points[0, NECK] * (SIZE[0] / SIZE[1], 1))


def test_people_are_paired_from_left_to_right_or_by_size_and_the_rest_is_reported():
    photo = together(at(0.45), at(0.15))
    video = together(at(0.1, dance(4)), at(0.4, dance(4)))
    result = align(photo, video, Request((720, 1280)))
    assert [track.identity for track in result.clip.tracks] == [1, 2]
    assert [track.points[0, NECK, 0] * 720 / 1280 for track in result.clip.tracks] == pytest.approx([0.15, 0.45])
    assert result.notes == []
    photo = together(at(0.15, size=0.2), at(0.4, size=0.5))
    result = align(photo, at(0.3, dance(4)), Request((720, 1280)))
    assert result.clip.tracks[0].points[0, NECK, 0] * 720 / 1280 == pytest.approx(0.4)
    assert result.notes == ["1 ignored: more people in the photo than in the driving video."]


FACE_ONLY = (*range(1, 14), 16, 17)


def test_who_shows_too_little_is_left_out_and_named_where_nobody_is_left():
    bystander = clip(ADULT, [Stance()], Camera(neck=(0.45, 0.3), size=0.3), FACE_ONLY)
    photo, video = together(at(0.15), bystander), together(at(0.1, dance(4)), at(0.4, dance(4)))
    result = align(photo, video, Request((720, 1280)))
    alone = align(at(0.15), at(0.1, dance(4)), Request((720, 1280)))
    (track,) = result.clip.tracks
    assert track.identity == 1 and np.array_equal(track.points, alone.clip.tracks[0].points)
    assert result.anchors == [0] and len(result.tables) == 1
    (note,) = result.notes
    assert note.startswith("Person 3 left out. Photo and driving video show no common part of the body")
    assert note in report_text(result) and note in remarks_text(result)
    bystanders = [clip(ADULT, [Stance()], Camera(neck=(x, 0.3), size=0.3), FACE_ONLY) for x in (0.15, 0.45)]
    video = together(at(0.1, dance(4)), at(0.4, dance(4)))
    with pytest.raises(ValueError, match="(?s)^Person 2 left out. Photo and .*\nPerson 3 left out. Photo and"):
        align(together(*bystanders), video, Request((720, 1280)))


def test_official_alignment_leaves_out_who_is_absent_in_the_anchor_frame():
    late = at(0.4, dance(4))
    late.tracks[0].scores[0] = 0
    photo, video = together(at(0.15), at(0.45)), together(at(0.1, dance(4)), late)
    result = align(photo, video, Request((720, 1280), "official", anchor=0))
    assert [track.number for track in result.clip.tracks] == [2]
    (note,) = result.notes
    assert note.startswith("Person 3 left out. Person 3 is not seen in frame 0 of the driving poses")


def test_corrections_scale_a_part_about_its_joint_and_the_body_about_its_neck_in_the_anchor_frame():
    plain = aligned()
    changes = Corrections(body=Correction(y=0.1), head=Correction(1.5), arms=Correction(2, x=0.01))
    corrected = aligned(corrections=changes)
    nose, wrist, hip = (plain[:, joint] - plain[:, NECK] for joint in (NOSE, LEFT_WRIST, RIGHT_HIP))
    moved = corrected - corrected[:, [NECK]]
    assert moved[:, NOSE] == pytest.approx(1.5 * nose)
    assert moved[:, RIGHT_HIP] == pytest.approx(hip)
    shoulder = plain[:, 5] - plain[:, NECK]
    assert moved[:, LEFT_WRIST] == pytest.approx(shoulder + 2 * (wrist - shoulder) + (0.01, 0))
    assert corrected[:, NECK] - plain[:, NECK] == pytest.approx(np.tile((0, 0.1), (8, 1)))
    corrected = aligned(corrections=Corrections(Correction(0.5)))
    assert corrected == pytest.approx(plain[0, NECK] + (plain - plain[0, NECK]) / 2)
    assert np.array_equal(plain, aligned(corrections=Corrections(head=Correction(1, 0, 0))))


def test_a_body_whose_neck_is_unseen_in_the_anchor_frame_scales_about_where_it_must_be():
    shown, (hidden,) = VIDEO.tracks[0], unseen(VIDEO, [NECK], frames=0).tracks
    center = with_necks(hidden, 0.5).points[0, NECK]
    assert center == pytest.approx(shown.points[0, NECK], abs=0.02)
    smaller = correct(hidden, Corrections(Correction(0.5)), 0.5, 0)
    joints = [NOSE, LEFT_WRIST, RIGHT_HIP]
    assert smaller.points[:, joints] == pytest.approx(center + (hidden.points[:, joints] - center) / 2)


@pytest.mark.parametrize("hidden", [(1, 5), (1, 2, 5), (1, 2, 5, 0), (1, 2, 5, 0, 8, 11)])
def test_a_close_up_does_not_jump_where_the_dancer_hides_the_neck(hidden):
    """The body becomes larger and its path does not: whatever stands in for the neck must move as the neck does."""
    close_up = clip(ADULT, [Stance()], Camera(neck=(0.28, 0.55), size=2.4))
    video = clip(ADULT, [Stance(), *dance(24)[1:]])
    hiding = unseen(video, list(hidden), slice(8, 11))
    whole, result = (align(close_up, v, Request((720, 1280))).clip.tracks[0] for v in (video, hiding))
    apart = np.abs(result.points - whole.points)[result.visible]
    assert apart.max() < 0.02


@pytest.mark.parametrize(("hidden", "joint"), [(range(1, 14), 0), ((0, 1, 2, *range(14, 18)), 5), ((0, 1, 2, 5), 8)])
def test_without_a_neck_in_the_photo_another_joint_meets(hidden, joint):
    """A face alone, a back cut off at the shoulder: the neck must not come to lie on nose or shoulder."""
    photo = clip(ADULT, [Stance()], Camera(neck=(0.3, 0.4), size=0.6), hidden)
    (track,) = align(photo, VIDEO, Request((720, 1280))).clip.tracks
    assert track.points[0, joint] == pytest.approx(photo.tracks[0].points[0, joint], abs=1e-12)
    assert np.linalg.norm(track.points[0, NECK] - photo.tracks[0].points[0, NECK]) < 0.06


def test_a_hidden_elbow_does_not_throw_the_wrist_away():
    """What is unseen may be anywhere, and must not carry what is seen."""
    (result,) = align(PHOTO, unseen(VIDEO, [6], place=9), Request(SIZE)).clip.tracks
    assert np.abs(result.points[:, LEFT_WRIST]).max() < 1.2


def test_official_alignment_needs_the_person_in_the_anchor_frame():
    video = unseen(VIDEO, slice(None), slice(2))
    with pytest.raises(ValueError, match="Person 2 is not seen in frame 1 .* Set anchor to 'whole body' or mode to"):
        align(PHOTO, video, Request(SIZE, "official", anchor=1))
    result = align(PHOTO, video, Request(SIZE, anchor=1))
    assert result.anchors == [2]
    assert result.notes == ["Person 2 shows no neck in frame 1: frame 2 meets the photo instead."]


def test_official_alignment_takes_neither_length_nor_place_from_joints_that_nobody_found():
    tables = [align(photo, VIDEO, Request(SIZE, "official")).tables[0] for photo in (unseen(PHOTO, [8, 10]), PHOTO)]
    ratios, whole = ({row.part: row.ratio for row in rows} for rows in tables)
    assert ratios == pytest.approx(whole | {"torso": 1, "upper_leg": 1, "lower_leg": 1})
    result = align(PHOTO, unseen(VIDEO, [2, 3]), Request(SIZE, "official")).clip.tracks[0]
    assert np.abs(result.points[:, 4]).max() < 1.2
    assert result.points[0, NECK] == pytest.approx(PHOTO.tracks[0].points[0, NECK])


def test_an_infinite_scale_is_reported():
    same_place = PHOTO.tracks[0].points.copy()
    same_place[0, 16] = same_place[0, 14] = same_place[0, 0]
    video = PHOTO.with_tracks([replace(PHOTO.tracks[0], points=same_place)])
    assert align(PHOTO, video, Request(SIZE, "official")).notes == [
        "Person 2: official alignment scales face right to infinity. Use robust."
    ]


@pytest.mark.parametrize("mode", ["robust", "official"])
def test_unseen_stays_unseen(mode):
    hidden = clip(ADULT, dance(4), hidden=(RIGHT_ANKLE,))
    (track,) = align(PHOTO, hidden, Request(SIZE, mode)).clip.tracks
    assert not track.visible[:, RIGHT_ANKLE].any() and track.visible[:, RIGHT_HIP].all()


BOTH = together(PHOTO, PHOTO)
ROWS = [PartRatio("upper_arm", 0.125, 0.25, 0.5, "measured"), PartRatio("neck", math.nan, 0.1, 1, "body scale used")]


def test_the_table_reads_and_the_remarks_leave_out_what_was_measured():
    assert report_text(Alignment(PHOTO, [0], [ROWS], ["A remark."], PHOTO)).splitlines() == [
        "part          photo   video  ratio",
        "upper arm     12.5%   25.0%   0.50  measured",
        "neck              -   10.0%   1.00  body scale used",
        "",
        "A remark.",
    ]
    two = report_text(Alignment(BOTH, [0, 0], [ROWS, ROWS], [], BOTH))
    assert [line for line in two.splitlines() if line.startswith("Person")] == ["Person 2", "Person 3"]
    assert remarks_text(Alignment(PHOTO, [0], [ROWS], ["A remark."], PHOTO)) == "neck: body scale used\nA remark."
    assert remarks_text(Alignment(BOTH, [0, 0], [ROWS, ROWS[:1]], [], BOTH)) == "Person 2, neck: body scale used"
    assert remarks_text(align(PHOTO, VIDEO, Request(SIZE, "official"))) == ""


def test_the_overlay_shows_the_skeleton_and_leaves_the_rest():
    photo = np.full((1024, 576, 3), 200, np.uint8)
    picture = overlay(photo, align(PHOTO, VIDEO, Request(SIZE)))
    changed = (picture != photo).any(axis=2)
    assert 0 < changed.mean() < 0.1
    x, y = np.rint(PHOTO.tracks[0].points[0, NECK] * SIZE).astype(int)
    assert changed[y - 1, x - 1]


def test_a_correction_out_of_range_is_refused():
    with pytest.raises(ValueError, match="scales by 0"):
        Correction(0)


def in_one_place(clip):
    """Return the clip with all joints in the place of the nose."""
    (track,) = clip.tracks
    return clip.with_tracks([replace(track, points=np.repeat(track.points[:, [NOSE]], 134, axis=1))])


EMPTY = PoseClip(720, 1280, 4)
TOP, BOTTOM = clip(ADULT, [Stance()], hidden=range(8)), clip(ADULT, dance(4), hidden=range(8, 18))


@pytest.mark.parametrize(
    ("photo", "video", "request_", "message"),
    [
        (EMPTY, VIDEO, {}, "Nobody is seen in the photo's pose"),
        (PoseClip(720, 1280, 0), VIDEO, {}, "Nobody is seen in the photo's pose"),
        (PHOTO, EMPTY, {}, "Nobody is seen in any frame"),
        (PHOTO, VIDEO, {"anchor": 8}, "Anchor frame 8 does not exist"),
        (PHOTO, VIDEO, {"mode": "nice"}, "Unknown alignment 'nice'"),
        (TOP, BOTTOM, {}, "show no common part of the body"),
        (PHOTO, in_one_place(VIDEO), {}, "show no common part of the body"),
        (in_one_place(PHOTO), VIDEO, {}, "show no common part of the body"),
    ],
)
def test_errors_say_what_to_do(photo, video, request_, message):
    with pytest.raises(ValueError, match=message):
        align(photo, video, Request(SIZE, **request_))
