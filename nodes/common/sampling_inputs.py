"""The inputs that say how a video is sampled, for the samplers, the guider, the schedule and the model patch."""

from collections.abc import Mapping

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


def shift_input() -> io.Input:
    return io.Float.Input(
        "shift",
        default=5.0,
        min=0.1,
        max=100.0,
        step=0.1,
        tooltip="Flow shift: higher spends more steps on large motion and layout. 5 is official; 3 suits 480p.",
    )


def run_inputs() -> list[io.Input]:
    """Return the required inputs of a whole run: its preset and its seed."""
    values = [
        steps_input(), text_guidance_input(), *pose_guidance_inputs(), *solver_inputs(), shift_input(),
        skip_negative_after_input(), pose_every_input(),
    ]  # fmt: skip
    for value in values:
        value.optional = True  # the page leaves values out where it shows another choice
    preset = io.DynamicCombo.Input(
        "preset",
        options=[io.DynamicCombo.Option(name, values if name == presets.CUSTOM else []) for name in presets.CHOICES],
        tooltip="Steps, guidance, solver and schedule in one choice. 'Official 40': as published. 'Balanced 20': half "
        "the steps. 'Fast 6' and 'Fast 4': only with a step-distilled LoRA, the negative prompt has no effect. "
        "'Custom': your own values.",
    )
    return [preset, seed_input()]


def seed_input() -> io.Input:
    return io.Int.Input(
        "seed",
        default=0,
        min=0,
        max=0xFFFFFFFFFFFFFFFF,
        control_after_generate=True,
        tooltip="Each seed gives a different video of the same dance.",
    )


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


def run_settings(preset: Mapping | None) -> presets.Settings:
    """Return the row of the preset chosen, or the values that stand below Custom; those not given are official."""
    # ComfyUI passes no choice that it does not know, and None for a value that is not given.
    values = {key: value for key, value in (preset or {}).items() if value is not None}
    name = values.get("preset")
    row = presets.find(name)
    if row:
        return row
    official, given = presets.ROWS[0], values.get
    text = TextGuidance(given("text_guidance", official.text.scale), given("skip_negative_after", 1.0))
    window = given("pose_start", official.pose.start), given("pose_end", official.pose.end)
    pose = PoseGuidance(given("pose_guidance", official.pose.scale), *window, given("pose_every", 1))
    return presets.Settings(
        presets.CUSTOM, given("steps", official.steps), text, pose, given("solver", official.solver),
        given("scheduler", official.scheduler), given("shift", official.shift),
    )  # fmt: skip
