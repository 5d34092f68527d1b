"""The names of the LoRA files on the way to a node's MODEL, as the prompt has them: a MODEL knows none."""

from collections.abc import Iterator, Mapping

MODEL_INPUT, LORA, OFF = "model", "lora", ("None", "")


def lora_names(prompt: Mapping[str, dict] | None, node_id: str) -> tuple[str, ...]:
    """Return the names in the order in which the LoRAs are applied, () where the prompt is not known.

    prompt: ComfyUI's API form; followed are inputs whose name begins with "model", read those that begin with "lora",
    as text or as the rows of Power Lora Loader ({"on", "lora"}).
    """
    names: list[str] = []
    waiting, seen = [node_id], set()
    while waiting:
        name = waiting.pop()
        if name in seen or not prompt or name not in prompt:
            continue
        seen.add(name)
        inputs = prompt[name].get("inputs", {})
        names = [*_names_in(inputs), *names]
        waiting += [
            value[0]
            for key, value in inputs.items()
            if key.lower().startswith(MODEL_INPUT) and isinstance(value, list) and value
        ]
    return tuple(names)


def _names_in(inputs: Mapping) -> Iterator[str]:
    for key, value in inputs.items():
        if not key.lower().startswith(LORA):
            continue
        if isinstance(value, dict) and value.get("on", True):
            value = value.get(LORA)
        if isinstance(value, str) and value not in OFF:
            yield value
