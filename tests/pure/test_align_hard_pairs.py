"""Photos and videos that do not fit each other: robust alignment against the truth, and the official one beside it.

The truth is the photo's own person, dancing what the driver danced, under the photo's camera.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.poses import NECK
from steadydancer_pack.dwpose.skeleton import LIMBS
from steadydancer_pack.tests.figures import ADULT, CHILD, Camera, Stance, clip, dance

PHOTO, VIDEO = Camera(832, 1216, (0.34, 0.2), 0.75), Camera(720, 1280, (0.25, 0.3), 0.55)
CLOSE_UP = Camera(832, 1216, (0.36, 0.55), 2.4)
LEGS, BELOW_CHEST = (9, 10, 12, 13), (4, 7, *range(8, 14))
SIZE = 640, 928  # the model's frame
PLAUSIBLE = 0.7, 1.43  # a limb's length over the photo's person's own: what people of one height differ by, and noise


class Pair(NamedTuple):
    person: dict
    camera: Camera
    stance: Stance
    hidden: tuple
    stances: list


def first(stances, **changes):
    return [replace(stances[0], **changes), *stances[1:]]


DANCE = first(dance(), yaw=0, elbow_depth=(0, 0))
FOLDED = {"elbow": (150, 10), "elbow_depth": (85, 0), "arm_depth": (60, 0)}
PAIRS = {
    "close-up photo, full-body dance": Pair(ADULT, CLOSE_UP, Stance(), BELOW_CHEST, DANCE),
    "side view in the first frame": Pair(ADULT, PHOTO, Stance(), (), first(DANCE, yaw=85)),
    "folded arm in the first frame": Pair(ADULT, PHOTO, Stance(), (), first(DANCE, **FOLDED)),
    "legs hidden in the photo": Pair(ADULT, PHOTO, Stance(), LEGS, DANCE),
    "tiny person in the photo": Pair(ADULT, Camera(1216, 832, (0.8, 0.6), 0.14), Stance(), (), DANCE),
    "child in the photo, adult dances": Pair(CHILD, PHOTO, Stance(), (), DANCE),
    "folded arms in the photo": Pair(
        ADULT, PHOTO, Stance(elbow=(150, 150), elbow_depth=(80, 80), arm_depth=(50, 50)), (), DANCE
    ),
    "photo from the side": Pair(ADULT, PHOTO, Stance(yaw=80), (), DANCE),
    "sitting in the photo": Pair(ADULT, PHOTO, Stance(leg_depth=(80, 80), knee_depth=(-70, -70)), (), DANCE),
}

OFFICIAL_COPES = "tiny person in the photo", "child in the photo, adult dances", "photo from the side"


def noisy(clip, pixels=1.5):
    """Return the clip as a detector would see it: unseen joints hold a guess near the frame's middle."""
    generator = np.random.default_rng(7)
    tracks = []
    for track in clip.tracks:
        points = track.points + generator.normal(0, pixels, track.points.shape) / (clip.width, clip.height)
        guess = 0.5 + generator.normal(0, 0.05, points.shape)
        tracks.append(replace(track, points=np.where(track.visible[..., None], points, guess)))
    return clip.with_tracks(tracks)


def aligned_and_truth(pair, mode):
    """Return the aligned joints and the true ones, both [F, 18, 2] in frame heights, and which are seen [F, 18]."""
    photo = noisy(clip(pair.person, [pair.stance], pair.camera, pair.hidden))
    video = noisy(clip(ADULT, pair.stances, VIDEO))
    frame = Camera(*SIZE, pair.camera.neck, pair.camera.size)
    size = SIZE if pair.camera.width < pair.camera.height else SIZE[::-1]
    result = align(photo, video, Request(size, mode))
    truth = clip(pair.person, pair.stances, replace(frame, width=size[0], height=size[1])).tracks[0]
    metric = (size[0] / size[1], 1)
    return result.clip.tracks[0].points[:, :18] * metric, truth.points[:, :18] * metric, result.clip.tracks[0].visible


def limb_ratios(pair, mode):
    """Return the smallest and the largest length of a limb over its true one, and how far the first neck is off.

    Limbs shorter than a tenth of the person are left out: what points at the camera is all noise.
    """
    aligned, truth, visible = aligned_and_truth(pair, mode)
    start, end = LIMBS[2:13].T
    lengths, true = (np.linalg.norm(p[:, end] - p[:, start], axis=2) for p in (aligned, truth))
    counted = visible[:, start] & visible[:, end] & (true > 0.1 * pair.camera.size)
    ratios = lengths[counted] / true[counted]
    return ratios.min(), ratios.max(), np.linalg.norm(aligned[0, NECK] - truth[0, NECK])


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_robust_alignment_keeps_the_limbs_plausible_and_meets_the_neck_of_the_photo(pair):
    smallest, largest, apart = limb_ratios(pair, "robust")
    assert PLAUSIBLE[0] <= smallest <= largest <= PLAUSIBLE[1]
    assert apart < 0.02


@pytest.mark.parametrize("name", [name for name in PAIRS if name not in OFFICIAL_COPES])
def test_the_pair_is_hard_the_official_alignment_fails(name):
    smallest, largest, _ = limb_ratios(PAIRS[name], "official")
    assert smallest < PLAUSIBLE[0] or largest > PLAUSIBLE[1]
