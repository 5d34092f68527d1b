"""The nodes Extract Poses and Pick Person: inputs, cache, rules, preview, progress, Cancel, and what they report."""

from fractions import Fraction

import av
import comfy.model_management
import comfy.utils
import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints, to_keypoints
from steadydancer_pack.dwpose.poses import NECK, PoseClip, Track
from steadydancer_pack.dwpose.track import preview as preview_module
from steadydancer_pack.dwpose.track.pose_cache import PoseCache
from steadydancer_pack.dwpose.track.preview import Preview, person_color
from steadydancer_pack.media.video_stream import ImageStream, VideoStream
from steadydancer_pack.nodes.common import pose_detection
from steadydancer_pack.nodes.pose_extract import ExtractPoses, PickPerson

HEIGHT, WIDTH = 96, 160


class BrightnessDetector:
    """Finds every bright column of the picture; a person there stands 20 wide and 60 tall."""

    name, fingerprint = "Brightness", "brightness-1"

    def __init__(self):
        self.finds, self.prepared = 0, []

    def prepare(self, make_room):
        self.prepared.append((self.finds, make_room))

    def find(self, frame, *_):
        self.finds += 1
        columns = np.flatnonzero((frame.mean((0, 2)) > 40) & (np.arange(WIDTH) % 20 == 10))
        return [Region(float(x), 48.0, 20.0, 60.0) for x in columns]

    def estimate(self, frame, regions):
        shape = np.random.default_rng(0).random((134, 2)) - 0.5
        points = np.stack([(r.x, r.y) + shape * (20, 60) for r in regions])
        lit = np.array([frame[:, round(r.x)].mean() > 40 for r in regions])
        return points, np.where(lit[:, None], 0.9, 0.0) * np.ones(134)

    def follow(self, points, scores):
        x, y = (points[:18].min(0) + points[:18].max(0)) / 2
        return Region(round((x - 10) / 20) * 20 + 10.0, y, 20.0, 60.0)


def images(*frames):
    """Return IMAGE: each frame lists the columns (0 to 7) in which somebody stands."""
    batch = torch.zeros(len(frames), HEIGHT, WIDTH, 3)
    for frame, columns in zip(batch, frames, strict=True):
        for column in columns:
            frame[:, 20 * column : 20 * column + 20] = 0.8
    return batch


def video(frames, fps=16, audio=None):
    return InputImpl.VideoFromComponents(Types.VideoComponents(frames, Fraction(fps), audio))


def run(detector=None, **changes):
    inputs = {"fps": 16.0, "source_fps": 16.0, "detect_every": 5, "max_people": 4, "when_nobody": "hold"}
    inputs |= {"max_frames": 0, "use_cache": False, "cache_mb": 64}
    return ExtractPoses.execute(detector or BrightnessDetector(), **inputs | changes)


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    return tmp_path / "steadydancer" / "pose_cache"


def test_images_become_poses():
    keypoints, preview, fps, audio, count, report = run(images=images(*[(1, 4)] * 20)).result
    assert (fps, audio, count, len(keypoints)) == (16.0, None, 20, 20)
    assert [len(frame["people"]) for frame in keypoints] == [2] * 20
    assert (keypoints[0]["canvas_width"], keypoints[0]["canvas_height"]) == (WIDTH, HEIGHT)
    assert preview.shape == (10, HEIGHT, WIDTH, 3) and preview.dtype == torch.float32 and preview.max() <= 1
    assert report.splitlines() == [
        "Frames: 20 of 160x96, 1.25 s",
        "Rate: 16 fps -> 16 fps",
        "Detector: Brightness",
        "Person 1: in 100 % of the frames",
        "Person 2: in 100 % of the frames",
        "Several people: choose one with Pick Person.",
    ]


def test_a_video_keeps_its_duration_and_its_sound():
    sound = {"waveform": torch.rand(1, 2, 8000), "sample_rate": 8000}
    output = run(video=video(images(*[(2,)] * 30), 30, sound))
    keypoints, _, fps, audio, count, report = output.result
    assert (fps, count, len(keypoints)) == (16.0, 16, 16)
    assert torch.equal(audio["waveform"], sound["waveform"]) and audio["sample_rate"] == 8000
    assert "Rate: 30 fps -> 16 fps" in report and "1.00 s" in report
    assert output.ui.as_dict() == {"text": (report,)}  # pictures in ui would be shown as a video


