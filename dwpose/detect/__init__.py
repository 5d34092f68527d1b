"""Detectors of people and keypoints in one frame: DW-Pose, BlazePose, and how their networks run."""
