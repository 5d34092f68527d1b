"""Poses From Video: the whole road in one node, with a detector that knows the answer."""

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import folder_paths
import numpy as np
import pytest
import torch
from comfy_api.latest import InputImpl, Types
from comfy_execution.graph_utils import ExecutionBlocker

from steadydancer_pack.dwpose.detect.detector import Region
from steadydancer_pack.dwpose.detect.detector_files import DWPOSE, YOLOX
from steadydancer_pack.dwpose.edit.align import Request, align
from steadydancer_pack.dwpose.formats.keypoints import from_keypoints
from steadydancer_pack.dwpose.poses import NECK
from steadydancer_pack.media.video_stream import ImageStream
from steadydancer_pack.miniature import shipped
from steadydancer_pack.nodes import animate
from steadydancer_pack.nodes.animate import AnimateFromVideo
from steadydancer_pack.nodes.common import detector_choice
from steadydancer_pack.nodes.common.pose_images import draw_images
from steadydancer_pack.nodes.common.video_input import skip_seconds
from steadydancer_pack.tests.figures import ADULT, Camera, Stance, clip, dance

FRAMES = 6
PHOTO_CAMERA, VIDEO_CAMERA = Camera(72, 128, (0.3, 0.2), 0.6), Camera(90, 160, (0.28, 0.25), 0.5)
CLIPS = {72: clip(ADULT, [Stance()], PHOTO_CAMERA), 90: clip(ADULT, dance(FRAMES), VIDEO_CAMERA)}
SIZE = {"size": "custom", "width": 144, "height": 256}
NOBODY = 200  # brightness of a frame without anybody


class Knowing:
    """Knows by the width of a picture which clip it is of, and by its brightness which frame."""

    name, notes, fingerprint = "Knowing", ["It knows."], "knowing-1"

    def prepare(self, make_room):
        pass

    def find(self, frame, *_):
        height, width = frame.shape[:2]
        return [] if frame[0, 0, 0] == NOBODY else [Region(width / 2, height / 2, width, height)]

    def estimate(self, frame, regions):
        height, width = frame.shape[:2]
        (track,), number = CLIPS[width].tracks, int(frame[0, 0, 0])
        there = number != NOBODY
        points = track.points[number * there] * (width, height)
        return np.stack([points] * len(regions)), np.stack([track.scores[number * there] * there] * len(regions))

    def follow(self, points, scores):
        return None


@pytest.fixture(autouse=True)
def user_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(folder_paths, "user_directory", str(tmp_path))
    monkeypatch.setattr(animate, "show_dance", lambda *_: {})  # it reads the frames once more


def picture(number, camera):
    return torch.full((camera.height, camera.width, 3), number / 255)


def video_of(brightness, audio=None):
    frames = torch.stack([picture(number, VIDEO_CAMERA) for number in brightness])
    return InputImpl.VideoFromComponents(Types.VideoComponents(frames, Fraction(16), audio))


def run(brightness=range(FRAMES), detector=None, **changes):
    return execute(brightness, detector, **changes).result


def execute(brightness=range(FRAMES), detector=None, **changes):
    video = video_of(brightness, {"waveform": torch.zeros(1, 2, 800), "sample_rate": 1600})
    photo = torch.cat([picture(0, PHOTO_CAMERA), torch.ones(128, 72, 1)], dim=2)[None]  # RGBA
    options = {"size": SIZE, "person": "largest", "mode": "robust", "smoothing": 0.0, "lead_in": 0, "max_frames": 0}
    sources = {"photo": photo, "video": video, "detector": detector or Knowing(), "seed": 1}
    return AnimateFromVideo.execute(**options | sources | changes)


def test_what_a_matte_took_out_of_the_photo_is_black_to_the_detector():
    class Watching(Knowing):
        def find(self, frame, *_):
            looked_at.append(frame)
            return super().find(frame)

    looked_at = []
    photo = torch.cat([picture(100, PHOTO_CAMERA), torch.ones(128, 72, 1)], dim=2)[None]
    photo[:, 0, 0, :3] = 0  # the number of the frame
    photo[:, 64:, :, 3] = 0
    AnimateFromVideo.execute(photo, SIZE, video_of(range(5)), detector=Watching(), lead_in=0, max_frames=0)
    (seen,) = (frame for frame in looked_at if frame.shape[1] == 72)
    assert (seen[1:64] == 100).all() and not seen[64:].any()


