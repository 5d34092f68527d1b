"""How nodes read the POSE_KEYPOINT on their inputs."""

from comfy.model_management import throw_exception_if_processing_interrupted

from ...dwpose.formats.keypoints import from_keypoints
from ...dwpose.poses import PoseClip


def read_poses(data) -> PoseClip:
    """Return the clip that a POSE_KEYPOINT of any pack describes; see `from_keypoints`. Cancel ends it."""
    return from_keypoints(data, throw_exception_if_processing_interrupted)
