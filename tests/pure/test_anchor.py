"""When and where a dance meets the photo: people who walk in, and heads that are turned aside."""

from dataclasses import replace

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.poses import NECK, NOSE
from steadydancer_pack.dwpose.track.extract import apply_nobody_rule
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

SIZE = 576, 1024
HEAD = [0, 14, 15, 16, 17]
PHOTO = clip(ADULT, [Stance()], Camera(neck=(0.28, 0.25), size=0.6))
IN = np.linspace(-0.28, 0, 12)  # from the left edge to the middle, in frame heights
WALK_IN = clip(ADULT, dance(40), Camera(size=0.6), path=np.stack([np.append(IN, np.zeros(28)), np.zeros(40)], axis=1))


def approach(frames=40, near=12):
    """Somebody who comes nearer for 12 frames, from a third of the size to the full one."""
    sizes = np.append(np.linspace(0.2, 0.6, near), np.full(frames - near, 0.6))
    clips = [clip(ADULT, [Stance()], Camera(size=size)) for size in sizes]
    (first, *_), tracks = clips, [c.tracks[0] for c in clips]
    points, scores = (np.concatenate([getattr(track, part) for track in tracks]) for part in ("points", "scores"))
    points[:, :, 0] += 1e-4 * np.arange(frames)[:, None]
    return replace(first, frames=frames).with_tracks([replace(tracks[0], points=points, scores=scores)])


def aligned(video, photo=PHOTO, **request):
    result = align(photo, video, Request(SIZE, **request))
    return result, result.clip.tracks[0]


@pytest.mark.parametrize("mode", ["robust", "official"])
def test_who_walks_in_meets_the_photo_in_the_middle_of_the_dance(mode):
    first, track = aligned(WALK_IN, mode=mode)
    assert first.anchors[0] < 3 and track.points[20, NECK, 0] > 0.9  # the dance happens at the right edge
    (note,) = [note for note in first.notes if "Set anchor" in note]
    assert "joints, 14 in the median frame" in note and "Set anchor to 'whole body'." in note
    whole, track = aligned(WALK_IN, mode=mode, anchor_rule="whole body")
    assert whole.anchors[0] >= 11
    assert track.points[20, NECK] == pytest.approx(PHOTO.tracks[0].points[0, NECK], abs=1e-9)
    assert whole.notes == [
        f"Person 2: frame {whole.anchors[0]} meets the photo, a whole body near the median of the clip."
    ]


def test_who_comes_nearer_keeps_the_size_of_the_photo():
    first, _track = aligned(approach(), mode="robust")
    assert "times as large as in the median frame in frame 0" in first.notes[0]
    whole, _found = aligned(approach(), anchor_rule="whole body")
    assert whole.anchors[0] >= 11
    assert whole.tables[0][0].ratio == pytest.approx(1, abs=0.02) and first.tables[0][0].ratio > 1.5


@pytest.mark.parametrize(
    "video",
    [
        clip(ADULT, dance(24), Camera(size=0.6)),
        clip(ADULT, dance(24), Camera(neck=(0.28, 0.55), size=2.4)),  # a close-up, never whole
        clip(ADULT, dance(24), Camera(size=0.6), path=np.stack([np.linspace(-0.1, 0.1, 24), np.zeros(24)], axis=1)),
        clip(ADULT, [Stance()]),
    ],
)
def test_nothing_is_said_of_an_anchor_frame_like_the_others(video):
    assert aligned(video)[0].notes == []


def test_the_search_begins_at_the_anchor_frame():
    back = clip(ADULT, dance(40), Camera(size=0.6), path=np.stack([np.repeat([0, 0.1], 20), np.zeros(40)], axis=1))
    assert aligned(back, anchor=25, anchor_rule="whole body")[0].anchors[0] >= 25
    gone = back.with_tracks([replace(back.tracks[0], scores=back.tracks[0].scores * (np.arange(40) < 20)[:, None])])
    with pytest.raises(ValueError, match="from frame 25 on"):
        aligned(gone, anchor=25, anchor_rule="whole body")


