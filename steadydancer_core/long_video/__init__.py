"""Videos longer than the model's 81 frames: windows, chunks, and the seams between them."""
