"""Sampling: conditions, schedule, decoupled guidance, presets and the log of a run."""
