"""The size budget and the signature rules that no linter has. Prints complaints, one a line.

A module has at most 400 lines, a function 40; no `Any` and no `dict[str, Any]` in a signature; at
most 20 public names in the package; no module called `utils`, `helpers`, `common` or `manager`.

    python tools/budget.py [FOLDER]
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

MODULE_LINES = 400
FUNCTION_LINES = 40
PUBLIC_NAMES = 20
EMPTY_WORDS = {
    "utils",
    "util",
    "helpers",
    "helper",
    "common",
    "base",
    "manager",
    "managers",
    "misc",
}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def complaints(folder: Path) -> Iterator[str]:
    """Everything over budget below `folder`."""
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text()
        yield from _of_module(path, text, ast.parse(text))


def _of_module(path: Path, text: str, tree: ast.Module) -> Iterator[str]:
    lines = text.count("\n")
    if lines > MODULE_LINES:
        yield f"{path}:1: module of {lines} lines, at most {MODULE_LINES}"
    if path.stem.strip("_") in EMPTY_WORDS:
        yield f"{path}:1: {path.stem!r} says nothing about what is inside"
    if not ast.get_docstring(tree):
        yield f"{path}:1: no sentence that says what the module is"
    for node in ast.walk(tree):
        if isinstance(node, Function):
            yield from _of_function(path, node)
        elif isinstance(node, ast.Assign) and _is_all(node):
            names = ast.literal_eval(node.value)
            if path.name == "__init__.py" and len(names) > PUBLIC_NAMES:
                yield f"{path}:{node.lineno}: {len(names)} public names, at most {PUBLIC_NAMES}"


def _is_all(node: ast.Assign) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets)


def _of_function(path: Path, node: Function) -> Iterator[str]:
    lines = (node.end_lineno or node.lineno) - node.lineno + 1
    if lines > FUNCTION_LINES:
        yield f"{path}:{node.lineno}: {node.name} has {lines} lines, at most {FUNCTION_LINES}"
    for annotation in _annotations(node):
        if any(isinstance(part, ast.Name) and part.id == "Any" for part in ast.walk(annotation)):
            yield f"{path}:{node.lineno}: Any in the signature of {node.name}"


def _annotations(node: Function) -> Iterator[ast.expr]:
    arguments = node.args
    for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs):
        if argument.annotation is not None:
            yield argument.annotation
    for starred in (arguments.vararg, arguments.kwarg):
        if starred is not None and starred.annotation is not None:
            yield starred.annotation
    if node.returns is not None:
        yield node.returns


def main() -> int:
    """Exit status 1 when anything is over budget."""
    found = list(complaints(Path(sys.argv[1] if len(sys.argv) > 1 else "src")))
    for complaint in found:
        print(complaint)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
