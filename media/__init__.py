"""Writing of files, for every package; imports no other package of the pack, neither torch nor ComfyUI."""
