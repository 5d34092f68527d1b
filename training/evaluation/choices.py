"""What the evaluation's commands offer and assume; without PyTorch, which the command's help must not wait for."""

FINAL = "stage3"
WORLD_NAMES = NEW_WORLD, OLD_WORLD = "new", "old"
# of a sweep
STEPS, SHIFTS, WINDOWS, SCALES = (2, 4, 6, 8, 12), (3.0, 5.0, 8.0), ((0.1, 0.4), (0.0, 1.0)), (1.0,)
