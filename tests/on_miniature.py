"""API prompts of workflows that name the 14B files, with the miniature in the place of what they need."""

from collections.abc import Mapping

MODEL_FILES = {
    "SteadyDancerLoadModel": {"model_name": "steadydancer_miniature.safetensors"},
    "VAELoader": {"vae_name": "steadydancer_miniature_vae.safetensors"},
}
PASSED = {"LoraLoaderModelOnly": "model"}
LEFT_OUT = {"CLIPVisionLoader": "clip_vision", "CLIPLoader": "clip"}


def on_the_miniature(prompt: dict, instead: Mapping[str, dict]) -> dict:
    """Return the prompt without the nodes that have no miniature; instead: inputs of all others, by their type."""
    through = {key: node["inputs"][PASSED[node["class_type"]]] for key, node in prompt.items() if is_in(node, PASSED)}
    kept = {key: node for key, node in prompt.items() if not is_in(node, PASSED) and not is_in(node, LEFT_OUT)}
    return {key: _changed(node, through, kept, {**MODEL_FILES, **instead}) for key, node in kept.items()}


def is_in(node: dict, kinds: Mapping) -> bool:
    return node["class_type"] in kinds


def _changed(node: dict, through: dict, kept: dict, instead: Mapping[str, dict]) -> dict:
    if node["class_type"] == "CLIPTextEncode":
        which = "negative" if node["_meta"]["title"].startswith("Negative") else "positive"
        inputs = {"file": f"steadydancer_miniature_{which}.safetensors"}
        return {**node, "class_type": "SteadyDancerLoadPromptEmbeddings", "inputs": inputs}
    inputs = {name: through.get(value[0], value) if linked(value) else value for name, value in node["inputs"].items()}
    inputs = {name: value for name, value in inputs.items() if not linked(value) or value[0] in kept}
    return {**node, "inputs": inputs | instead.get(node["class_type"], {})}


def linked(value) -> bool:
    return isinstance(value, list)
