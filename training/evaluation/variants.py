"""What is compared: the shipped pipeline, and the pipeline with one thing left out or replaced.

`zeroed` modules are those of the trained network with their output set to zero, not networks trained without them.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from ...dwpose.poses import PoseClip
from ...steadydancer_core.sampling.guidance import PoseGuidance
from ...steadydancer_core.sampling.presets import Settings
from .pairs import Pair
from .system import SETTINGS, aligned, shuffled

SHUFFLE_SEED = 3
BESIDE = {"stage3_without_2": ("stage3", "stage1"), "stage3_plain": ("stage3", "stage2_plain")}  # stage, and before it
Poses = Callable[[Pair], PoseClip]


@dataclass(frozen=True)
class Variant:
    """One column of a table. weights: the stage whose result is used; zeroed: modules whose output is nothing."""

    name: str
    weights: str = "stage3"
    poses: Poses = aligned
    settings: Settings = SETTINGS
    zeroed: tuple[str, ...] = ()


def _guided(scale: float, start: float = 0.1, end: float = 0.4) -> Settings:
    return replace(SETTINGS, pose=PoseGuidance(scale, start, end))


def unaligned(pair: Pair) -> PoseClip:
    """Return the driver's poses as they are."""
    return pair.driver.poses


def official(pair: Pair) -> PoseClip:
    """Return the driver's poses aligned as published."""
    return aligned(pair, "official")


def in_any_order(pair: Pair) -> PoseClip:
    """Return the aligned poses, shuffled in time."""
    return shuffled(aligned(pair), SHUFFLE_SEED)


SHIPPED = Variant("shipped")
SHUFFLED = Variant("shuffled poses", poses=in_any_order)
VARIANTS = (
    SHIPPED,
    SHUFFLED,
    Variant("no alignment", poses=unaligned),
    Variant("official alignment", poses=official),
    Variant("no pose guidance", settings=_guided(0)),
    Variant("pose guidance all the time", settings=_guided(1, 0.0, 1.0)),
    Variant("SSAR zeroed", zeroed=("condition_embedding_spatial",)),
    Variant("TMCM zeroed", zeroed=("condition_embedding_temporal",)),
    Variant("FAAU zeroed", zeroed=("condition_embedding_align",)),
    Variant("stage 1 only", weights="stage1"),
    Variant("without stage 2", weights="stage3_without_2"),
    Variant("plain distillation", weights="stage3_plain"),
    Variant("plain distillation, no stage 3", weights="stage2_plain"),
    Variant("without stage 3", weights="stage2"),
)


def command_for(weights: str, work: str = "WORK") -> str:
    """Return the command that makes the weights of a variant."""
    stage, before = BESIDE.get(weights, (weights, ""))
    options = f" --before {before} --output {weights}" if before else ""
    return f"python -m training {stage} {work}{options}"
