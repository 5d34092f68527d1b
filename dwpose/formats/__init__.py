"""Read and write poses: POSE_KEYPOINT in every dialect, OpenPose JSON files."""
