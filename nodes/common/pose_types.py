"""What the pose nodes hand to each other."""

from comfy_api.latest import io

PoseKeypoint = io.Custom(
    "POSE_KEYPOINT"
)  # of all packs: a list with one dict per frame, see dwpose/formats/keypoints.py
PoseDetector = io.Custom("STEADYDANCER_POSE_DETECTOR")  # see dwpose/detect/detector.py
