"""The preview of a dance: bright skeletons, both pictures in their places, the crop, the thinning, and its text."""

from dataclasses import replace

import numpy as np
import pytest

from steadydancer_pack.dwpose.bright_skeleton import JOINT_COLORS, draw_bright
from steadydancer_pack.dwpose.edit import dance_preview
from steadydancer_pack.dwpose.edit.dance_preview import (
    BACKGROUND,
    BOX,
    GAP,
    GRAY,
    LEAST_WIDTH,
    MAX_FRAMES,
    MEETING_FRAMES,
    WHITE,
    Dance,
    arrange,
    describe_match,
    draw_preview,
    preview_size,
    preview_stride,
)
from steadydancer_pack.dwpose.poses import BODY, LEFT_ELBOW, LEFT_SHOULDER, LEFT_WRIST, NECK
from steadydancer_pack.dwpose.skeleton import LIMBS
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip

CAMERA = Camera(360, 640, size=0.45)
STANDING = clip(ADULT, [Stance()], CAMERA)
ARMS_UP = clip(ADULT, [Stance(arm=(90, 90))] * 20, CAMERA)


def made(frames=20, **changes):
    poses = ARMS_UP.at(np.arange(frames) % 20)
    photo = np.full((640, 360, 3), 100, np.uint8)
    return Dance(photo, (1.0, 1.0), STANDING, poses, poses, poses, 0, [0])._replace(**changes)


def shown(dance, frames=None):
    frames = [np.full((640, 360, 3), 10 + i, np.uint8) for i in range(20)] if frames is None else frames
    return list(draw_preview(dance, iter(frames), lambda picture: picture))


def halves(picture):
    """Return the pictures of video and photo, each 404 x 720."""
    return picture[:, :404], picture[:, -404:]


def on_limb(picture, track, joints, frame=0):
    """Return the color in the middle of a limb."""
    x, y = np.rint(track.points[frame, joints].mean(axis=0) * picture.shape[1::-1]).astype(int)
    return tuple(picture[y, x].tolist())


def limb_color(start, end):
    return JOINT_COLORS[LIMBS.tolist().index([start, end])]


@pytest.mark.parametrize("ground", [0, 128, 255])
def test_limbs_are_bright_with_a_dark_outline_on_any_ground(ground):
    picture = np.full((720, 404, 3), ground, np.uint8)
    (track,) = ARMS_UP.tracks
    draw_bright(picture, track, 0)
    ends = [LEFT_ELBOW, LEFT_WRIST]
    assert on_limb(picture, track, ends) == pytest.approx(limb_color(*ends), abs=1)
    x, y = np.rint(track.points[0, ends].mean(axis=0) * (404, 720)).astype(int)
    column = picture[y - 8 : y + 9, x].max(axis=1)
    assert column[[0, -1]].tolist() == [ground, ground]
    assert (column == 0).sum() >= 2 and column.max() == 255


def test_every_color_stands_out_from_its_outline():
    assert all(np.dot(rgb, (0.2126, 0.7152, 0.0722)) > 80 for rgb in JOINT_COLORS)


def test_joints_that_are_not_seen_or_far_outside_are_not_drawn():
    (track,) = ARMS_UP.tracks
    picture = np.zeros((72, 40, 3), np.uint8)
    draw_bright(picture, replace(track, scores=track.scores * 0), 0)
    draw_bright(picture, replace(track, points=track.points * 1e9 + 1e12), 0)
    assert not picture.any()


@pytest.mark.parametrize(
    ("video", "photo", "size"),
    [
        ((576, 1024), (576, 1024), (404 + GAP + 404, 720)),
        ((1920, 1080), (1920, 1080), (508 + GAP + 508, 286)),
        ((1920, 1080), (576, 1024), (508 + GAP + 404, 720)),
        ((96, 96), (96, 96), (508 + GAP + 508, 508)),
        ((100, 1000), (100, 1000), (LEAST_WIDTH, 720)),
        ((8000, 20), (4000, 6000), (508 + GAP + 480, 720)),
    ],
)
def test_both_pictures_fill_their_boxes_in_a_preview_at_least_512_wide(video, photo, size):
    layout = arrange(video, photo)
    assert layout.size == size and not any(side % 2 for side in layout.size)
    assert all(w <= BOX[0] and h <= BOX[1] for w, h in (layout.video, layout.photo))


