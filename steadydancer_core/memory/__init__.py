"""Whether a run fits the device, and which weights stay on it."""
