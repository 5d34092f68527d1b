"""How good a finished video is, in numbers: pure functions on frames and keypoints, and reports.

`evaluate.evaluate` measures one clip: values by name, curves over the frames, and why the rest was not measured.
`evaluation_report.report_files` makes a report of one row for each clip, or for each of many runs, as HTML, Markdown
and CSV. `metrics` says what each name means, its unit and which way is better.

Frames are [F, H, W, 3] RGB, floats in 0..1 or uint8; they are read in batches, so a long clip needs no second copy.
Keypoints are [F, K, 2] as fractions of the frame's width and height, with a bool [F, K] that says which are seen.
Nothing here downloads anything: networks come from files that the caller names. The same input gives the same numbers
and the same bytes. PSNR, SSIM and LPIPS are torchmetrics', charts are matplotlib's: evaluation/requirements.txt lists
both, and nothing else needs them.
"""
