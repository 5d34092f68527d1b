"""Find people in every frame of a video and follow each of them by identity."""
