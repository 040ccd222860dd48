"""A file imports only from lower layers and its own package; TensorFlow stays where it belongs; no cycles."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "keras_mtl"
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A part does not import another part of its own layer; a foundation may import another.
LAYERS = [
    {"_checks", "_registry", "_optional", "_files", "_graph", "_layers", "_math", "_source", "_version"},
    {"heads", "backbones", "balancers", "data", "metrics", "optimizers"},
    {"losses"},
    {"tasks"},
    {"sharing"},
    {"engine"},
    {"model"},
    {"callbacks", "distribution", "evaluation", "export", "transfer"},
    {"tuning", "plots"},
    {"cli"},
]
FLOOR = {part: floor for floor, parts in enumerate(LAYERS) for part in parts}
MAY_IMPORT_TENSORFLOW = {"engine", "data", "distribution", "export"}
OPTIONAL = {"keras_hub", "keras_tuner", "matplotlib", "sklearn", "tensorflow_datasets", "typer"}


def part_of(path):
    """The first name below the package: `engine`, `_checks`; None for the package's own `__init__.py`."""
    relative = path.relative_to(PACKAGE)
    name = relative.parts[0].removesuffix(".py")
    return None if name == "__init__" else name


def imports(path):
    """The names that a file imports, as `(dotted name, line)`."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(alias.name, node.lineno) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            found += [(f"{node.module}.{alias.name}", node.lineno) for alias in node.names]
    return found


def parts_imported(path):
    return {(name.split(".")[1], line) for name, line in imports(path) if name.startswith("keras_mtl.") and "." in name}


def test_every_part_has_a_layer():
    assert {part_of(path) for path in FILES} - {None} == set(FLOOR)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path):
    own = part_of(path)
    if own is None:
        return
    assert "keras_mtl" not in {name for name, _ in imports(path)}, f"{path} imports the package as a whole"
    for part, line in parts_imported(path):
        if part == own:
            continue
        assert part in FLOOR, f"{path}:{line} imports keras_mtl.{part}, which has no layer"
        allowed = FLOOR[part] < FLOOR[own] or FLOOR[own] == 0
        assert allowed, f"{path}:{line}: `{own}` imports `{part}`, which is not below it"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_tensorflow_and_private_keras_stay_out(path):
    for name, line in imports(path):
        top = name.split(".")[0]
        assert not name.startswith(("keras.src", "keras_tuner.src", "tf_keras")), f"{path}:{line} imports {name}"
        if top == "tensorflow":
            assert part_of(path) in MAY_IMPORT_TENSORFLOW, f"{path}:{line} imports TensorFlow"


def test_private_modules_are_imported_by_their_own_package_only():
    for path in FILES:
        for name, line in imports(path):
            pieces = name.split(".")
            inner = [piece for piece in pieces[2:] if piece.startswith("_") and not piece.startswith("__")]
            if pieces[0] == "keras_mtl" and inner and pieces[1] != part_of(path):
                pytest.fail(f"{path}:{line} imports {name}, which is private to keras_mtl.{pieces[1]}")


def module_name(path):
    relative = path.relative_to(ROOT).with_suffix("")
    return ".".join(relative.parts[:-1] if relative.name == "__init__" else relative.parts)


def from_names(node, modules):
    """What `from module import name, ...` imports: the names that are modules, or else the module."""
    names = {f"{node.module}.{alias.name}" for alias in node.names}
    return (names & modules.keys()) or {node.module}


def test_there_is_no_cycle():
    modules = {module_name(path): path for path in FILES}
    graph = {}
    for module, path in modules.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        typing_only = {
            child
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for child in ast.walk(node)
        }
        inside = {c for n in ast.walk(tree) if isinstance(n, ast.FunctionDef) for c in ast.walk(n)}
        targets = set()
        for node in ast.walk(tree):
            if node in typing_only or node in inside:
                continue
            if isinstance(node, ast.Import):
                targets |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                targets |= from_names(node, modules)
        graph[module] = targets & modules.keys() - {module}

    done = set()

    def visit(module, trail):
        assert module not in trail, f"a cycle: {' -> '.join([*trail, module])}"
        if module in done:
            return
        done.add(module)
        for target in graph[module]:
            # A package's face hands on names of its own files, which may import the face's siblings.
            if not module.startswith(f"{target}."):
                visit(target, [*trail, module])

    for module in graph:
        visit(module, [])


def test_optional_dependencies_are_required_and_not_imported():
    for path in FILES:
        for name, line in imports(path):
            if name.split(".")[0] in OPTIONAL:
                # `cli` and `tuning` are imported as a whole only after `require` has spoken for them.
                assert part_of(path) in {"cli", "tuning"}, f"{path}:{line} imports {name} without `require`"
