"""The inputs that say how a long video is cut into chunks and joined, for the whole sampler and for its parts."""

from comfy_api.latest import io


def length_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "chunk_length", default=81, min=5, max=100001, step=4,
            tooltip="Frames sampled together, 4n+1. The model was trained on 81. Fewer frames need less memory.",
        ),
        io.Int.Input(
            "overlap", default=5, min=1, max=100001, step=4,
            tooltip="Frames of the finished video that the next chunk starts from, 4n+1. 1 carries over the pose, 5 "
            "the motion too. More takes longer.",
        ),
    ]  # fmt: skip


def colour_match_input() -> io.Input:
    return io.Float.Input(
        "colour_match", default=1.0, min=0.0, max=1.0, step=0.05,
        tooltip="Corrects color drift between chunks. 0 = off, for scenes whose light is meant to change.",
    )  # fmt: skip
