"""Files and media that every package may use; imports no other package of the pack, no torch and no ComfyUI."""
