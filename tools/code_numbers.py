"""Print the size and the structure of the code base: `python -m tools.code_numbers [folder of a checkout]`.

One-use functions are private functions and methods (`_x`) that their file refers to exactly once.
"""

import argparse
import ast
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

PACK = Path(__file__).resolve().parent.parent
# Order of imports: a package imports those before it, never one after it.
ORDER = (
    "media", "dwpose/packages", "dwpose", "dwpose/detect", "dwpose/track", "dwpose/edit", "dwpose/formats",
    "dwpose/pipeline", "steadydancer_core/model", "steadydancer_core/weights", "steadydancer_core/memory",
    "steadydancer_core/sampling", "steadydancer_core/long_video", "steadydancer_core", "comfy_client", "miniature",
    "evaluation", "evaluation/farm", "doctor", "nodes/common", "nodes", "training", "tools", "benchmarks", "tests",
)  # fmt: skip
TRANSFORMER = "steadydancer_core/model/transformer.py"
LONGEST_FUNCTION = 50
SAME_NAME_ALLOWED = {"__init__.py", "__main__.py"}
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class CodeBase:
    """The Python files below `root`, by their name relative to it."""

    def __init__(self, root: Path):
        packages = [path for path in sorted(root.iterdir()) if path.is_dir() and path.name[0] not in "._"]
        files = [*root.glob("*.py"), *(file for package in packages for file in sorted(package.rglob("*.py")))]
        self.root = root
        self._nodes: dict[str, list[ast.AST]] = {}
        self.texts = {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in files}
        self.product = [name for name in self.texts if "/" in name and not name.startswith("tests/")]

    def nodes(self, name: str) -> list[ast.AST]:
        """Return all nodes of a file's syntax tree."""
        if name not in self._nodes:
            self._nodes[name] = list(ast.walk(ast.parse(self.texts[name])))
        return self._nodes[name]

    def lines(self) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for name, text in self.texts.items():
            counts[name.partition("/")[0] if "/" in name else "."] += len(text.splitlines())
        return dict(counts)

    def one_use(self) -> list[str]:
        """Return 'file:line name' of the product's private functions that are referred to once."""
        return [found for name in self.product for found in _one_use(name, self.nodes(name))]

    def one_use_per_thousand(self) -> float:
        lines = sum(len(self.texts[name].splitlines()) for name in self.product)
        return 1000 * len(self.one_use()) / lines

    def long_functions(self) -> list[str]:
        """Return 'file:line name' of the product's functions with more than LONGEST_FUNCTION lines."""
        return [
            f"{name}:{node.lineno} {node.name}"
            for name in self.product
            for node in self.nodes(name)
            if isinstance(node, FUNCTIONS) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
        ]

    def conditional_repeats(self) -> list[str]:
        """Return 'file:line' where the product multiplies a list, tuple or text by a condition."""
        return [f"{name}:{line}" for name in self.product for line in _conditional_repeats(self.nodes(name))]

    def same_names(self) -> dict[str, list[str]]:
        """Return the product's file names that occur in more than one folder, with those folders."""
        folders = defaultdict(list)
        for name in self.product:
            folder, _, file = name.rpartition("/")
            folders[file].append(folder)
        return {file: found for file, found in folders.items() if len(found) > 1 and file not in SAME_NAME_ALLOWED}

    @cached_property
    def imports(self) -> dict[str, set[str]]:
        """The files of the code base that each file imports, inside its functions too."""
        return {name: set(self._imported(name)) for name in self.texts}

    def _imported(self, name: str) -> Iterator[str]:
        folder = name.split("/")[:-1]
        for node in self.nodes(name):
            if not isinstance(node, ast.ImportFrom):
                continue
            base = folder[: len(folder) + 1 - node.level] if node.level else []
            base = [*base, *(node.module.split(".") if node.module else [])]
            if base[:1] == ["steadydancer_pack"]:
                base = base[1:]
            for alias in node.names:
                found = self._file_of([*base, alias.name]) or self._file_of(base)
                if found and found != name:
                    yield found

    def _file_of(self, parts: list[str]) -> str | None:
        path = "/".join(parts)
        return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in self.texts), None)

    def closure(self, name: str) -> list[str]:
        """Return the files that importing `name` needs, itself included."""
        return sorted({name} | _reachable(name, self.imports))

    def upward_imports(self) -> list[str]:
        """Return 'file -> file' of the product's imports from a package that stands later in ORDER."""
        return [
            f"{name} -> {target}"
            for name in self.product
            for target in sorted(self.imports[name])
            if _rank(target) > _rank(name)
        ]

    def cycles(self) -> list[list[str]]:
        return _cycles({name: self.imports[name] for name in self.product})

    def package_cycles(self) -> list[list[str]]:
        folders: dict[str, set[str]] = defaultdict(set)
        for name in self.product:
            folders[_package(name)] |= {_package(target) for target in self.imports[name]} - {_package(name)}
        return _cycles(folders)

    def words(self, page: str) -> int:
        file = self.root / page
        return len(file.read_text("utf-8").split()) if file.is_file() else 0


