"""The loop over a video, on figures that a fake detector finds by their colour, without telling who is who.

A figure is a rectangle of one colour on black. Where two overlap, the detector sees one blob, and in a region it sees
the keypoints of whoever shows most, as a network would.
"""

import weakref

import cv2
import numpy as np
import pytest

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.poses import NECK, PoseClip, Track
from steadydancer_pack.dwpose.track.extract import ExtractSettings, apply_nobody_rule, extract

WIDTH, HEIGHT, FIGURE = 400, 240, (40, 140)
RED, BLUE, GREEN = (220, 50, 0), (0, 60, 230), (0, 200, 60)
# The body joints in parts of the figure.
X = 0.5, 0.5, 0.1, 0.05, 0.05, 0.9, 0.95, 0.95, 0.3, 0.3, 0.3, 0.7, 0.7, 0.7, 0.45, 0.55, 0.4, 0.6
Y = 0.05, 0.2, 0.2, 0.4, 0.55, 0.2, 0.4, 0.55, 0.55, 0.75, 0.98, 0.55, 0.75, 0.98, 0.03, 0.03, 0.05, 0.05
BODY = np.stack([X, Y], axis=1)


def picture(*figures):
    """Return a frame with figures (left, colour, or left, colour, top), the last one in front.

    The darkest channel counts the figure's columns, so that any pixel tells where its figure is.
    """
    frame = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for left, colour, *top in figures:
        left, top = int(left), int(top[0]) if top else 60
        figure = np.full((*FIGURE[::-1], 3), colour, np.uint8)
        figure[..., int(np.argmin(colour))] = 1 + np.arange(FIGURE[0])
        frame[top : top + FIGURE[1], max(left, 0) : max(left + FIGURE[0], 0)] = figure[:, max(-left, 0) : WIDTH - left]
    return frame


class FakeDetector:
    name, fingerprint = "Fake", "fake"

    def __init__(self):
        self.finds, self.estimates, self.regions = 0, 0, 0
        self.fine = []

    def find(self, frame, fine=True, check=None):
        self.finds += 1
        self.fine.append(fine)
        if check:
            check()
        blobs = cv2.connectedComponentsWithStats(frame.any(2).astype(np.uint8))[2][1:]
        return [Region(x + w / 2, y + h / 2, w, h) for x, y, w, h, _ in blobs[::-1] if w > 4]

    def estimate(self, frame, regions):
        self.estimates += 1
        self.regions += len(regions)
        rows = [self._person(frame, region) for region in regions]
        return np.stack([r[0] for r in rows]), np.stack([r[1] for r in rows])

    def follow(self, points, scores):
        left, top = points[:18].min(0) - 10
        right, bottom = points[:18].max(0) + 10
        return Region((left + right) / 2, (top + bottom) / 2, right - left, bottom - top)

    def _person(self, frame, region):
        points, scores = np.zeros((134, 2), np.float32), np.zeros(134, np.float32)
        x0, y0 = max(int(region.x - region.width / 2), 0), max(int(region.y - region.height / 2), 0)
        crop = frame[y0 : int(region.y + region.height / 2), x0 : int(region.x + region.width / 2)]
        ys, xs = np.nonzero(crop.any(2))
        lefts, which, count = np.unique(x0 + xs - crop[ys, xs].min(1) + 1, return_inverse=True, return_counts=True)
        if len(lefts):
            shown = which == count.argmax()
            points[:18] = (lefts[count.argmax()], y0 + ys[shown].min()) + BODY * FIGURE
            scores[:18] = 0.9
        return points, scores


def run(frames, on_frame=lambda *_: None, **settings):
    detector = FakeDetector()
    return extract(iter(frames), detector, ExtractSettings(**settings), on_frame), detector


def neck_x(track):
    """Return [F]: the neck in pixels, NaN where the person is absent."""
    return np.where(track.present, track.points[:, NECK, 0] * WIDTH, np.nan)


@pytest.mark.parametrize("every", [1, 3, 5, 7])
def test_detection_runs_every_k_frames_and_estimation_once_a_frame(every):
    clip, detector = run([picture((40 + 3 * f, RED)) for f in range(30)], detect_every=every)
    assert (clip.width, clip.height, clip.frames, len(clip.tracks)) == (WIDTH, HEIGHT, 30, 1)
    assert detector.finds == len(range(0, 30, every))
    assert detector.estimates == detector.regions == 30
    assert neck_x(clip.tracks[0]) == pytest.approx(40 + 3 * np.arange(30) + 20, abs=0.6)


