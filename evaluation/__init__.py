"""How good a finished video is, in numbers: pure functions on frames and keypoints, one dict of figures, one report.

`evaluate.evaluate` measures one clip and returns a flat dict, name to number; `evaluate.measure` gives the values per
frame and the reasons for what was not measured too. `report.write_report` writes one row for each clip, or for each
of many runs, as HTML and Markdown. `catalogue` says what each name means, its unit and which way is better.

Frames are [F, H, W, 3] RGB, floats in 0..1 or uint8; they are read in pieces, so a long clip needs no second copy.
Keypoints are [F, K, 2] in parts of the frame's width and height, with a bool [F, K] that says which are seen.
Nothing here downloads anything: networks come from files that the caller names. The same input gives the same numbers
and the same bytes. PSNR, SSIM and LPIPS are torchmetrics', loaded when first used: it takes seconds.
"""
