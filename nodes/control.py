"""What steers the model beside guidance, as patches of the MODEL: strengths of pose and photo, a negative prompt."""

from comfy_api.latest import io

from ..steadydancer_core.sampling.nag import NagSettings, patch_nag
from ..steadydancer_core.sampling.pose_strength import HIGHEST, PoseStrength, Strength, patch_strength

CATEGORY = "SteadyDancer/sampling"
NO_PASSES = "It costs no forward pass."


def _strength(name: str, tooltip: str, advanced: bool = False) -> io.Input:
    return io.Float.Input(
        f"{name}_strength", default=1.0, min=0.0, max=HIGHEST, step=0.01, advanced=advanced, tooltip=tooltip
    )


def _percents(name: str, starts: str, ends: str, advanced: bool = False) -> list[io.Input]:
    """Return the fractions of the steps from which and until which `name` acts."""
    sides = (("start", 0.0, starts), ("end", 1.0, ends))
    return [
        io.Float.Input(
            f"{name}{side}_percent", default=value, min=0.0, max=1.0, step=0.01, advanced=advanced, tooltip=tooltip
        )
        for side, value, tooltip in sides
    ]


def _part(name: str, tooltip: str) -> list[io.Input]:
    """Return strength and steps of a part of the pose."""
    starts = "Fraction of the steps from which this part acts; before it, the part is absent."
    ends = "Fraction of the steps until which this part acts; after it, the part is absent."
    return [_strength(name, tooltip, advanced=True), *_percents(f"{name}_", starts, ends, advanced=True)]


class PoseStrengthPatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerPoseStrength",
            display_name="Pose Strength",
            category=CATEGORY,
            description=(
                "Sets how strongly the dance and the photo act on the video, over all steps or some of them. Works "
                f"with every sampler and guider, windows and chunks. {NO_PASSES}"
            ),
            search_aliases=["pose strength", "control strength", "reference strength", "pose weight", "adherence"],
            inputs=STRENGTH_INPUTS,
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer with these strengths.")],
        )

    @classmethod
    def execute(cls, model, **values: float) -> io.NodeOutput:
        strengths = {
            name: Strength(*(values[f"{name}_{value}"] for value in ("strength", "start_percent", "end_percent")))
            for name in PoseStrength.__dataclass_fields__
        }
        return io.NodeOutput(patch_strength(model, PoseStrength(**strengths)))


STRENGTH_INPUTS: list[io.Input] = [
    io.Model.Input("model", tooltip="SteadyDancer, with or without LoRAs."),
    _strength(
        "pose",
        "Scales the influence of the dance on the motion. 1 is as trained; below weakens, above amplifies. 0 takes the "
        "dance out, but the first pose and its CLIP feature stay.",
    ),
    *_percents(
        "pose_",
        "Fraction of the steps from which the pose acts; before it, the pose is absent.",
        "Fraction of the steps until which the pose acts; after it, the pose is absent. Lower follows the dance less.",
    ),
    _strength(
        "reference_image",
        "Scales how strongly all frames attend to the photo. Below 1 loosens identity and appearance, for example to "
        "let the prompt restyle; above tightens them against drift.",
    ),
    *_percents(
        "reference_image_",
        "Fraction of the steps from which reference_image_strength acts; before it, the photo acts as trained.",
        "Fraction of the steps until which reference_image_strength acts; after it, the photo acts as trained.",
        advanced=True,
    ),
    *_part("spatial", "Scales the structure that the model reads inside each pose frame. 1 is as trained."),
    *_part("temporal", "Scales the motion that the model reads across pose frames. 1 is as trained."),
    *_part(
        "alignment",
        "Scales the pose as the model aligned it to the video so far. 1 is as trained. Lower it where a misaligned "
        "dance bends the person.",
    ),
]


class NegativePromptPatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerNAG",
            display_name="Negative Prompt (NAG)",
            category=CATEGORY,
            description=(
                "Lets a negative prompt act at text guidance 1, as with the 4 steps of a step-distilled LoRA, where "
                f"none is computed otherwise. Works with every sampler and guider. {NO_PASSES}"
            ),
            search_aliases=["nag", "normalized attention guidance", "negative prompt", "cfg 1", "lightx2v"],
            inputs=NAG_INPUTS,
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer with this negative prompt.")],
        )

    @classmethod
    def execute(
        cls, model, negative, nag_scale: float, nag_alpha: float, nag_tau: float, start_percent: float,
        end_percent: float,
    ) -> io.NodeOutput:  # fmt: skip
        return io.NodeOutput(
            patch_nag(model, negative, NagSettings(nag_scale, nag_tau, nag_alpha, start_percent, end_percent))
        )


NAG_INPUTS: list[io.Input] = [
    io.Model.Input("model", tooltip="SteadyDancer, with or without LoRAs."),
    io.Conditioning.Input(
        "negative", tooltip="What to avoid: a prompt from CLIP Text Encode or Load Prompt Embeddings, or the negative."
    ),
    io.Float.Input(
        "nag_scale",
        default=10.0,
        min=0.0,
        max=100.0,
        step=0.1,
        tooltip="How far the video is pushed away from the negative prompt. 0 = off. 10 here is 11 in WanVideoNAG.",
    ),
    io.Float.Input(
        "nag_alpha",
        default=0.25,
        min=0.0,
        max=1.0,
        step=0.01,
        tooltip="Share of the pushed result that is mixed in. 0 = off; higher acts more and may disturb the picture.",
    ),
    io.Float.Input(
        "nag_tau",
        default=2.5,
        min=1.0,
        max=10.0,
        step=0.1,
        tooltip="Most by which the push may enlarge a result. Lower is tamer.",
    ),
    *_percents(
        "",
        "Fraction of the steps from which the negative prompt acts.",
        "Fraction of the steps until which the negative prompt acts.",
    ),
]

NODES = [PoseStrengthPatch, NegativePromptPatch]
