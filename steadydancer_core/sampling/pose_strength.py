"""How strongly pose and photo act, as a patch of the MODEL for every sampler; it costs no pass.

    fused    = pose + temporal * TMCM(pose) + spatial * SSAR(pose)
    aligned  = FAAU(fused, noise)
    channels = pose_strength * fused, pose_strength * alignment * aligned     where the patch embedding takes them

pose_strength and alignment are linear in the tokens; spatial and temporal also change what FAAU attends to. Outside its
steps a part of the pose is absent. reference_image_strength is the factor of the photo's values in self-attention, as
in ComfyUI's Wan Animate 2; outside its steps it is 1. All branches of guidance are scaled alike.
"""

from dataclasses import dataclass, field

from comfy.model_patcher import ModelPatcher
from comfy.patcher_extension import WrappersMP

from ..model.pose_modulation import PoseScales
from .guidance_checks import check_is_steadydancer
from .step_position import StepPosition, check_fractions

KEY = "steadydancer_pose_strength"
HIGHEST = 10.0


@dataclass(frozen=True)
class Strength:
    """A factor (1 as trained, 0 to 10) and the fractions of the steps from which and until which it acts."""

    scale: float = 1.0
    start: float = 0.0
    end: float = 1.0

    @property
    def acts_always(self) -> bool:
        """Whether it acts on every step."""
        return self.start == 0 and self.end == 1

    def at(self, position: StepPosition, outside: float) -> float:
        """Return the factor at a position of the run, `outside` where it does not act."""
        return self.scale if position.is_within(self.start, self.end) else outside

    def check(self, name: str) -> None:
        """Raise ValueError, with the name of the part, for a factor or a window out of range."""
        if not 0 <= self.scale <= HIGHEST:
            raise ValueError(
                f"The strength of {name} is {self.scale}; it must be between 0 and {HIGHEST:g}. 1 is as trained."
            )
        check_fractions(f"The strength of {name}", self.start, self.end)


@dataclass(frozen=True)
class PoseStrength:
    """The strengths of the whole pose, of its parts and of the photo. Raises ValueError for one out of range."""

    pose: Strength = field(default_factory=Strength)
    spatial: Strength = field(default_factory=Strength)
    temporal: Strength = field(default_factory=Strength)
    alignment: Strength = field(default_factory=Strength)
    reference_image: Strength = field(default_factory=Strength)

    def __post_init__(self):
        for name, strength in vars(self).items():
            strength.check(name.replace("_", " "))

    @property
    def is_off(self) -> bool:
        """Whether nothing differs from the model as trained."""
        whole = all(strength.acts_always for name, strength in vars(self).items() if name != "reference_image")
        return whole and all(strength.scale == 1 for strength in vars(self).values())

    def pose_scales(self, position: StepPosition) -> PoseScales:
        """Return the factors of the pose stage at a position of the run."""
        return PoseScales(**{name: getattr(self, name).at(position, 0.0) for name in PoseScales._fields})


def patch_strength(model: ModelPatcher, strength: PoseStrength) -> ModelPatcher:
    """Return a clone of `model` with these strengths in any sampler; without a change if they are those of training."""
    check_is_steadydancer(model)
    if model.get_wrappers(WrappersMP.APPLY_MODEL, KEY):
        raise ValueError(
            "This model already carries strengths from a 'Pose Strength' node. Set all strengths in one node and take "
            "the other out."
        )
    patched = model.clone()
    if not strength.is_off:
        patched.add_wrapper_with_key(WrappersMP.APPLY_MODEL, KEY, StrengthWrapper(strength))
    return patched


class StrengthWrapper:
    """Gives each pass the factors of its step."""

    def __init__(self, strength: PoseStrength):
        self.strength = strength

    def __call__(self, executor, x, t, concat, text, control, transformer_options, /, **kwargs):
        position = StepPosition.in_run(
            t, executor.class_obj.model_sampling, {"transformer_options": transformer_options}
        )
        kwargs["pose_scales"] = self.strength.pose_scales(position)
        photo = self.strength.reference_image
        if photo.scale != 1:
            kwargs["photo_strength"] = photo.at(position, 1.0)
        return executor(x, t, concat, text, control, transformer_options, **kwargs)
