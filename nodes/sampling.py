"""Sampling: the whole sampler, and its parts for SamplerCustomAdvanced and for the stock KSampler."""

import comfy.samplers
from comfy_api.latest import io

from ..steadydancer_core.sampling import presets, schedule
from ..steadydancer_core.sampling import run as sampling
from ..steadydancer_core.sampling.guidance import PoseGuidance, TextGuidance
from ..steadydancer_core.sampling.guidance_patch import patch_model
from ..steadydancer_core.sampling.timeline import draw_timeline, timeline
from .common.node_picture import show_picture_of_run
from .common.node_text import show_text

CATEGORY = "SteadyDancer/sampling"


def _conditions() -> list:
    return [
        io.Conditioning.Input("positive", tooltip="From Reconcile Conditions."),
        io.Conditioning.Input("negative", tooltip="From Reconcile Conditions."),
        _pose_negative(optional=True),
    ]


def _pose_negative(optional: bool):
    tooltip = "From Reconcile Conditions. Required unless pose guidance is 0."
    return io.Conditioning.Input("pose_negative", optional=optional, tooltip=tooltip)


def text_guidance_input():
    return io.Float.Input(
        "text_guidance", default=5.0, min=0.0, max=100.0, step=0.1,
        tooltip="Strength of the prompt (CFG). 5 is official. 1 = off: saves nearly half the passes; use it with "
        "few-step LoRAs.",
    )  # fmt: skip


def pose_guidance_inputs() -> list:
    return [
        io.Float.Input(
            "pose_guidance", default=1.0, min=0.0, max=100.0, step=0.1,
            tooltip="Strength of the pose. 1 is official. 0 = off. Costs one extra pass per step between pose_start "
            "and pose_end.",
        ),
        io.Float.Input(
            "pose_start", default=0.1, min=0.0, max=1.0, step=0.01,
            tooltip="Pose guidance starts after this fraction of the steps. The first step counts as 0 and is left "
            "out.",
        ),
        io.Float.Input(
            "pose_end", default=0.4, min=0.0, max=1.0, step=0.01,
            tooltip="Pose guidance stops at this fraction of the steps. Late steps need freedom for detail.",
        ),
    ]  # fmt: skip


# The inputs below came after the first release: optional, so that saved prompts without them still run as they did.
def skip_negative_after_input():
    return io.Float.Input(
        "skip_negative_after", default=1.0, min=0.0, max=1.0, step=0.05, optional=True,
        tooltip="Stop computing the negative prompt after this fraction of the steps and reuse its last difference "
        "(faster). 1 = never stop; 0.5 saves half of its passes.",
    )  # fmt: skip


def pose_every_input():
    return io.Int.Input(
        "pose_every", default=1, min=1, max=1000, optional=True,
        tooltip="Compute pose guidance every Nth step and reuse its last difference in between (faster). 1 = every "
        "step.",
    )  # fmt: skip


def preset_input():
    return io.Combo.Input(
        "preset", options=list(presets.CHOICES), default=presets.OWN_VALUES, optional=True,
        tooltip="A preset replaces steps, guidance, pose_start, pose_end, solver, scheduler, shift and both "
        "shortcuts. 'Fast 4' is for a step-distilled LoRA. 'use the values above' = custom values.",
    )  # fmt: skip


def shift_input():
    return io.Float.Input(
        "shift", default=5.0, min=0.1, max=100.0, step=0.1,
        tooltip="Flow shift: higher spends more steps on large motion and layout. 5 is official; 3 suits 480p.",
    )  # fmt: skip


def seed_input():
    return io.Int.Input(
        "seed", default=0, min=0, max=0xFFFFFFFFFFFFFFFF, control_after_generate=True,
        tooltip="Each seed gives a different video of the same dance.",
    )  # fmt: skip


def solver_input():
    return io.Combo.Input(
        "solver", options=[*schedule.OFFICIAL_SOLVERS, *comfy.samplers.SAMPLER_NAMES],
        tooltip="'official unipc' is what SteadyDancer was published with. Every ComfyUI sampler works too.",
    )  # fmt: skip


def scheduler_input():
    return io.Combo.Input(
        "scheduler", options=[schedule.OFFICIAL_SCHEDULE, *comfy.samplers.SCHEDULER_NAMES],
        tooltip="How the noise level falls from step to step. 'official' follows the solver.",
    )  # fmt: skip


def steps_input():
    return io.Int.Input(
        "steps", default=40, min=1, max=1000, tooltip="40 is official; 4 to 8 with a step-distilled LoRA."
    )


def run_inputs() -> list[io.Input]:
    """Return the inputs that say how a video is sampled."""
    return [
        seed_input(), steps_input(), text_guidance_input(), *pose_guidance_inputs(), solver_input(),
        scheduler_input(), shift_input(),
    ]  # fmt: skip


def shortcut_inputs() -> list[io.Input]:
    """Return the shortcuts of guidance and the preset, which stand last."""
    return [skip_negative_after_input(), pose_every_input(), preset_input()]


