"""Small pictures that nodes show of what they did, wide rather than high: legible at the width of a node."""
