"""SteadyDancer as a ComfyUI model: transformer, pose modulation, model base and memory estimate."""