def test_the_video_is_on_the_left_and_the_photo_with_the_dance_on_the_right():
    elsewhere = replace(
        STANDING.tracks[0], points=ARMS_UP.tracks[0].points + (0.1, 0.0), scores=ARMS_UP.tracks[0].scores
    )
    dance = made(aligned=ARMS_UP.with_tracks([elsewhere]))
    pictures = shown(dance)
    assert len(pictures) == 20 and pictures[0].shape == (720, 404 + GAP + 404, 3)
    assert preview_size(dance) == (404 + GAP + 404, 720)
    assert tuple(pictures[0][0, 404 + GAP // 2].tolist()) == BACKGROUND
    ends = [LEFT_SHOULDER, LEFT_ELBOW]
    for index in (0, 19):
        video, photo = halves(pictures[index])
        assert video[0, 0].tolist() == [10 + index] * 3 and photo[0, 0].tolist() == [100] * 3
        assert on_limb(video, ARMS_UP.tracks[0], ends) == pytest.approx(limb_color(*ends), abs=1)
        assert on_limb(photo, elsewhere, ends) == pytest.approx(limb_color(*ends), abs=1)


def test_the_photos_own_pose_is_white_where_the_two_meet_and_only_there():
    arm = [LEFT_SHOULDER, LEFT_ELBOW]
    white = [on_limb(halves(p)[1], STANDING.tracks[0], arm) == WHITE for p in shown(made())]
    assert white == [True] * MEETING_FRAMES + [False] * (20 - MEETING_FRAMES)
    white = [on_limb(halves(p)[1], STANDING.tracks[0], arm) == WHITE for p in shown(made(anchors=[12]))]
    assert [i for i, is_white in enumerate(white) if is_white] == [*range(MEETING_FRAMES), *range(12, 20)]


def test_of_several_people_those_who_are_not_followed_are_gray_and_all_have_numbers():
    other = replace(ARMS_UP.tracks[0], identity=4, points=ARMS_UP.tracks[0].points - (0.25, -0.2))
    dance = made(in_video=ARMS_UP.with_tracks([*ARMS_UP.tracks, other]))
    video, _ = halves(shown(dance)[19])
    alone, _ = halves(shown(made())[19])
    ends = [LEFT_ELBOW, LEFT_WRIST]
    assert on_limb(video, other, ends) == GRAY
    assert on_limb(video, ARMS_UP.tracks[0], ends) == pytest.approx(limb_color(*ends), abs=1)
    assert (video == WHITE).all(axis=2).sum() > 100 > (alone == WHITE).all(axis=2).sum()


def test_what_is_cut_off_is_dark_and_framed():
    _, photo = halves(shown(made(kept=(0.5, 1.0)))[-1])
    assert (photo[5, [2, 98, 306, 401]] == 30).all() and (photo[5, [105, 300]] == 100).all()
    assert tuple(photo[300, 101].tolist()) == dance_preview.FRAME_COLOR == tuple(photo[300, 302].tolist())


def test_during_the_lead_in_the_video_stands_still_and_a_short_one_keeps_its_last_frame():
    frames = [np.full((640, 360, 3), 10 + i, np.uint8) for i in range(4)]
    pictures = shown(made(lead_in=3, anchors=[0]), frames)
    assert [int(picture[0, 0, 0]) for picture in pictures[:8]] == [10, 10, 10, 10, 11, 12, 13, 13]


def test_a_long_dance_is_thinned_and_only_one_frame_is_held():
    read = []

    def frames():
        for i in range(5000):
            read.append(i)
            yield np.full((64, 36, 3), i % 200, np.uint8)

    dance = made(5000, photo=np.zeros((64, 36, 3), np.uint8))
    pictures = draw_preview(dance, frames(), lambda picture: picture)
    next(pictures)
    assert read == [0] and preview_stride(5000) == 11 and preview_stride(MAX_FRAMES) == 1
    assert next(pictures)[0, 0].tolist() == [11] * 3 and read == [*range(12)]
    assert -(-5000 // preview_stride(5000)) <= MAX_FRAMES


def test_the_text_measures_neck_shoulders_and_hips_where_the_two_meet():
    (track,) = ARMS_UP.tracks
    points = track.points.copy()
    points[5] += (0.0, 0.03)
    points[5, NECK] -= (0.0, 0.03)
    dance = made(aligned=ARMS_UP.with_tracks([replace(track, points=points)]), anchors=[5])
    assert describe_match(dance) == [
        "Frame 6, off the photo's own pose (white): neck 0 %, shoulders 3 %, hips 3 % of the frame height.",
        "Neck, shoulders and hips should match there. Arms and legs follow the dance.",
    ]
    hidden = STANDING.with_tracks([replace(STANDING.tracks[0], scores=np.zeros((1, 134)))])
    hidden.tracks[0].scores[:, BODY.start : NECK + 1] = 1
    assert describe_match(made(in_photo=hidden))[0] == (
        "Frame 1, off the photo's own pose (white): neck 0 % of the frame height."
    )
