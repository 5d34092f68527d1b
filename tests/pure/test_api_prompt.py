"""api_prompt.py: saved widget values land at the right inputs, and what cannot be sent is refused by name."""

import pytest

from steadydancer_pack.comfy_client.api_prompt import to_api_prompt

FORMATS = [
    {"key": "mp4", "inputs": {"required": {"crf": ["INT", {}], "codec": ["COMBO", {"options": ["h264", "h265"]}]}}},
    {"key": "gif", "inputs": {"required": {"loop": ["INT", {}]}}},
]
OBJECT_INFO = {
    "Photo": {"input": {"required": {"image": [["a.png", "b.png"], {"image_upload": True}]}}},
    "Sampler": {
        "display_name": "The Sampler",
        "input": {
            "required": {"model": ["MODEL", {}], "seed": ["INT", {}], "steps": ["INT", {}]},
            "optional": {"image": ["IMAGE"], "noise": ["FLOAT", {"forceInput": True}], "mode": ["COMBO", {}]},
        },
    },
    "Save": {"input": {"required": {"format": ["COMFY_DYNAMICCOMBO_V3", {"options": FORMATS}], "name": ["STRING"]}}},
}


def convert(*nodes, links=()):
    return to_api_prompt({"nodes": list(nodes), "links": list(links)}, OBJECT_INFO)


def node(kind, values=None, **more):
    return {"id": 1, "type": kind, "widgets_values": values, **more}


def test_seed_control_and_sockets_take_no_value():
    prompt = convert(node("Sampler", [7, "randomize", 20, "fixed"]))
    assert prompt["1"]["inputs"] == {"seed": 7, "steps": 20, "mode": "fixed"}
    assert convert(node("Sampler", [7, 20, "fixed"])) == prompt


def test_an_optional_widget_that_came_after_the_workflow_keeps_its_default():
    assert convert(node("Sampler", [7, 20]))["1"]["inputs"] == {"seed": 7, "steps": 20}


def test_upload_button_takes_no_value():
    assert convert(node("Photo", ["b.png", "image"]))["1"]["inputs"] == {"image": "b.png"}


@pytest.mark.parametrize(
    ("values", "inputs"),
    [
        (["mp4", 19, "h265", "clip"], {"format": "mp4", "format.crf": 19, "format.codec": "h265", "name": "clip"}),
        (["gif", 0, "clip"], {"format": "gif", "format.loop": 0, "name": "clip"}),
        ({"format": "gif", "format.loop": 0, "name": "x"}, {"format": "gif", "format.loop": 0, "name": "x"}),
    ],
)
def test_the_chosen_option_of_a_dynamic_combo_brings_its_inputs(values, inputs):
    assert convert(node("Save", values))["1"]["inputs"] == inputs


def test_a_link_wins_over_the_widget_beneath_it():
    slots = [{"name": "image", "link": 5}, {"name": "steps", "link": 6, "widget": {"name": "steps"}}]
    prompt = convert(
        node("Sampler", [7, "fixed", 20, "a"], inputs=slots),
        node("Photo", ["a.png", "image"]) | {"id": 2},
        links=[[5, 2, 0, 1, 1, "IMAGE"], [6, 2, 1, 1, 2, "INT"]],
    )
    assert prompt["1"]["inputs"] == {"seed": 7, "steps": ["2", 1], "mode": "a", "image": ["2", 0]}


def test_titles_name_the_nodes():
    nodes = node("Photo", ["a.png"], title="Me"), node("Photo", ["a.png"]), node("Sampler", [1, 2, "a"])
    assert [convert(n)["1"]["_meta"]["title"] for n in nodes] == ["Me", "Photo", "The Sampler"]


def enlarger(id, model_link, image_link):
    """A bypassed node whose image comes out as it went in: its first input is of another type."""
    slots = [{"name": "m", "type": "MODEL", "link": model_link}, {"name": "image", "type": "IMAGE", "link": image_link}]
    return {"id": id, "type": "Unknown", "mode": 4, "inputs": slots}


def test_what_goes_into_a_bypassed_node_comes_out_of_it():
    """Through two of them; their own loader, bypassed too, is gone."""
    photo = node("Photo", ["a.png", "image"]) | {"id": 2, "inputs": []}
    sampler = node("Sampler", [7, 20, "a"], inputs=[{"name": "image", "type": "IMAGE", "link": 9}])
    links = [[6, 2, 0, 3, 1, "IMAGE"], [7, 3, 0, 4, 1, "IMAGE"], [8, 5, 0, 3, 0, "MODEL"], [9, 4, 0, 1, 0, "IMAGE"]]
    loader = {"id": 5, "type": "Unknown", "mode": 4, "inputs": []}
    prompt = convert(sampler, photo, enlarger(3, 8, 6), enlarger(4, None, 7), loader, links=links)
    assert set(prompt) == {"1", "2"} and prompt["1"]["inputs"]["image"] == ["2", 0]


def test_a_bypassed_node_without_such_an_input_gives_nothing():
    sampler = node("Sampler", [7, 20, "a"], inputs=[{"name": "image", "type": "IMAGE", "link": 9}])
    loader = {"id": 2, "type": "Unknown", "mode": 4, "inputs": []}
    prompt = convert(sampler, loader, links=[[9, 2, 0, 1, 0, "IMAGE"]])
    assert prompt["1"]["inputs"] == {"seed": 7, "steps": 20, "mode": "a"}


def test_notes_are_left_out():
    assert convert(node("MarkdownNote", ["Read me"]), node("Note", [""])) == {}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (node("Photo", ["a.png"], mode=2), r"Photo \(node 1\) is muted"),
        (node("Reroute"), r"Reroute \(node 1\): this ComfyUI has no such node"),
        (node("Sampler", [7]), r"Sampler \(node 1\): no saved value for widget 'steps'"),
        (node("Photo", ["a.png", "image", "more"]), r"saved values \['more'\] belong to no widget"),
        (node("Save", ["avi", "clip"]), r"Save \(node 1\): 'format' has no option 'avi'"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(bad, message):
    with pytest.raises(ValueError, match=message):
        convert(bad)
