"""Pose: detect, track, refine, align, augment and draw. numpy and cv2 only: no torch, no comfy."""
