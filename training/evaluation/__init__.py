"""What the miniature can do, in metrics: pairs of different people with a true answer, baselines, ablations."""