def _one_use(name: str, nodes: list[ast.AST]) -> Iterator[str]:
    names = (node.id for node in nodes if isinstance(node, ast.Name))
    uses = Counter(names) + Counter(node.attr for node in nodes if isinstance(node, ast.Attribute))
    for node in nodes:
        private = isinstance(node, FUNCTIONS) and node.name.startswith("_") and not node.name.startswith("__")
        if private and uses[node.name] == 1:
            yield f"{name}:{node.lineno} {node.name}"


def _conditional_repeats(nodes: list[ast.AST]) -> Iterator[int]:
    conditions = set(_names_of_conditions(nodes))
    for node in nodes:
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
            for repeated, times in ((node.left, node.right), (node.right, node.left)):
                is_text = isinstance(repeated, ast.Constant) and isinstance(repeated.value, str)
                is_sequence = is_text or isinstance(repeated, (ast.List, ast.ListComp, ast.Tuple, ast.JoinedStr))
                if is_sequence and _is_condition(times, conditions):
                    yield node.lineno


def _names_of_conditions(nodes: list[ast.AST]) -> Iterator[str]:
    for node in nodes:
        if isinstance(node, ast.arg) and isinstance(node.annotation, ast.Name) and node.annotation.id == "bool":
            yield node.arg
        if isinstance(node, ast.Assign) and _is_condition(node.value, set()):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _is_condition(node: ast.AST, names: set[str]) -> bool:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
        return node.func.id in ("bool", "isinstance", "any", "all", "callable", "hasattr")
    if isinstance(node, ast.Name):
        return node.id in names
    return isinstance(node, (ast.Compare, ast.BoolOp)) or (
        isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not)
    )


def _package(name: str) -> str:
    """Return the package in ORDER that a file is (`dwpose/pipeline.py`) or lies in, its folder if there is none."""
    folder = name.rpartition("/")[0]
    parents = [name.removesuffix(".py"), folder, *(parent.as_posix() for parent in Path(folder).parents)]
    return next((parent for parent in parents if parent in ORDER), folder)


def _rank(name: str) -> int:
    """Return the place of a file's package in ORDER."""
    package = _package(name)
    return ORDER.index(package) if package in ORDER else len(ORDER)


def _cycles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of names that reach each other."""
    reach = {name: _reachable(name, imports) for name in imports}
    groups = {tuple(sorted(other for other in reach[name] if name in reach.get(other, ()))) for name in imports}
    return [list(group) for group in sorted(groups) if group]


def _reachable(name: str, imports: dict[str, set[str]]) -> set[str]:
    found: set[str] = set()
    left = [name]
    while left:
        new = imports.get(left.pop(), set()) - found
        found |= new
        left += new
    return found


def report(code: CodeBase) -> str:
    lines = code.lines()
    product = sum(count for package, count in lines.items() if package != "tests")
    parts = [
        _section("Lines per package", (f"{package}: {count}" for package, count in sorted(lines.items()))),
        f"Lines of the product: {product}, of the tests: {lines.get('tests', 0)}",
        f"One-use private functions per 1,000 lines: {code.one_use_per_thousand():.1f}",
        _section("One-use private functions", code.one_use()),
        _section(f"Functions over {LONGEST_FUNCTION} lines", code.long_functions()),
        _section("Sequences times a condition", code.conditional_repeats()),
        _section("Upward imports", code.upward_imports()),
        _section("Cycles of files", map(" ".join, code.cycles())),
        _section("Cycles of packages", map(" ".join, code.package_cycles())),
        _section(f"Files behind {TRANSFORMER}", code.closure(TRANSFORMER) if TRANSFORMER in code.texts else ()),
        _section("File names in several folders", (f"{k}: {', '.join(v)}" for k, v in code.same_names().items())),
        f"Words: README {code.words('README.md')}, CONTRIBUTING {code.words('CONTRIBUTING.md')}",
    ]
    return "\n".join(parts)


def _section(title: str, entries: Iterable[str]) -> str:
    entries = list(entries)
    return "\n  ".join([f"{title}: {len(entries)}", *entries])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=Path, default=PACK)
    sys.stdout.write(f"{report(CodeBase(parser.parse_args().root))}\n")


if __name__ == "__main__":
    main()
