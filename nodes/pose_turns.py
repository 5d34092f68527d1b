"""Turns of the driving video: which frames turn away from the camera, and what can be done about them."""

from comfy_api.latest import io

from ..dwpose.edit.facing import FAR, describe_facing, frames_away
from ..dwpose.edit.facing_strip import draw_facing
from ..dwpose.edit.turns import KEEP, TREATMENTS, treat_turns
from ..dwpose.formats.keypoints import to_keypoints
from .common.node_picture import show_picture_and_text
from .common.pose_input import read_poses
from .common.pose_types import PoseKeypoint


class Turns(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SteadyDancerTurns",
            display_name="Turns",
            category="SteadyDancer/pose",
            description=(
                "Shows which frames of a dance turn away from the camera, where the model paints faces on backs, and "
                "can hide the face there, hold the turn, or draw the back as a front."
            ),
            search_aliases=["yaw", "turned back", "facing", "wrong face", "back view", "spin"],
            inputs=[
                PoseKeypoint.Input("poses", tooltip="The dance, from Extract Poses, Refine Poses or Align Poses."),
                io.Combo.Input(
                    "treatment",
                    options=list(TREATMENTS),
                    default=KEEP,
                    tooltip="keep: only report. hide face points: no nose and eyes beyond max_yaw. limit yaw: turn as "
                    "far as max_yaw and stay there. mirror: draw a back as the front view with the same outline.",
                ),
                io.Float.Input(
                    "max_yaw",
                    default=FAR,
                    min=0.0,
                    max=180.0,
                    step=1.0,
                    tooltip="Angle from which a frame is treated, in degrees: 0 faces the camera, 90 is a profile, 180 "
                    "a back. For limit yaw at most 89. Not used by keep and mirror.",
                ),
            ],
            outputs=[
                PoseKeypoint.Output("poses_out", display_name="poses", tooltip="The treated poses."),
                io.String.Output("report", tooltip="For each person, the frames that turn away, before the treatment."),
                io.String.Output(
                    "frames",
                    tooltip="The frames in which somebody turns away, such as 41-58, for Prompt for Frames. Empty if "
                    "nobody does.",
                ),
            ],
        )

    @classmethod
    def execute(cls, poses: list, treatment: str, max_yaw: float) -> io.NodeOutput:
        clip = read_poses(poses)
        treated = treat_turns(clip, treatment, max_yaw)
        text = describe_facing(clip)
        result = poses if treated is clip else to_keypoints(treated)
        shown = show_picture_and_text(cls, draw_facing(clip), text, text)
        return io.NodeOutput(result, text, frames_away(clip), ui=shown)


NODES = [Turns]
