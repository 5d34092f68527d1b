"""Start, stop and talk to a ComfyUI server; edit prompts in API format."""