def test_poses_pictures_rate_and_sound_belong_together_and_the_report_tells_who_saw_what():
    frames, negative, overlay, fps, audio, lead_in, poses, report, photo, _ = run()
    assert frames.shape == negative.shape == (FRAMES, 256, 144, 3) and not torch.equal(frames, negative)
    assert overlay.shape == (1, 1024, 576, 3) and photo.shape == (1, 128, 72, 3)
    assert (fps, lead_in, audio["sample_rate"]) == (16.0, 0, 1600)
    track = from_keypoints(poses).tracks[0]
    assert track.points[0, NECK] == pytest.approx(CLIPS[72].tracks[0].points[0, NECK], abs=1e-6)
    assert report.splitlines()[:3] == ["Knowing", "It knows.", "Frames: 6 at 16 fps. People: 1, largest chosen."]


@pytest.mark.parametrize(("width", "height", "error"), [(144, 256, 1e-4), (96, 96, 1e-4), (160, 0, 2e-3)])
def test_without_frames_the_poses_lie_in_the_frame_of_the_video(width, height, error):
    """Up to the rounding of POSE_KEYPOINT, but where the drawing is shrunk to another shape."""
    how = {"size": {"size": "custom", "width": width, "height": height}}
    frames, negative, *rest = run(**how)
    blocked, also, *same = run(**how, draw_frames=False)
    assert isinstance(blocked, ExecutionBlocker) and "Connect poses and negative_poses instead" in also.message
    for images, poses in ((frames, same[4]), (negative, same[7])):
        (drawn,) = draw_images([from_keypoints(poses)], 0, 0)
        assert drawn.shape == images.shape and (drawn - images).abs().mean() <= error < images.mean() / 5
    assert same[5] == rest[5] and torch.equal(same[6], rest[6])


def test_a_lead_in_is_put_before_all_of_the_dance():
    plain, led = run(max_frames=5), run(max_frames=5, lead_in=4)
    assert (len(plain[0]), len(led[0]), led[5]) == (5, 9, 4)
    assert torch.equal(led[0][4:], plain[0])
    neck = from_keypoints(led[6]).tracks[0].points[0, NECK]
    assert neck == pytest.approx(CLIPS[72].tracks[0].points[0, NECK], abs=1e-6)


def test_the_page_gets_the_dance_without_the_lead_in_and_before_the_corrections():
    plain, corrected = (execute(lead_in=4, head_x=x).ui["pose_editor"][0] for x in (0.0, 0.1))
    assert plain["poses"] == corrected["poses"] and plain["fps"] == 16.0 and plain["lead_in"] == 4
    names = [f"{part}_{key}" for part in ("body", "head") for key in ("scale", "x", "y")]
    assert list(corrected["corrections"]) == names and corrected["corrections"]["head_x"] == 0.1
    turns = json.loads(Path(folder_paths.get_temp_directory(), plain["facing"]["filename"]).read_text())
    assert turns["frames"] == FRAMES and len(turns["people"][0]["yaw"]) == FRAMES


def test_the_anchor_and_where_to_meet_reach_the_alignment():
    plain, chosen = run(), run(anchor="whole body", meet_at="head")
    number = int(chosen[7].split("Person 1: frame ")[1].split(" meets the photo")[0])
    heads, photo = (from_keypoints(chosen[6]).tracks[0].points[number], CLIPS[72].tracks[0].points[0])
    head = [0, 14, 15, 16, 17]
    assert heads[head].mean(axis=0) == pytest.approx(photo[head].mean(axis=0), abs=1e-6)
    assert from_keypoints(plain[6]).tracks[0].points[0, NECK] != pytest.approx(heads[NECK], abs=1e-4)


def test_a_short_gap_is_filled_and_told():
    poses, report = run([0, 1, NOBODY, 3, 4, 5])[6:8]
    neck, wrist = (from_keypoints(poses).tracks[0].points[:, joint] for joint in (NECK, 4))
    assert (np.abs(np.diff(wrist, axis=0)).max(axis=1) > 0).all() and np.isfinite(neck).all()
    rule = "Gaps of up to 5 frames are filled in; in longer ones the last pose is held."
    assert f"Warning: the person chosen is not seen in 1 of 6 frames. {rule}" in report
    assert "Warning: nobody is seen in 1 of 6 frames. Gaps" in run([0, 1, NOBODY, 3, 4, 5], person="all")[7]


