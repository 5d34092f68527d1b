"""What a bypassed node passes on in place of its outputs: the dance and the video, never the photo's pose."""

from comfy_api.latest import io


def passed_on(schema):
    """Return (output, input) as ComfyUI's page pairs them: the socket of the same place and type, else the first."""
    sockets = [i for i in schema.inputs if not isinstance(i, io.WidgetInput)]
    sockets.sort(key=lambda i: i.optional)
    pairs = []
    for place, output in enumerate(schema.outputs):
        fitting = [i for i in sockets if i.get_io_type() == output.get_io_type()]
        if fitting:
            pairs.append((output, next((i for i in sockets[place : place + 1] if i in fitting), fitting[0])))
    return pairs


def test_a_bypassed_node_passes_the_dance_on(schemas):
    taken = {
        name: i.id
        for name, schema in schemas.items()
        for output, i in passed_on(schema)
        if output.get_io_type() == "POSE_KEYPOINT"
    }
    assert set(taken.values()) == {"poses"} and len(taken) == 9


def test_a_bypassed_node_passes_the_video_and_the_prompts_on(schemas):
    taken = {(name, output.id): i.id for name, schema in schemas.items() for output, i in passed_on(schema)}
    for name in ("SteadyDancerTrimLeadIn", "SteadyDancerExactFirstFrame", "SteadyDancerSeamReport"):
        assert taken[name, "images_out"] == "images"
    for name in ("positive", "negative"):
        assert taken["SteadyDancerReconcileConditions", f"{name}_out"] == name
