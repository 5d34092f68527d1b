"""The pack's words in other languages: every node, input and output has its label, in Chinese its tooltip too.

The frontend looks for an input below a choice under choice_input. It compiles names and descriptions as messages and
takes tooltips as they are. It reads no labels of a combo's options: these keep their English names, and the tooltip
explains them.
"""

import json
import re
import shutil
from fnmatch import fnmatch
from pathlib import Path

import folder_paths
import pytest
from app.custom_node_manager import CustomNodeManager

from steadydancer_pack.tests.pack_nodes import all_inputs

PACK = Path(__file__).resolve().parents[2]
LOCALES = PACK / "locales"
SCRIPTS = {
    "zh": "[\u4e00-\u9fff]",
    "zh-TW": "[\u4e00-\u9fff]",
    "ja": "[\u3040-\u30ff\u4e00-\u9fff]",
    "ko": "[\uac00-\ud7af]",
}
FILES = ("main", "nodeDefs")
UNTRANSLATED = {"VAE", "Latent"}
CATEGORIES_OF_COMFYUI = {"conditioning", "loaders", "sampling", "video"}
MESSAGE_SYNTAX = set("@{}|")
WIDGETS = {"BOOLEAN", "COMBO", "FLOAT", "INT", "STRING", "COMFY_DYNAMICCOMBO_V3"}
in_every_language = pytest.mark.parametrize("language", SCRIPTS)


def each_key_once(pairs):
    keys = [key for key, _ in pairs]
    assert [key for key in keys if keys.count(key) > 1] == []
    return dict(pairs)


def words(language, name="nodeDefs"):
    return json.loads((LOCALES / language / f"{name}.json").read_text("utf-8"), object_pairs_hook=each_key_once)


def labels(node):
    slots = [*node.get("inputs", {}).values(), *node.get("outputs", {}).values()]
    return [node["display_name"], *(slot["name"] for slot in slots if "name" in slot)]


def tooltips(schemas):
    """Yield every Chinese tooltip with where it stands and the schema's input or output."""
    for name, node in words("zh").items():
        inputs, outputs = node.get("inputs", {}), node.get("outputs", {})
        for key, i in all_inputs(schemas[name]):
            yield f"{name}.{key}", inputs.get(key.replace(".", "_"), {}).get("tooltip", ""), i
        for index, o in enumerate(schemas[name].outputs):
            yield f"{name}.{index}", outputs.get(str(index), {}).get("tooltip", ""), o


def numbers(text):
    return set(re.findall(r"\d+(?:\.\d+)?", text))


def options_in(i):
    """The options that the English tooltip of this input names."""
    named = [o for o in getattr(i, "options", None) or [] if isinstance(o, str)]
    return [o for o in named if re.search(rf"(?<!\w){re.escape(o)}(?!\w)", i.tooltip)]


def test_the_files_are_those_that_comfyui_reads_and_serves(tmp_path, monkeypatch):
    expected = [f"{language}/{name}.json" for language in SCRIPTS for name in FILES]
    assert sorted(path.relative_to(LOCALES).as_posix() for path in LOCALES.rglob("*.*")) == sorted(expected)
    shutil.copytree(LOCALES, tmp_path / "any_name" / "locales")
    monkeypatch.setattr(folder_paths, "get_folder_paths", lambda name: [str(tmp_path)])
    served = CustomNodeManager().build_translations()
    assert served == {lang: words(lang, "main") | {"nodeDefs": words(lang)} for lang in SCRIPTS}


@pytest.mark.parametrize("rules", (".comfyignore", ".gitignore"))
def test_they_are_published_with_the_pack(rules):
    patterns = [line.strip("/") for line in (PACK / rules).read_text("utf-8").split()]
    assert [p for p in patterns if fnmatch("locales", p) or fnmatch("locales/zh/nodeDefs.json", p)] == []


