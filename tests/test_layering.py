import ast
import pathlib

import air_tf

_PACKAGE = pathlib.Path(air_tf.__file__).parent
# A room imports from itself and from rooms before it.
_ROOMS = [
    "errors",
    "structs",
    "config",
    "files",
    "images",
    "data",
    "model",
    "objectives",
    "runs",
    "visualization",
    "inference",
    "evaluation",
    "training",
    "deployment",
    "cli",
]
# Within the model, the order in which one part is built on another.
_MODEL = [
    "spatial",
    "networks",
    "distributions",
    "attend",
    "recurrent",
    "difference",
    "air",
]


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


def _modules():
    for path in sorted(_PACKAGE.rglob("*.py")):
        relative = path.relative_to(_PACKAGE).with_suffix("")
        if relative.name != "__init__" or len(relative.parts) > 1:
            yield path, relative.parts


def test_every_module_has_a_room():
    assert {parts[0] for _, parts in _modules()} == set(_ROOMS)


def test_imports_go_one_way():
    wrong = []
    for path, parts in _modules():
        for name in _imports(path):
            target = name.split(".")
            if target[0] != "air_tf":
                continue
            allowed = _ROOMS[: _ROOMS.index(parts[0]) + 1]
            if target[1] not in allowed:
                wrong.append(f"{'/'.join(parts)} imports {name}")
            if parts[0] == target[1] == "model" and len(parts) > 1:
                own, other = _MODEL.index(parts[1]), (target[2:] or [parts[1]])[0]
                if other in _MODEL and _MODEL.index(other) > own:
                    wrong.append(f"{'/'.join(parts)} imports {name}")
    assert not wrong


def test_no_relative_imports():
    for path, _ in _modules():
        for node in ast.walk(ast.parse(path.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), path


def test_scripts_are_thin():
    scripts = pathlib.Path(__file__).parents[1] / "scripts"
    for path in scripts.glob("*.py"):
        assert len(path.read_text().splitlines()) <= 100, path