def test_fps_0_keeps_every_frame_and_max_frames_ends_the_clip():
    assert run(video=video(images(*[(2,)] * 30), 30), fps=0.0).result[2::2] == (30.0, 30)
    assert run(images=images(*[(2,)] * 30), source_fps=25.0, fps=0.0).result[2::2] == (25.0, 30)
    assert run(images=images(*[(2,)] * 30), max_frames=7).result[4] == 7


@pytest.mark.parametrize("sources", [{}, {"images": images((1,)), "video": video(images((1,)))}])
def test_exactly_one_source_is_needed(sources):
    with pytest.raises(ValueError, match="Connect exactly one of the two"):
        run(**sources)


def test_a_photo_is_one_frame():
    keypoints, preview, _, _, count, report = run(images=images((3,))).result
    assert count == len(keypoints) == len(preview) == 1
    assert "Person 1: in 100 % of the frames" in report


@pytest.mark.parametrize(
    ("rule", "people"), [("hold", [1] * 12), ("blank", [0, 0, *[1] * 5, *[0] * 5]), ("end", [1] * 7)]
)
def test_frames_without_anybody_follow_the_rule(rule, people):
    result = run(images=images(*[()] * 2, *[(3,)] * 5, *[()] * 5), when_nobody=rule).result
    assert result[4] == len(people) and [len(frame["people"]) for frame in result[0]] == people
    assert f"Warning: nobody is seen in 7 of 12 frames; rule: {rule}." in result[5]


def test_a_cached_run_gives_the_same_without_detection(user_folder):
    frames = images(*[()] * 2, *[(3,)] * 5, *[(3, 6)] * 30, *[()] * 5)
    first, detector = run(images=frames, use_cache=True), BrightnessDetector()
    assert len(list(user_folder.glob("*.npz"))) == 1
    again = run(detector, images=frames, use_cache=True)
    assert detector.finds == 0
    assert again.result[0] == first.result[0] and torch.equal(again.result[1], first.result[1])
    assert again.result[2:] == first.result[2:]


def test_room_is_made_before_an_extraction_and_not_for_the_cache():
    frames, detector = images(*[(3,)] * 5), BrightnessDetector()
    run(detector, images=frames, use_cache=True)
    run(detector, images=frames, use_cache=True)
    assert detector.prepared == [(0, pose_detection.make_room)] and detector.finds > 0


@pytest.fixture
def torn(tmp_path):
    """A video file that announces 4 seconds and loses its pictures after about 2."""
    path = tmp_path / "torn.mp4"
    with av.open(str(path), "w", options={"movflags": "faststart"}) as file:
        stream = file.add_stream("libx264", rate=16, options={"g": "8", "bf": "0"})
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        noise = np.random.default_rng(0)
        for picture in noise.integers(50, 255, (64, HEIGHT, WIDTH, 3), np.uint8):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        file.mux(stream.encode())
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 6 // 10])
    return InputImpl.VideoFromFile(str(path))


def read_again(stream):
    yield pytest.fail("The frames were read again.")


def test_a_cached_run_reads_no_frame_and_shows_and_warns_the_same(torn, monkeypatch):
    first = run(video=torn, use_cache=True).result
    assert "Warning: 'torn.mp4' breaks off: its pictures end at" in first[5]
    monkeypatch.setattr(VideoStream, "__iter__", read_again)
    again = run(video=torn, use_cache=True).result
    assert again[5] == first[5] and torch.equal(again[1], first[1])


def test_poses_that_were_kept_without_pictures_are_read_once_more_for_the_preview_alone(user_folder, monkeypatch):
    frames = images(*[(3,)] * 9)
    first, detector = run(images=frames, use_cache=True), BrightnessDetector()
    (file,) = user_folder.glob("*.npz")
    cache = PoseCache(user_folder, 1 << 30)
    cache.store(file.stem, cache.load(file.stem)._replace(pictures=None))
    again = run(detector, images=frames, use_cache=True)
    assert detector.finds == 0 and torch.equal(again.result[1], first.result[1])
    monkeypatch.setattr(ImageStream, "__iter__", read_again)
    assert torch.equal(run(detector, images=frames, use_cache=True).result[1], first.result[1])


def test_the_rule_for_empty_frames_is_applied_to_cached_poses():
    frames = images(*[(3,)] * 5, *[()] * 5)
    assert run(images=frames, use_cache=True).result[4] == 10
    detector = BrightnessDetector()
    assert run(detector, images=frames, use_cache=True, when_nobody="end").result[4] == 5 and detector.finds == 0


SETTINGS = {"fps": 8.0, "detect_every": 2, "max_people": 1, "max_frames": 5, "images": images(*[(4,)] * 10)}