@in_every_language
def test_the_nodes_inputs_and_outputs_are_those_of_the_pack(schemas, language):
    assert set(words(language)) == set(schemas)
    for name, node in words(language).items():
        named = [key for key, slot in node.get("inputs", {}).items() if "name" in slot]
        assert named == [key.replace(".", "_") for key, _ in all_inputs(schemas[name])], name
        numbered = [key for key, slot in node.get("outputs", {}).items() if "name" in slot]
        assert numbered == [str(index) for index in range(len(schemas[name].outputs))], name


@in_every_language
def test_every_label_is_in_its_language_without_the_brackets_of_help_pages_and_message_syntax(language):
    nodes = words(language)
    told = [label for node in nodes.values() for label in labels(node)]
    assert {label for label in told if not re.search(SCRIPTS[language], label)} <= UNTRANSLATED
    on_slots = [label for node in nodes.values() for label in labels(node)[1:]]
    assert [label for label in on_slots if set("\uff08\uff09") & set(label)] == []
    described = told + [node.get("description", "") for node in nodes.values()]
    assert [text for text in described if MESSAGE_SYNTAX & set(text)] == []


@in_every_language
def test_no_two_nodes_and_no_two_inputs_of_a_node_share_a_name(language):
    nodes = words(language)
    groups = [[node["display_name"] for node in nodes.values()]]
    groups += [[slot["name"] for slot in node.get("inputs", {}).values() if "name" in slot] for node in nodes.values()]
    assert [name for names in groups for name in names if names.count(name) > 1] == []


@in_every_language
def test_every_category_has_a_name(schemas, language):
    segments = {segment for schema in schemas.values() for segment in schema.category.split("/")[1:]}
    assert set(words(language, "main")["nodeCategories"]) == segments - CATEGORIES_OF_COMFYUI


def test_no_input_has_a_display_name_that_would_hide_its_label(schemas):
    assert [i.id for schema in schemas.values() for i in schema.inputs if i.display_name] == []


def test_every_description_and_tooltip_is_chinese(schemas):
    told = [(name, node.get("description", "")) for name, node in words("zh").items()]
    told += [(where, text) for where, text, _ in tooltips(schemas)]
    assert [where for where, text in told if not re.search(SCRIPTS["zh"], text)] == []


def test_a_chinese_tooltip_has_the_numbers_and_options_of_the_english_one_and_is_the_same_for_the_same(schemas):
    seen = {}
    for where, text, slot in tooltips(schemas):
        assert numbers(slot.tooltip) - numbers(text) == set(), where
        assert [option for option in options_in(slot) if option not in text] == [], where
        assert seen.setdefault((slot.id, slot.tooltip), text) == text, where


@in_every_language
def test_a_socket_shows_its_tooltip_in_nodes_2_too(schemas, language):
    """Nodes 2.0 looks for the tooltip of an input without a widget under its translated name, else it shows none."""
    for name, node in words(language).items():
        inputs = node.get("inputs", {})
        sockets = [(inputs[i.id], i.tooltip) for i in schemas[name].inputs if i.io_type not in WIDGETS]
        expected = {slot["name"]: {"tooltip": slot.get("tooltip", english)} for slot, english in sockets}
        assert {key: slot for key, slot in inputs.items() if "name" not in slot} == expected, name


SAME = {"SteadyDancer", "LoRA"}  # in every language


@pytest.mark.parametrize("language", [language for language in SCRIPTS if language.startswith("zh")])
def test_titles_groups_and_labels_of_the_workflows_are_chinese_too(language):
    files = [*(PACK / "workflows").glob("*.json"), *(PACK / "subgraphs").glob("*.json")]
    whole = [json.loads(file.read_text("utf-8")) for file in files]
    graphs = [graph for file in whole for graph in (file, *file.get("definitions", {}).get("subgraphs", ()))]
    named = [entry.get("title") for graph in graphs for entry in (*graph["nodes"], *graph.get("groups", ()))]
    ends = [slot for graph in graphs for owner in (graph, *graph["nodes"]) for slot in owner.get("inputs", ())]
    named += [slot.get("label") for slot in ends]
    titles = words(language, "main")["steadydancer"]["titles"]
    assert {name for name in named if name} - SAME == set(titles)
    assert all(re.search(SCRIPTS[language], title) for title in titles.values())