class Followed(Knowing):
    fingerprint = "followed-1"

    def __init__(self):
        self.found = 0

    def find(self, frame, *_):
        self.found += 1
        return super().find(frame)

    def follow(self, points, scores):
        return Region(45, 80, 90, 160)


def test_official_detects_in_every_frame_and_aligns_what_was_found_untouched():
    seen = [0, 1, NOBODY, 3, 4, 5]
    detector = Followed()
    frames, _, _, _, _, _, poses, report, *_ = run(seen, detector, mode="official", smoothing=1.0)
    assert detector.found == 1 + FRAMES  # photo and video
    there = np.array([number != NOBODY for number in seen])[:, None]
    track = CLIPS[90].tracks[0]
    raw = replace(track, points=track.points * there[..., None], scores=track.scores * there)
    expected = align(CLIPS[72], CLIPS[90].with_tracks([raw]), Request((576, 1024), "official")).clip.tracks[0]
    found = from_keypoints(poses).tracks[0]
    visible = expected.visible
    assert found.points[visible] == pytest.approx(expected.points[visible], abs=1e-6)
    assert frames.flatten(1).any(1).tolist() == there[:, 0].tolist()
    assert "official: detected in every frame; nothing is smoothed, repaired or filled in" in report
    assert "Warning: the person chosen is not seen in 1 of 6 frames. No skeleton is drawn in those." in report
    detector = Followed()
    assert "official" not in run(detector=detector)[7] and detector.found == 1 + 2


def test_official_takes_dwpose_as_published_and_says_where_the_detector_is_another(monkeypatch):
    class Published(Knowing):
        def __init__(self, *_, flip_test, color_order):
            self.official = flip_test and color_order == "official"

    def automatic(**settings):
        return Published(**{"flip_test": False, "color_order": "trained"} | settings), []

    monkeypatch.setattr(animate, "automatic_detector", automatic)
    monkeypatch.setattr(animate, "DWPose", Published)
    video, photo = video_of(range(5)), picture(0, PHOTO_CAMERA)[None]
    warning = "Warning: official mode, but the detector is not as published."

    def report(mode, detector=None):
        return AnimateFromVideo.execute(photo, SIZE, video, detector=detector, mode=mode).result[7]

    assert warning not in report("official") + report("robust", Knowing())
    assert warning not in report("official", Published(flip_test=True, color_order="official"))
    for detector in (Knowing(), Published(flip_test=True, color_order="trained")):
        assert warning in report("official", detector)


class Two(Knowing):
    """Sees a larger person on the left, who is away in frames 2 and 3, and a smaller one on the right."""

    fingerprint = "two-1"

    def find(self, frame, *_):
        height, width = frame.shape[:2]
        return [Region(width * x, height / 2, width / 4, height) for x in ((0.25, 0.75) if width == 90 else (0.5,))]

    def estimate(self, frame, regions):
        height, width = frame.shape[:2]
        body, number = CLIPS[width].tracks[0], int(frame[0, 0, 0])
        left = np.array([region.x < width / 2 for region in regions])[:, None]
        stands = (body.points[0] - body.points[0, NECK]) * np.where(left, 1.0, 0.5)[..., None] * (width, height)
        away = left & (width == 90) & (number in (2, 3))
        return stands + [[(r.x, height / 4)] for r in regions], np.where(away, 0, body.scores[0])


def test_who_is_away_while_another_dances_is_told_of_as_the_person_chosen():
    report = run(detector=Two())[7]
    assert "Warning: the person chosen is not seen in 2 of 6 frames." in report and "nobody is seen" not in report
    assert "Warning" not in run(detector=Two(), person="all")[7]


def test_the_bundled_detector_hears_of_the_gpu_after_room_was_made_there(monkeypatch):
    told, room = {}, []

    class Bundled(Knowing):
        def __init__(self, provider, gpu):
            told.update(gpu=gpu)

    monkeypatch.setattr(detector_choice, "BlazePose", Bundled)
    monkeypatch.setattr(detector_choice, "this_gpu", lambda: "a GPU")
    monkeypatch.setattr(detector_choice, "make_room_for", lambda provider: room.append((provider, dict(told))))
    AnimateFromVideo.execute(picture(0, PHOTO_CAMERA)[None], SIZE, video_of([0]))
    assert told == {"gpu": "a GPU"} and room == [("auto", {})]


