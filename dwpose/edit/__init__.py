"""Change poses: repair, smooth, complete, start, align and augment."""