@pytest.mark.parametrize("name", SETTINGS)
def test_the_cache_knows_what_matters(name):
    same = {"images": images(*[(3,)] * 10), "use_cache": True}
    run(**same)
    detector = BrightnessDetector()
    run(detector, **same | {name: SETTINGS[name]})
    assert detector.finds > 0


@pytest.mark.parametrize("off", [{"use_cache": False}, {"use_cache": True, "cache_mb": 0}])
def test_without_a_cache_nothing_is_written(user_folder, off):
    run(images=images(*[(3,)] * 3), **off)
    assert not user_folder.exists()


def test_progress_counts_every_frame(monkeypatch):
    seen = []
    monkeypatch.setattr(comfy.utils, "PROGRESS_BAR_HOOK", lambda value, total, *_, **__: seen.append((value, total)))
    run(images=images(*[(3,)] * 4))
    assert seen[0] == (1, 4) and seen[-1] == (4, 4)


def test_cancel_stops_at_the_frame_and_stores_nothing(user_folder, monkeypatch, cancelling_bar):
    monkeypatch.setattr(pose_detection, "ProgressBar", cancelling_bar)
    with pytest.raises(comfy.model_management.InterruptProcessingException):
        run(images=images(*[(3,)] * 9), use_cache=True)
    assert cancelling_bar.seen == [1, 2] and not list(user_folder.glob("*"))


def two_people():
    """Return a clip of six frames: person 0 left in frames 0 to 3, person 1 right and larger in 2 to 5."""
    tracks = []
    for identity, (left, width, frames) in enumerate([(0.1, 0.1, range(4)), (0.6, 0.3, range(2, 6))]):
        points, scores = np.zeros((6, 134, 2)), np.zeros((6, 134))
        points[:, :18] = np.linspace((left, 0.2), (left + width, 0.8), 18)
        points[:, NECK, 1] += 0.01 * np.arange(6)
        scores[list(frames), :18] = 1
        tracks.append(Track(identity, points, scores))
    return to_keypoints(PoseClip(200, 100, 6, tuple(tracks)))


def pick(**changes):
    options = {"rule": "largest", "index": 0, "x": 0.5, "y": 0.5, "frame": 0, "when_absent": "hold"}
    return PickPerson.execute(two_people(), **options | changes)


NEAREST = {"rule": "nearest", "x": 0.9, "frame": 3}


@pytest.mark.parametrize(
    ("options", "identity"), [({}, 1), ({"rule": "index"}, 0), (NEAREST, 1), ({"rule": "centre"}, 1)]
)
def test_one_person_is_picked(options, identity):
    output = pick(**options)
    clip = from_keypoints(output.result[0])
    assert [track.identity for track in clip.tracks] == [identity] and clip.frames == 6
    assert output.ui.as_dict() == {"text": (f"Person {identity + 1}: in 67 % of the frames",)}


@pytest.mark.parametrize("rule, present", [("hold", [1] * 6), ("blank", [0, 0, 1, 1, 1, 1]), ("end", [1] * 6)])
def test_frames_without_the_person_follow_the_rule(rule, present):
    assert [len(frame["people"]) for frame in pick(when_absent=rule).result[0]] == present


def test_everybody_stays_as_they_were():
    assert pick(rule="all").result[0] == two_people()


@pytest.mark.parametrize(
    "frames, kept", [(1, [0]), (4, [0, 1, 2, 3]), (5, [0, 2, 4]), (8, [0, 2, 4, 6]), (17, [0, 8, 16])]
)
def test_the_preview_is_evenly_spread_and_small(frames, kept):
    preview = Preview(pictures=4, long_side=80)
    for index in range(frames):
        preview.add(index, np.full((HEIGHT, WIDTH, 3), index, np.uint8))
    assert list(preview.kept) == kept
    assert [picture[0, 0, 0] for picture in preview.kept.values()] == kept
    assert {picture.shape for picture in preview.kept.values()} == {(48, 80, 3)}


def test_the_preview_draws_each_person_in_a_colour_of_their_own_and_counts_from_1(monkeypatch):
    preview, written = Preview(), []
    monkeypatch.setattr(preview_module, "write_number", lambda picture, number, *_: written.append(number))
    for index in range(6):
        preview.add(index, np.zeros((100, 200, 3), np.uint8))
    pictures = preview.draw(from_keypoints(two_people()))
    assert set(written) == {1, 2}
    colours = [np.array(person_color(identity)) for identity in (0, 1)]
    shown = [[bool((picture == colour).all(2).any()) for colour in colours] for picture in pictures]
    assert shown == [[True, False]] * 2 + [[True, True]] * 2 + [[False, True]] * 2