@pytest.mark.parametrize("where", ["Photo", "Driving video"])
def test_nobody_is_told_with_the_picture_meant(where, monkeypatch):
    def find(self, frame, *_):
        return [] if (frame.shape[1] == 72) == (where == "Photo") else [Region(45, 80, 90, 160)]

    monkeypatch.setattr(Knowing, "find", find)
    with pytest.raises(ValueError, match=f"{where}: Knowing found nobody"):
        run()


def read_again(stream):
    yield pytest.fail("The frames were read again.")


def test_a_dance_that_is_known_is_neither_searched_nor_read_again(monkeypatch):
    whole = ImageStream.__iter__

    def torn(stream):
        yield from whole(stream)
        stream.break_note = "'v' breaks off: its pictures end at 1.00 s of 2.00 s. What could be read is used."

    monkeypatch.setattr(ImageStream, "__iter__", torn)
    first = run()
    assert "Warning: 'v' breaks off" in first[7]
    monkeypatch.setattr(Knowing, "estimate", None)
    monkeypatch.setattr(ImageStream, "__iter__", read_again)
    again = run()
    assert torch.equal(again[0], first[0]) and again[7] == first[7]


def test_images_with_their_rate_are_a_video_and_exactly_one_of_the_two_is_taken():
    images = torch.stack([picture(number, VIDEO_CAMERA) for number in range(FRAMES)])
    from_images = run(video=None, images=images, source_fps=16.0)
    assert torch.equal(from_images[0], run()[0]) and from_images[4] is None
    assert len(run(video=None, images=images, source_fps=32.0)[0]) == FRAMES / 2
    for sources, found in (({"video": None}, "neither images nor video"), ({"images": images}, "both images and vid")):
        with pytest.raises(ValueError, match=f"Poses From Video has {found}"):
            run(**sources)


def test_the_dance_and_its_sound_begin_at_start_seconds():
    class Watching(Knowing):
        fingerprint = "watching-2"

        def find(self, frame, *_):
            seen.append((frame.shape[1], int(frame[0, 0, 0])))
            return super().find(frame)

    seen, whole = [], run()
    later = run(start_seconds=0.125, detector=Watching())
    assert [number for width, number in seen if width == 90] == [2, 3, 4, 5]
    assert len(later[0]) == FRAMES - 2 and later[4]["waveform"].shape[-1] == whole[4]["waveform"].shape[-1] - 200
    with pytest.raises(ValueError, match=r"start_seconds is 9, but the driving video lasts 0.38 s"):
        run(start_seconds=9.0)


def test_a_file_begins_at_start_seconds_and_stays_trimmed():
    path = str(shipped("steadydancer_sample_dance.mp4"))
    trimmed = InputImpl.VideoFromFile(path, start_time=0.5, duration=2.0)
    assert skip_seconds(trimmed, 0.5).get_active_trim_window() == (1.0, 1.5)
    assert skip_seconds(InputImpl.VideoFromFile(path), 0.5).get_active_trim_window() == (0.5, 0.0)
    with pytest.raises(ValueError, match="lasts 2.00 s"):
        skip_seconds(trimmed, 2.0)


@pytest.mark.parametrize(("chosen", "number"), [("largest", 0), ("1", 0), ("2", 1)])
def test_the_person_of_the_video_is_chosen_by_rule_and_by_number(chosen, number):
    clip_of_two = run(detector=Two(), person="all", max_frames=1)[6]
    report = run(detector=Two(), person=chosen)[7]
    assert f"{'person ' * chosen.isdecimal()}{chosen} chosen" in report and from_keypoints(clip_of_two).tracks
    assert ("not seen in 2 of 6 frames" in report) == (number == 0)
    with pytest.raises(ValueError, match="Person in the driving video: There is no person 7: the people here .* 1, 2"):
        run(detector=Two(), person="7")