def test_held_poses_do_not_count():
    track = WALK_IN.tracks[0]
    late = np.arange(40) >= 20  # before, nobody is seen
    points = np.concatenate([track.points[:20], track.points[:20]])
    clip_ = WALK_IN.with_tracks([replace(track, points=points, scores=track.scores[np.r_[:20, :20]] * late[:, None])])
    held = apply_nobody_rule(clip_, "hold")
    assert aligned(held, anchor_rule="whole body")[0].anchors[0] >= 31


def seen(video, frames, joints):
    """Return the clip with these joints alone seen in these frames."""
    (track,) = video.tracks
    scores = track.scores.copy()
    scores[frames] *= np.isin(np.arange(134), joints)
    return video.with_tracks([replace(track, scores=scores)])


def test_a_still_clip_meets_the_photo_where_the_body_is_seen():
    video = seen(clip(ADULT, [Stance()] * 6, Camera(size=0.6)), slice(0, 1), [NOSE])
    assert aligned(video, anchor_rule="whole body")[0].anchors == [1]


def test_a_few_whole_frames_are_preferred_to_many_incomplete_ones_and_one_alone_proves_nothing():
    path = np.stack([np.append(np.linspace(-0.28, -0.2, 36), np.zeros(4)), np.zeros(40)], axis=1)
    video = clip(ADULT, dance(40), Camera(size=0.6), path=path)
    result = aligned(video, anchor_rule="whole body")[0]
    assert result.anchors[0] >= 36 and "a whole body" in result.notes[0]
    video = seen(clip(ADULT, dance(40), Camera(size=0.6)), np.delete(np.arange(40), 7), range(9))
    result = aligned(video, anchor_rule="whole body")[0]
    assert result.anchors[0] != 7
    assert "meets the photo, the most complete body, 9 of 14 joints, near the median" in result.notes[0]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("mode", ["robust", "official"])
def test_a_body_of_no_known_size_has_no_remark_about_its_size(mode):
    one_place = clip(ADULT, dance(8), Camera(size=0.6))
    (track,) = one_place.tracks
    held = np.repeat(track.points[:1], 8, axis=0)
    held[3:] += 0.01 * np.arange(134)[:, None]  # an arm alone, and it repeats: nothing measured has a size
    points = seen(one_place.with_tracks([replace(track, points=held)]), slice(0, 3), [NECK])
    assert not [note for note in aligned(points, mode=mode)[0].notes if "nan" in note]
    point = one_place.with_tracks([replace(track, points=np.full_like(track.points, 0.5))])
    assert not [note for note in aligned(point, mode="official")[0].notes if "times as large" in note]


def test_heads_meet_where_the_photo_looks_aside_and_necks_where_it_has_no_head():
    aside = clip(ADULT, [Stance(yaw=60)], Camera(neck=(0.28, 0.25), size=0.6))
    photo, video = aside.tracks[0], clip(ADULT, dance(24), Camera(size=0.6))
    shift = np.zeros((1, 134, 2))
    shift[:, HEAD] = 0.08, 0.02  # the head juts out beyond the neck
    aside = aside.with_tracks([replace(photo, points=photo.points + shift)])
    necks, heads = (aligned(video, aside, meet_at=place)[1] for place in ("neck", "head"))
    head = aside.tracks[0].points[0, HEAD].mean(axis=0)
    assert heads.points[0, HEAD].mean(axis=0) == pytest.approx(head, abs=1e-9)
    assert np.linalg.norm(necks.points[0, HEAD].mean(axis=0) - head) > 0.05
    moved = heads.points - necks.points
    assert moved == pytest.approx(np.broadcast_to(moved[0, NOSE], moved.shape), abs=1e-12)
    back = clip(ADULT, [Stance()], Camera(neck=(0.28, 0.25), size=0.6), hidden=HEAD)
    result, track = aligned(video, back, meet_at="head")
    assert np.array_equal(track.points, aligned(video, back)[1].points)
    assert result.notes == [
        "Person 2: no joint of the head is seen in both photo and frame 0, so they meet as with 'neck'."
    ]


@pytest.mark.parametrize("request_", [{"anchor_rule": "last"}, {"meet_at": "foot"}])
def test_unknown_choices_are_named(request_):
    with pytest.raises(ValueError, match="Unknown .* '(last|foot)'. Choose one of (first, whole body|neck, head)."):
        aligned(WALK_IN, **request_)
