"""What the pack relies on in ComfyUI is one table, tests/comfyui_contract.json; a ComfyUI that breaks it names the row.

A row holds how a name is called: see comfyui_uses.py, which renews it. Kept by hand are methods of ComfyUI's objects
("method ...") and the methods that the pack's classes override ("def ...").
"""

import importlib
import inspect
import json
import re
import sys
import typing
from typing import Any

import pytest

from steadydancer_pack.tests import comfyui_uses
from steadydancer_pack.tests.pack_nodes import pack_nodes

CONTRACT = json.loads(comfyui_uses.CONTRACT.read_text("utf-8"))
OVERRIDDEN = {name: row for name, row in CONTRACT.items() if row.startswith(comfyui_uses.OVERRIDDEN)}
METHODS = {name: row for name, row in CONTRACT.items() if row.startswith(comfyui_uses.METHOD)}
CORE = "steadydancer_pack.steadydancer_core"
SHAPE = re.compile(r"\(([^)]*)\)")


def found(name: str) -> Any:
    """Return what ComfyUI has under a full name; ImportError or AttributeError for the part that is not there."""
    module, _, rest = name.partition(".")
    thing = importlib.import_module(module)
    for part in rest.split("."):
        module = f"{module}.{part}"
        if not hasattr(thing, part) and inspect.ismodule(thing):
            importlib.import_module(module)
        thing = getattr(thing, part)
    return thing


def parameters(function: Any) -> str:
    """Return the parameters of a function: those with a default as "name="."""
    stars = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}
    rows = inspect.signature(function).parameters.values()
    return ", ".join(stars.get(row.kind, "") + row.name + "=" * (row.default is not row.empty) for row in rows)


def overridden() -> dict[str, str]:
    """Return the rows of ComfyUI's methods that classes of the pack override."""
    pack_nodes()
    modules = [module for name, module in sys.modules.items() if name.startswith(CORE)]
    kinds = {kind for module in modules for kind in vars(module).values() if inspect.isclass(kind)}
    rows = {}
    for kind in (kind for kind in kinds if kind.__module__.startswith(CORE)):
        for name in vars(kind).keys() - {"__init__"}:
            base = next((base for base in kind.__mro__[1:] if name in vars(base)), object)
            if base.__module__.startswith("comfy.") and inspect.isfunction(vars(base)[name]):
                rows[f"{base.__module__}.{base.__qualname__}.{name}"] = f"def ({parameters(vars(base)[name])})"
    return rows


@pytest.mark.parametrize("name", CONTRACT)
def test_comfyui_has_what_the_pack_relies_on(name):
    thing = found(name)
    if name in OVERRIDDEN:
        assert f"def ({parameters(thing)})" == OVERRIDDEN[name]
    elif not inspect.isbuiltin(thing):  # a dict's method has no signature
        for shape in SHAPE.findall(CONTRACT[name]):
            values = shape.split(", ") if shape else []
            names = {value.rstrip("="): None for value in values if value.endswith("=")}
            if typing.is_typeddict(thing):
                assert names.keys() == thing.__required_keys__
                continue
            signature = inspect.signature(thing)
            bind = signature.bind_partial if "..." in values else signature.bind
            bind(*[None] * values.count("_"), **names)


def test_the_table_holds_what_the_code_uses():
    assert {name: row for name, row in CONTRACT.items() if name not in OVERRIDDEN | METHODS} == comfyui_uses.uses()


def test_every_method_of_the_table_is_used():
    code = "\n".join(file.read_text("utf-8") for file in comfyui_uses.files())
    assert [name for name in METHODS if not re.search(rf"\.{name.rpartition('.')[2]}\b", code)] == []


def test_the_table_holds_every_method_that_the_pack_overrides():
    assert overridden() == OVERRIDDEN