def test_the_person_of_the_photo_is_chosen_by_number():
    class Pair(Two):
        """Two people in the photo, one in the video."""

        fingerprint = "pair-1"

        def find(self, frame, *_):
            height, width = frame.shape[:2]
            places = (0.25, 0.75) if width == 72 else (0.5,)
            return [Region(width * x, height / 2, width / 4, height) for x in places]

        def estimate(self, frame, regions):
            height, width = frame.shape[:2]
            stands = (CLIPS[width].tracks[0].points[0] - CLIPS[width].tracks[0].points[0, NECK]) * (width, height)
            size = np.array([1.0 if r.x < width * 0.6 else 0.7 for r in regions])[:, None, None]
            scores = np.stack([CLIPS[width].tracks[0].scores[0]] * len(regions))
            return stands * size + [[(r.x, height / 4)] for r in regions], scores

    def places(who):
        return from_keypoints(run(detector=Pair(), photo_person=who)[6]).tracks[0].points[0, NECK, 0]

    assert places("automatic") == places("1") == pytest.approx(0.25, abs=1e-6)
    assert places("2") == pytest.approx(0.75, abs=1e-6)
    with pytest.raises(ValueError, match="Person in the photo: There is no person 3"):
        run(detector=Pair(), photo_person="3")


def test_body_and_head_are_corrected_about_the_neck():
    plain, changed = (
        from_keypoints(run(**how)[6]).tracks[0].points for how in ({}, {"body_x": 0.1, "head_scale": 1.5})
    )
    shift = 0.1 * 128 / 72  # of the frame's width
    assert changed[:, NECK] - plain[:, NECK] == pytest.approx(np.array([[shift, 0.0]] * FRAMES), abs=1e-6)
    nose = [np.linalg.norm((points[0, 0] - points[0, NECK]) * (72, 128)) for points in (plain, changed)]
    assert nose[1] == pytest.approx(1.5 * nose[0], rel=1e-4)


@pytest.mark.parametrize(
    ("size", "drawn"),
    [("576p", (576, 1024)), ("480p", (464, 832)), ("720p", (720, 1280)), ({"width": 96, "height": None}, (96, 160))],
)
def test_a_size_is_an_area_in_the_photos_shape_or_custom(size, drawn):
    chosen = {"size": size} if isinstance(size, str) else {"size": "custom", **size}
    outputs = run(size=chosen, max_frames=5)
    assert outputs[0].shape[1:3] == outputs[1].shape[1:3] == drawn[::-1] and outputs[8].shape == (1, 128, 72, 3)
    assert f"Size of the video: {drawn[0]}x{drawn[1]}." in outputs[7] and "cropped" not in outputs[7]


def test_a_custom_shape_crops_photo_and_skeleton_alike_and_says_so():
    wide = run(size={"size": "custom", "width": 96, "height": 96}, max_frames=5)
    assert wide[0].shape == (5, 96, 96, 3) and wide[8].shape == (1, 72, 72, 3)
    assert "The photo is cropped to the shape of the video: top and bottom 44% of the height are cut." in wide[7]
    whole = run(size={"size": "custom", "width": 96, "height": 170}, max_frames=5)[0]
    assert (wide[0] - whole[:, 32:128]).abs().mean() < 0.02 and wide[0].any()
    with pytest.raises(ValueError, match="There is no size '8K'. Choose one of: 576p, 480p, 720p, custom"):
        run(size={"size": "8K"})


def test_without_a_detector_the_files_of_dwpose_are_used_and_what_does_not_run_is_said(monkeypatch, tmp_path):
    class Files(Knowing):
        name = "DW-Pose (CPU)"

        def __init__(self, *settings):
            if not all(path.read_bytes() for path in settings[:2]):
                raise ValueError("yolox_l.onnx is an empty file.")

    class Bundled(Knowing):
        def __init__(self, *_):
            pass

    monkeypatch.setattr(detector_choice, "DWPose", Files)
    monkeypatch.setattr(detector_choice, "BlazePose", Bundled)
    paths = {kind.file: tmp_path / kind.file for kind in (DWPOSE, YOLOX)}
    monkeypatch.setattr(detector_choice, "path_of", lambda kind, _: paths.get(kind.file))
    for path in paths.values():
        path.write_bytes(b"")
    found, remarks = detector_choice.automatic_detector()
    assert isinstance(found, Bundled) and "hands are not seen. yolox_l.onnx is an empty file." in remarks[0]
    for path in paths.values():
        path.write_bytes(b"x")
    found, remarks = detector_choice.automatic_detector()
    assert isinstance(found, Files) and remarks == []
    before = AnimateFromVideo.fingerprint_inputs()
    del paths[DWPOSE.file]
    found, remarks = detector_choice.automatic_detector()
    assert isinstance(found, Bundled) and "Hands are not seen" in remarks[0]
    assert AnimateFromVideo.fingerprint_inputs() != before