def test_without_following_people_are_searched_in_the_detected_boxes_alone():
    class Noting(FakeDetector):
        def estimate(self, frame, regions):
            searched.append((regions, self.find(frame)))
            return super().estimate(frame, regions)

    searched = []
    frames = [picture((40 + 3 * f, RED), (300 - 2 * f, BLUE)) for f in range(9)]
    clip = extract(iter(frames), Noting(), ExtractSettings(1, follow=False))
    assert len(searched) == 9 and all(regions == found for regions, found in searched)
    expected = [40 + 3 * np.arange(9) + 20, 300 - 2 * np.arange(9) + 20]
    assert sorted(neck_x(track).tolist() for track in clip.tracks) == [e.tolist() for e in expected]
    extract(iter(frames), Noting(), ExtractSettings(1))
    assert any(regions != found for regions, found in searched[9:])


def test_detection_runs_on_every_frame_and_the_finest_every_k_frames_while_nobody_is_there():
    frames = [picture()] * 4 + [picture((100, RED))] * 6 + [picture()] * 5
    clip, detector = run(frames, detect_every=5)
    # 0..3 nobody, 4 found, 9 five frames later, 10 the scores fall, 11..14 nobody
    assert detector.finds == 4 + 1 + 1 + 1 + 4
    assert clip.present.tolist() == [False] * 4 + [True] * 6 + [False] * 5
    frames = [picture()] * 8 + [picture((100, RED))] * 6 + [picture()] * 4
    detector = run(frames, detect_every=3)[1]
    # 0..7 nobody, 8 found, 11 three frames later, 14 the scores fall, 15..17 nobody
    assert detector.fine == [True, False, False] * 3 + [True, True] + [False, False, True]


def test_a_search_can_be_ended_and_what_the_callback_raises_ends_the_loop():
    def cancel():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract([picture()], FakeDetector(), check=cancel)

    def on_frame(index, frame, people):
        if index == 3:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        run([picture((40, RED))] * 10, on_frame)


def test_people_of_a_frame_are_estimated_in_one_call():
    clip, detector = run([picture((20, RED), (150, BLUE), (300, GREEN))] * 10)
    assert (detector.estimates, detector.regions, len(clip.tracks)) == (10, 30, 3)
    assert [round(t.points[0, NECK, 0] * WIDTH) for t in clip.tracks] == [40, 170, 320]
    assert [t.identity for t in clip.tracks] == [0, 1, 2]


def test_no_more_people_are_followed_than_allowed():
    frames = [picture((20, RED))] * 3 + [picture((20, RED), (150, BLUE), (300, GREEN))] * 9
    clip, _ = run(frames, max_people=2)
    # Who is followed stays, then the best found.
    assert [round(np.nanmean(neck_x(track))) for track in clip.tracks] == [40, 320]
    assert clip.tracks[0].present.all()


@pytest.mark.parametrize("every", [1, 5, 8])
@pytest.mark.parametrize("speed", [4, 9])
def test_two_people_crossing_keep_their_identities(every, speed):
    span = np.arange(0, 320, speed)
    clip, _ = run([picture((40 + x, RED), (340 - x, BLUE)) for x in span], detect_every=every)
    red, blue = clip.tracks
    assert red.present.mean() > 0.6 and blue.present.mean() > 0.9
    outside = np.abs(span - 150) > 60  # from where they stand clear of each other
    assert np.nanmax(np.abs(neck_x(red) - (40 + span + 20))[outside]) < 1
    assert np.nanmax(np.abs(neck_x(blue) - (340 - span + 20))[outside]) < 1


def test_two_people_dressed_alike_are_told_apart_by_motion():
    span = np.arange(0, 320, 8)
    clip, _ = run([picture((40 + x, RED), (340 - x, RED, 61)) for x in span])
    assert len(clip.tracks) == 2
    first = neck_x(clip.tracks[0])
    assert first[0] == pytest.approx(60, abs=1) and first[-1] == pytest.approx(40 + span[-1] + 20, abs=1)


def test_a_person_who_returns_elsewhere_is_the_same_and_a_newcomer_is_not():
    def figures(f):
        red = [(20, RED)] if f < 20 else [(330, RED, 40)] if f >= 150 else []
        return [*red, *([(200, GREEN)] if f >= 60 else [])]

    clip, _ = run([picture(*figures(f)) for f in range(180)])
    red, green = clip.tracks
    assert np.flatnonzero(red.present).tolist() == [*range(20), *range(150, 180)]
    assert np.flatnonzero(green.present).tolist() == [*range(60, 180)]


def test_someone_who_walks_out_and_in_again_through_the_edge_is_one_person():
    path = [*range(200, -41, -8), *[-60] * 40, *range(-40, 200, 8)]
    clip, _ = run([picture((x, RED), (300, BLUE)) for x in path])
    assert len(clip.tracks) == 2
    assert clip.tracks[1].present.all()
    assert clip.tracks[0].present[:25].all() and clip.tracks[0].present[-20:].all()


