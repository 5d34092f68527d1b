"""The pose pipeline: a photo and a driving video in, aligned poses, their pose-negative and drawn frames out.

Frames come as streams of NumPy arrays; progress, interrupts and room on the GPU are callbacks of the caller.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Sequence
from dataclasses import asdict, dataclass, field, replace
from queue import SimpleQueue
from typing import NamedTuple, Protocol

import numpy as np

from ..media.frame_size import aspect_difference, choose_size, default_size
from ..media.log import logger
from ..media.threads import map_in_threads, thread_count
from .detect.detector import Detector
from .draw import OFFICIAL, Style, draw_frame
from .edit.align import Alignment, Request, align
from .edit.anchor import AT_NECK, FIRST
from .edit.augment import augment
from .edit.corrections import Corrections
from .edit.lead_in import lead_in
from .edit.refine import refine
from .large_canvas import LargeCanvas, canvas_bytes
from .poses import PoseClip
from .track.extract import METHOD, ExtractSettings, apply_nobody_rule, extract
from .track.pick import ALL, pick
from .track.pose_cache import PoseCache, SeenVideo, cache_key
from .track.preview import Preview

AUTOMATIC = "automatic"  # of the photo's people as many as are needed
GAP_FRAMES = 5
# A drawing may differ from the poses' aspect by this much to have exactly the requested size. The poses' aspect differs
# from the photo's by as much again, and Reconcile Conditions takes both together up to MAX_ASPECT_DIFFERENCE.
MAX_STRETCH = 0.04


class FrameStream(Protocol):
    """Frames uint8 [height, width, 3] RGB at a constant rate, as a stream of media.video_stream."""

    width: int
    height: int
    fps: float
    frames: int  # as announced: there may be more or fewer
    note: str  # what the user should know, or ""
    break_note: str  # the same, known after the last frame

    def __iter__(self) -> Generator[np.ndarray, None, None]: ...
    def displayed(self, pixels: np.ndarray) -> np.ndarray: ...
    def fingerprint(self) -> str: ...


class Callbacks(NamedTuple):
    """What is called during the work; an exception from any of them ends it.

    progress: after each frame, with the number of frames done and in all. check: during a long search of one frame.
    make_room: makes room on the GPU for a detector that is about to use it.
    """

    progress: Callable[[int, int], None] = lambda _done, _total: None
    check: Callable[[], None] | None = None
    make_room: Callable[[], None] = lambda: None


SILENT = Callbacks()


class Processing(NamedTuple):
    """What a mode does between a frame and the alignment. then: what becomes of frames that lack the person."""

    detection: ExtractSettings
    nobody_rule: str
    gap_frames: int
    smooths: bool
    repair_swaps: bool
    then: str
    note: str = ""


PROCESSING = {
    "robust": Processing(
        ExtractSettings(detect_every=5, max_people=4),
        "hold",
        GAP_FRAMES,
        smooths=True,
        repair_swaps=True,
        then=f". Gaps of up to {GAP_FRAMES} frames are filled in; in longer ones the last pose is held",
    ),
    "official": Processing(
        ExtractSettings(detect_every=1, max_people=4, follow=False),
        "blank",
        gap_frames=0,
        smooths=False,
        repair_swaps=False,
        then=". No skeleton is drawn in those",
        note="official: detected in every frame; nothing is smoothed, repaired or filled in, whatever smoothing says.",
    ),
}


@dataclass(frozen=True)
class PoseOptions:
    """What is made of a photo and a driving video.

    person, photo_person: a rule of `pick`, or a person's number as text; photo_person AUTOMATIC leaves everybody in.
    mode: of the alignment (see `Request`), and a key of PROCESSING. anchor, meet_at, corrections: see `Request`.
    smoothing: 0..1. lead_in: frames before the dance, AUTO as many as needed. max_frames: of the video, 0 for all.
    seed: of the pose-negative.
    """

    person: str = "largest"
    mode: str = "robust"
    smoothing: float = 0.5
    lead_in: int = 0
    max_frames: int = 0
    anchor: str = FIRST
    meet_at: str = AT_NECK
    seed: int = 0
    photo_person: str = AUTOMATIC
    corrections: Corrections = field(default_factory=Corrections)


class Poses(NamedTuple):
    """Poses aligned to a photo, and their pose-negative; both begin with `lead_in` frames of lead-in.

    photo, seen: everybody detected in the photo and in the driving video, in their own frames. dance: those of the
    video who are followed, refined.
    """

    clip: PoseClip
    pose_negative: PoseClip
    alignment: Alignment
    lead_in: int
    notes: list[str]
    photo: PoseClip
    seen: PoseClip
    dance: PoseClip


def compute_poses(
    photo: FrameStream,
    video: FrameStream,
    detector: Detector,
    options: PoseOptions,
    cache: PoseCache | None,
    callbacks: Callbacks = SILENT,
) -> Poses:
    """Return the poses of `video`, aligned to the person in `photo`, at the default size of the photo's aspect.

    ValueError if nobody is detected in either, or where nobody can be aligned.
    """
    if options.mode not in PROCESSING:
        raise ValueError(f"Unknown mode '{options.mode}'. Choose one of {', '.join(PROCESSING)}.")
    processing = PROCESSING[options.mode]
    settings = processing.detection
    in_photo = _detect("Photo: ", photo, detector, replace(settings, max_frames=1), cache, callbacks).clip
    standing = _choose("photo", in_photo, options.photo_person)
    settings = replace(settings, max_frames=options.max_frames)
    seen = _detect("Driving video: ", video, detector, settings, cache, callbacks)
    chosen = _choose("driving video", seen.clip, options.person)
    present = apply_nobody_rule(chosen, processing.nobody_rule)
    smoothing = options.smoothing if processing.smooths else 0.0
    dance = refine(present, processing.gap_frames, smoothing, processing.repair_swaps)
    size = default_size(photo.width, photo.height)
    request = Request(
        size, options.mode, corrections=options.corrections, anchor_rule=options.anchor, meet_at=options.meet_at
    )
    alignment = align(standing, dance, request)
    clip = lead_in(alignment.clip, standing, options.lead_in) if options.lead_in else alignment.clip
    notes = [detector.name, *detector.notes, *filter(None, [processing.note, video.note])]
    person = f"person {options.person}" if options.person.isdecimal() else options.person
    notes.append(f"Frames: {clip.frames} at {video.fps:.5g} fps. People: {len(seen.clip.tracks)}, {person} chosen.")
    who = "nobody is" if options.person == ALL else "the person chosen is not"
    notes += detection_warnings(seen.note, chosen, who, processing.then)
    lead = clip.frames - dance.frames
    return Poses(clip, augment(clip, options.seed), alignment, lead, notes, in_photo, seen.clip, dance)


def _choose(where: str, clip: PoseClip, who: str) -> PoseClip:
    """Return the clip with the person of that number or rule; ValueError that says where there is no such person."""
    if who == AUTOMATIC:
        return clip
    try:
        return pick(clip, "number", int(who)) if who.isdecimal() else pick(clip, who)
    except ValueError as error:
        raise ValueError(f"Person in the {where}: {error}") from error


def _detect(
    where: str,
    stream: FrameStream,
    detector: Detector,
    settings: ExtractSettings,
    cache: PoseCache | None,
    callbacks: Callbacks,
) -> SeenVideo:
    try:
        return detect_people_cached(stream, detector, settings, cache, callbacks)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from error


def detect_people_cached(
    stream: FrameStream,
    detector: Detector,
    settings: ExtractSettings,
    cache: PoseCache | None,
    callbacks: Callbacks = SILENT,
    preview: Preview | None = None,
) -> SeenVideo:
    """Return the people in a stream, and fill `preview`.

    The frames are read only if the cache does not hold their people, or holds no pictures for `preview`.
    """
    if cache is None:
        return _read(stream, detector, settings, callbacks, preview)
    decisive = {"method": METHOD, "video": stream.fingerprint(), "fps": stream.fps, "detector": detector.fingerprint}
    key = cache_key(**decisive, **asdict(settings))
    seen = cache.load(key)
    if seen is not None:
        logger.info("The poses of this video come from the cache.")
    if seen is None or (preview and seen.pictures is None):
        seen = _read(stream, detector, settings, callbacks, preview, seen and seen.clip)
        cache.store(key, seen)
    elif preview and seen.pictures:
        preview.kept = seen.pictures
    return seen


def _read(
    stream: FrameStream,
    detector: Detector,
    settings: ExtractSettings,
    callbacks: Callbacks,
    preview: Preview | None,
    clip: PoseClip | None = None,
) -> SeenVideo:
    """Return the people in the frames. If `clip` holds them already, the frames are read for `preview` alone."""
    total = min(stream.frames, settings.max_frames or stream.frames)

    def on_frame(index: int, frame: np.ndarray, *_) -> None:
        callbacks.progress(index + 1, max(total, index + 1))
        if preview:
            preview.add(index, frame)

    with contextlib.closing(iter(stream)) as frames:
        if clip is None:
            detector.prepare(callbacks.make_room)
            clip = extract(frames, detector, settings, on_frame, callbacks.check)
        else:
            for index, frame in enumerate(itertools.islice(frames, settings.max_frames or None)):
                on_frame(index, frame)
    if preview:
        preview.kept = {index: stream.displayed(picture) for index, picture in preview.kept.items()}
    return SeenVideo(clip, stream.break_note, preview.kept if preview else None)


def detection_warnings(break_note: str, clip: PoseClip, who: str, then: str) -> list[str]:
    """Return what a video lacks: its end, and somebody in some of its frames.

    who: "nobody is", or who is not; then: what becomes of those frames, with the sign that joins it to the sentence.
    """
    empty = int((~clip.present).sum())
    notes = [break_note] if break_note else []
    if empty:
        notes.append(f"{who} seen in {empty} of {clip.frames} frames{then}.")
    return [f"Warning: {note}" for note in notes]


def drawing_size(clips: Sequence[PoseClip], width: int, height: int) -> tuple[int, int]:
    """Return the (width, height) to draw at, so that Reconcile Conditions, which crops to its own, shrinks nothing.

    clips: the poses, and their pose-negative or nothing. 0 for one side follows the poses' aspect, 0 for both takes
    their size. ValueError for clips without frames, and for clips that do not match.
    """
    clip, *negatives = clips
    for other in negatives:
        if (other.width, other.height, other.frames) != (clip.width, clip.height, clip.frames):
            raise ValueError(
                f"The negative poses are {other.frames} frames of {other.width}x{other.height}, the poses are "
                f"{clip.frames} of {clip.width}x{clip.height}. Give Augment Poses the same poses as Draw Poses."
            )
    if not clip.frames:
        raise ValueError("The poses have no frames. Connect the poses of Align Poses or Extract Poses.")
    if not width and not height:
        return clip.width, clip.height
    width, height = choose_size(clip.width, clip.height, width, height)
    if aspect_difference((clip.width, clip.height), (width, height)) <= MAX_STRETCH:
        return width, height
    scale = max(width / clip.width, height / clip.height)
    return round(clip.width * scale), round(clip.height * scale)


def on_canvas(clip: PoseClip, size: tuple[int, int], kept: tuple[float, float]) -> PoseClip:
    """Return the clip on a canvas of `size` (width, height) that shows the fractions `kept` of its own, centered.

    Drawn at that size it lies where a drawing for that size, see `drawing_size`, lies when it is cropped to `kept`.
    """
    drawn = np.array(drawing_size([clip], *size))
    shown = (drawn * kept).round()
    points = ((track.points * drawn - (drawn - shown) // 2) / shown for track in clip.tracks)
    tracks = tuple(replace(track, points=moved) for track, moved in zip(clip.tracks, points, strict=True))
    return replace(clip, width=size[0], height=size[1], tracks=tracks)


def draw_poses(
    clips: Sequence[PoseClip], size: tuple[int, int], style: Style = OFFICIAL, callbacks: Callbacks = SILENT
) -> list[np.ndarray]:
    """Return the drawn frames of each clip as float32 [F, height, width, 3] RGB in 0..1 of `size` (width, height).

    Threads share the frames. Memory is taken for what is not black; MemoryError if there is not enough.
    """
    width, height = size
    images = [np.zeros((clip.frames, height, width, 3), np.float32) for clip in clips]
    frames = [
        (clip, frame, image[frame]) for clip, image in zip(clips, images, strict=True) for frame in range(clip.frames)
    ]
    threads = thread_count(canvas_bytes(width, height))
    canvases: SimpleQueue[LargeCanvas] = SimpleQueue()
    for _ in range(threads):
        canvases.put(LargeCanvas(width, height))

    def draw(task: tuple[PoseClip, int, np.ndarray]) -> None:
        canvas = canvases.get()
        try:
            draw_frame(*task, canvas, style)
        finally:
            canvases.put(canvas)

    with contextlib.closing(map_in_threads(draw, frames, threads)) as drawn:
        for done, _ in enumerate(drawn, 1):
            callbacks.progress(done, len(frames))
    return images
