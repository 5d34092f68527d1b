"""Where the value of a node's input comes from, as the prompt has it: a value does not know its way."""

from collections.abc import Collection, Mapping


def nearest_nodes(prompt: Mapping[str, dict] | None, node_id: str, name: str, kinds: Collection[str]) -> set[str]:
    """Return the ids of the nodes of `kinds` on the way to input `name` of a node, none that lies behind another.

    prompt: ComfyUI's API form; nothing is found where it is not known, as in an expanded loop.
    """
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [(prompt or {}).get(node_id, {}).get("inputs", {}).get(name)]
    while waiting:
        link = waiting.pop()
        source = link[0] if isinstance(link, list) and link else None
        if not prompt or not isinstance(source, str) or source in seen or source not in prompt:
            continue
        seen.add(source)
        if prompt[source].get("class_type") in kinds:
            found.add(source)
        else:
            waiting += prompt[source].get("inputs", {}).values()
    return found
