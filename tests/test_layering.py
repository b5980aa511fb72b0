"""Which module may import which, and how large a module may be.

The contracts of imports are in pyproject.toml; here is what import-linter can't say.
"""

import ast
import pathlib
import subprocess
import sys

import pytest

import air_tf

_ROOT = pathlib.Path(__file__).parents[1]
_PACKAGE = pathlib.Path(air_tf.__file__).parent
_PROGRAMS = sorted((_ROOT / "scripts").glob("*.py"))
# Every module of the package, and what is not installed.
_MODULES = sorted([*_PACKAGE.rglob("*.py"), *(_ROOT / "scripts").rglob("*.py")])
# Whoever adds a module here: it trains, and does nothing else.
_TRAINING = {
    *("__init__", "batches", "callbacks", "distribute", "fit_priors"),
    *("train", "trainer"),
}
_MAX_LINES, _MAX_PROGRAM_LINES = 400, 100


def _name(path):
    return path.stem if path in _PROGRAMS else "/".join(path.parts[-2:])


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level
        elif isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)


def test_imports_keep_the_contracts():
    # In a process of its own, since it turns off all loggers.
    lint = "from importlinter.cli import lint_imports_command as lint; lint()"
    config = str(_ROOT / "pyproject.toml")
    done = subprocess.run(
        [sys.executable, "-c", lint, "--config", config, "--no-cache"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", _MODULES, ids=_name)
def test_a_module_is_short_and_imports_by_full_names(path):
    most = _MAX_PROGRAM_LINES if path in _PROGRAMS else _MAX_LINES
    assert len(path.read_text().splitlines()) <= most
    assert not [name for name, level in _imports(path) if level]


def test_training_holds_nothing_but_training():
    assert {path.stem for path in (_PACKAGE / "training").iterdir()} - {
        "__pycache__"
    } == _TRAINING


def test_public_names_need_no_tensorflow_until_they_are_used():
    program = """
import sys, air_tf
air_tf.Scenes, air_tf.RunConfig, air_tf.InputError, air_tf.EdgeModel
sys.exit("tensorflow" in sys.modules or "keras" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_every_public_name_is_declared_for_type_checkers():
    """The names that are loaded late are those that TYPE_CHECKING imports."""
    tree = ast.parse((_PACKAGE / "__init__.py").read_text())
    (block,) = (
        node
        for node in tree.body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    declared = {alias.name: node.module for node in block.body for alias in node.names}
    assert declared == air_tf._HOMES
    assert sorted(air_tf.__all__) == sorted([*declared, "__version__"])