def run_settings(
    preset: str, steps: int, text_guidance: float, pose_guidance: float, pose_start: float, pose_end: float,
    solver: str, scheduler: str, shift: float, skip_negative_after: float, pose_every: int,
) -> presets.Settings:  # fmt: skip
    """Return the row of `preset`, or the values of the widgets."""
    return presets.find(preset) or presets.Settings(
        "Custom", steps, TextGuidance(text_guidance, skip_negative_after),
        PoseGuidance(pose_guidance, pose_start, pose_end, pose_every), solver, scheduler, shift,
    )  # fmt: skip


class SteadyDancerSampler(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSampler",
            display_name="SteadyDancer Sampler",
            category=CATEGORY,
            description=(
                "Samples the video with text and pose guidance, and shows what each step computed and how many "
                "forward passes it took. The defaults are the official settings."
            ),
            search_aliases=["ksampler", "pose guidance", "cfg", "preset"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, with or without LoRAs."),
                *_conditions(),
                io.Latent.Input("latent", tooltip="From Reconcile Conditions."),
                *run_inputs(), *shortcut_inputs(),
            ],
            outputs=[io.Latent.Output(display_name="latent", tooltip="The video as a latent, for VAE Decode.")],
        )  # fmt: skip

    @classmethod
    def execute(
        cls, model, positive, negative, latent, seed, steps, text_guidance, pose_guidance, pose_start, pose_end,
        solver, scheduler, shift, pose_negative=None, skip_negative_after=1.0, pose_every=1, preset=presets.OWN_VALUES,
    ) -> io.NodeOutput:  # fmt: skip
        settings = run_settings(
            preset, steps, text_guidance, pose_guidance, pose_start, pose_end, solver, scheduler, shift,
            skip_negative_after, pose_every,
        )  # fmt: skip
        result, report = sampling.run(model, positive, negative, pose_negative, latent, seed, settings)
        show_picture_of_run(draw_timeline(timeline([report.log])))
        return io.NodeOutput(result, ui=show_text(report.text))


class SteadyDancerGuider(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerGuider",
            display_name="SteadyDancer Guider",
            category=CATEGORY,
            description="Text and pose guidance for SamplerCustomAdvanced.",
            search_aliases=["cfg guider", "pose guidance"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer, not patched by Pose Guidance."),
                *_conditions(),
                text_guidance_input(),
                *pose_guidance_inputs(),
                skip_negative_after_input(),
                pose_every_input(),
            ],
            outputs=[io.Guider.Output(display_name="guider", tooltip="For SamplerCustomAdvanced.")],
        )

    @classmethod
    def execute(
        cls, model, positive, negative, text_guidance, pose_guidance, pose_start, pose_end, pose_negative=None,
        skip_negative_after=1.0, pose_every=1,
    ) -> io.NodeOutput:  # fmt: skip
        guidance = PoseGuidance(pose_guidance, pose_start, pose_end, pose_every)
        conditions = positive, negative, pose_negative
        return io.NodeOutput(
            sampling.make_guider(model, *conditions, text_guidance, guidance, skip_negative_after=skip_negative_after)
        )


class PoseGuidancePatch(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerPoseGuidance",
            display_name="Pose Guidance",
            category=CATEGORY,
            description=(
                "Adds pose guidance to the model itself, so that the stock KSampler and other samplers use it. "
                "SteadyDancer Sampler and Guider have their own: do not use both."
            ),
            search_aliases=["ksampler pose cfg"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer."),
                _pose_negative(optional=False),
                *pose_guidance_inputs(),
                pose_every_input(),
            ],
            outputs=[io.Model.Output(display_name="model", tooltip="SteadyDancer with pose guidance.")],
        )

    @classmethod
    def execute(cls, model, pose_negative, pose_guidance, pose_start, pose_end, pose_every=1) -> io.NodeOutput:
        guidance = PoseGuidance(pose_guidance, pose_start, pose_end, pose_every)
        return io.NodeOutput(patch_model(model, pose_negative, guidance))


class SolverAndSchedule(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerSchedule",
            display_name="SteadyDancer Solver and Schedule",
            category=CATEGORY,
            description=(
                "A solver and its noise schedule for SamplerCustomAdvanced: the official ones, or any of ComfyUI's. "
                "The schedule has the model's own shift (5, unless a ModelSamplingSD3 node changes it)."
            ),
            search_aliases=["ksampler select", "basic scheduler", "sigmas", "unipc", "dpm++"],
            inputs=[
                io.Model.Input("model", tooltip="SteadyDancer; its shift is used."),
                solver_input(),
                scheduler_input(),
                steps_input(),
            ],
            outputs=[
                io.Sampler.Output(display_name="sampler", tooltip="For SamplerCustomAdvanced."),
                io.Sigmas.Output(display_name="sigmas", tooltip="For SamplerCustomAdvanced."),
            ],
        )

    @classmethod
    def execute(cls, model, solver, scheduler, steps) -> io.NodeOutput:
        model_sampling = model.get_model_object("model_sampling")
        sigmas = schedule.make_sigmas(model_sampling, solver, scheduler, steps)
        return io.NodeOutput(schedule.make_solver(solver), sigmas)


NODES = [SteadyDancerSampler, SteadyDancerGuider, PoseGuidancePatch, SolverAndSchedule]
