"""The world of the shipped miniature and its sample, until weights trained on training/world take their place."""