def test_as_many_frames_come_out_as_came_in_also_of_nobody_where_that_is_allowed():
    stretches = [picture()] * 7 + [picture((100, RED))] * 3 + [picture()] * 60 + [picture((200, RED))] * 5
    clip, _ = run(stretches)
    assert clip.frames == 75 and clip.tracks[0].points.shape == (75, 134, 2)
    assert not clip.tracks[0].scores[~clip.present].any()
    clip = extract([picture()] * 3, FakeDetector(), allow_nobody=True)
    assert (clip.width, clip.height, clip.frames, clip.tracks) == (WIDTH, HEIGHT, 3, ())


def test_a_skeleton_that_appears_for_a_moment_with_low_scores_is_dropped():
    class Dreaming(FakeDetector):
        def estimate(self, frame, regions):
            points, scores = super().estimate(frame, regions)
            return points, scores * np.where(points[:, 1, :1] > 250, 0.5, 1)

    frames = [picture((50, RED), *([(300, BLUE)] if f in (20, 21) else [])) for f in range(40)]
    clip = extract(frames, Dreaming(), ExtractSettings(detect_every=1))
    assert len(clip.tracks) == 1 and neck_x(clip.tracks[0]) == pytest.approx(70, abs=1)


def test_a_followed_region_that_no_detection_confirms_is_given_up():
    class Stubborn(FakeDetector):
        """Sees a person in any region it is given, as networks do."""

        def _person(self, frame, region):
            points, scores = super()._person(frame, region)
            if not scores.any():
                points[:18], scores[:18] = (region.x, region.y) + 50 * (BODY - 0.5), 0.8
            return points, scores

    frames = [picture((50, RED))] * 10 + [picture()] * 30
    clip = extract(frames, Stubborn(), ExtractSettings(detect_every=3))
    assert clip.present[:10].all() and not clip.present[10 + 2 * 3 :].any()


def test_frames_are_not_kept():
    alive, most = [], 0

    def stream():
        for f in range(50):
            yield picture((40 + 3 * f, RED))

    def on_frame(index, frame, people):
        nonlocal most
        alive.append(weakref.ref(frame))
        most = max(most, sum(ref() is not None for ref in alive))
        assert [p[0].shape for p in people] == [(134, 2)]

    run(stream(), on_frame)
    assert len(alive) == 50 and most <= 2
    assert not any(ref() is not None for ref in alive)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ([], "no frames"),
        ([picture()], "Fake found nobody in the picture"),
        ([picture()] * 12, "Fake found nobody in any of the 12 frames"),
        ([picture((40, RED)), picture((40, RED))[:-2]], "Frame 1 is 400x238, the frames before are 400x240"),
    ],
)
def test_bad_input_is_refused_in_words(frames, message):
    with pytest.raises(ValueError, match=message):
        run(frames)


def test_settings_must_be_positive_and_rules_known():
    for name in ("detect_every", "max_people"):
        with pytest.raises(ValueError, match=f"{name} is 0"):
            ExtractSettings(**{name: 0})
    with pytest.raises(ValueError, match="Unknown rule 'guess'.*hold, blank, end"):
        apply_nobody_rule(clip_of([1]), "guess")


def clip_of(present):
    """Return a clip in which a person, at x = frame number, is seen where `present`."""
    points, scores = np.zeros((len(present), 134, 2)), np.zeros((len(present), 134))
    points[:, :18, 0] = np.arange(len(present))[:, None]
    scores[:, :18] = np.array(present)[:, None]
    return PoseClip(8, 8, len(present), (Track(0, points, scores),))


GAPS = [0, 0, 1, 1, 0, 0, 1, 0]


@pytest.mark.parametrize(
    ("rule", "present", "source"),
    [("hold", GAPS, [2, 2, 2, 3, 3, 3, 6, 6]), ("end", GAPS, [2, 2, 2, 3]), ("end", [0, 1, 1], [1, 1, 2])],
)
def test_frames_without_anybody_take_another_frames_pose(rule, present, source):
    clip = apply_nobody_rule(clip_of(present), rule)
    assert clip.frames == len(source) and clip.present.all()
    assert clip.tracks[0].points[:, NECK, 0].tolist() == source


@pytest.mark.parametrize("rule, present", [("blank", [0, 1, 0]), ("hold", [1, 1]), ("end", [1, 1]), ("hold", [0, 0])])
def test_a_rule_with_nothing_to_do_hands_the_clip_on(rule, present):
    clip = clip_of(present)
    assert apply_nobody_rule(clip, rule) is clip
