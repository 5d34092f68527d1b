"""What the miniature can do, in figures: pairs of different people with a true answer, baselines, ablations."""
