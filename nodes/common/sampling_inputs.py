"""The inputs that say how a video is sampled, for the samplers, the guider, the schedule and the model patch."""

import comfy.samplers
from comfy_api.latest import io

from ...steadydancer_core.sampling import presets, schedule
from ...steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance


def text_guidance_input() -> io.Input:
    return io.Float.Input(
        "text_guidance",
        default=5.0,
        min=0.0,
        max=100.0,
        step=0.1,
        tooltip="Strength of the prompt (CFG). 5 is official. 1 = off: saves nearly half the passes; use it with "
        "few-step LoRAs.",
    )


def pose_guidance_inputs() -> list[io.Input]:
    return [
        io.Float.Input(
            "pose_guidance",
            default=1.0,
            min=0.0,
            max=100.0,
            step=0.1,
            tooltip="Strength of the pose. 1 is official. 0 = off. Costs one extra pass per step between pose_start "
            "and pose_end.",
        ),
        io.Float.Input(
            "pose_start",
            default=0.1,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Pose guidance starts after this fraction of the steps. The first step counts as 0 and is left "
            "out.",
        ),
        io.Float.Input(
            "pose_end",
            default=0.4,
            min=0.0,
            max=1.0,
            step=0.01,
            tooltip="Pose guidance stops at this fraction of the steps. Late steps need freedom for detail.",
        ),
    ]


def solver_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "solver",
            options=[*schedule.OFFICIAL_SOLVERS, *comfy.samplers.SAMPLER_NAMES],
            tooltip="'official unipc' is what SteadyDancer was published with. Every ComfyUI sampler works too.",
        ),
        io.Combo.Input(
            "scheduler",
            options=[schedule.OFFICIAL_SCHEDULE, *comfy.samplers.SCHEDULER_NAMES],
            tooltip="How the noise level falls from step to step. 'official' follows the solver.",
        ),
    ]


def steps_input() -> io.Input:
    return io.Int.Input(
        "steps", default=40, min=1, max=1000, tooltip="40 is official; 4 to 8 with a step-distilled LoRA."
    )


def run_inputs() -> list[io.Input]:
    """Return the required inputs of a whole run."""
    seed = io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=True,
        tooltip="Each seed gives a different video of the same dance.",
    )
    shift = io.Float.Input(
        "shift",
        default=5.0,
        min=0.1,
        max=100.0,
        step=0.1,
        tooltip="Flow shift: higher spends more steps on large motion and layout. 5 is official; 3 suits 480p.",
    )
    return [seed, steps_input(), text_guidance_input(), *pose_guidance_inputs(), *solver_inputs(), shift]


# The inputs below are optional and stand last, so that saved prompts without them still run as they did.
def skip_negative_after_input() -> io.Input:
    return io.Float.Input(
        "skip_negative_after",
        default=1.0,
        min=0.0,
        max=1.0,
        step=0.05,
        optional=True,
        tooltip="Stop computing the negative prompt after this fraction of the steps and reuse its last difference "
        "(faster). 1 = never stop; 0.5 saves half of its passes.",
    )


def pose_every_input() -> io.Input:
    return io.Int.Input(
        "pose_every",
        default=1,
        min=1,
        max=1000,
        optional=True,
        tooltip="Compute pose guidance every Nth step and reuse its last difference in between (faster). 1 = every "
        "step.",
    )


def shortcut_inputs() -> list[io.Input]:
    """Return the shortcuts of guidance and the preset."""
    preset = io.Combo.Input(
        "preset",
        options=list(presets.CHOICES),
        default=presets.OWN_VALUES,
        optional=True,
        tooltip="A preset replaces steps, guidance, pose_start, pose_end, solver, scheduler, shift and both "
        "shortcuts. 'Fast 4' is for a step-distilled LoRA. 'use the values above' = custom values.",
    )
    return [skip_negative_after_input(), pose_every_input(), preset]


def run_settings(
    steps: int,
    text_guidance: float,
    pose_guidance: float,
    pose_start: float,
    pose_end: float,
    solver: str,
    scheduler: str,
    shift: float,
    skip_negative_after: float = 1.0,
    pose_every: int = 1,
    preset: str = presets.OWN_VALUES,
) -> presets.Settings:
    """Return the row of `preset`, or the values of the widgets."""
    row = presets.find(preset)
    if row:
        return row
    text = TextGuidance(text_guidance, skip_negative_after)
    pose = PoseGuidance(pose_guidance, pose_start, pose_end, pose_every)
    return presets.Settings("Custom", steps, text, pose, solver, scheduler, shift)
