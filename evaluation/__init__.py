"""How good a finished video is, in numbers: pure functions on frames and keypoints, and reports.

Frames are [F, H, W, 3] RGB, floats in 0..1 or uint8; they are read in batches, so a long clip needs no second copy.
Keypoints are [F, K, 2] as fractions of the frame's width and height, with a bool [F, K] that says which are seen.
Nothing is downloaded: networks come from files that the caller names. LPIPS is torchmetrics', charts are
matplotlib's: evaluation/requirements.txt lists both, and nothing else needs them.
"""
