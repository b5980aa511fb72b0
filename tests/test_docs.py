"""README and documentation: links lead somewhere, commands and code are of today."""

import concurrent.futures
import dataclasses
import importlib.util
import pathlib
import re
import shlex
import subprocess
import sys
import xml.etree.ElementTree

import numpy as np
import pytest

_ROOT = pathlib.Path(__file__).parents[1]
_SCRIPTS = _ROOT / "scripts"
_PAGES = [
    *(_ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted((_ROOT / "docs").glob("*.md")),
]
_LINK = re.compile(r"!?\[[^\]]*\]\(([^)#\s]*)(#[^)\s]*)?\)")
_BLOCK = re.compile(r"(<!-- not run:[^\n]*-->\n)?```(\w+)\n(.*?)```", re.DOTALL)
# Programs that hand on to Beam what they do not know.
_FOR_BEAM = {"predict_beam", "prepare_data"}
# Of a program in a shell block, or within a line of text.
_COMMAND = re.compile(r"python scripts/\w+\.py[^`\n]*")


def _name(path):
    return path.stem


def _blocks(page, language):
    """Code blocks of a page that are not marked as not to be run."""
    return [
        text
        for skip, found, text in _BLOCK.findall(page.read_text(encoding="utf-8"))
        if found == language and not skip
    ]


def _commands(page):
    """Every `python scripts/X.py ...` of a page as a list of words."""
    text = re.sub(r"\\\n\s*", " ", page.read_text(encoding="utf-8"))
    # Text that is wrapped within a command.
    text = re.sub(r"(`[^`\n]*)\n([^`\n]*`)", r"\1 \2", text)
    for command in _COMMAND.findall(text):
        yield shlex.split(command, comments=True)[1:]


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_relative_links_and_pictures_exist(page):
    for target, _ in _LINK.findall(page.read_text(encoding="utf-8")):
        if target and not target.startswith(("https:", "http:")):
            assert (page.parent / target).exists(), target


def test_readme_is_short():
    assert len((_ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 160


def _flags(script):
    """Names of a program's flags; those of absl without its own."""
    if "argparse" in script.read_text():
        shown = _output(script, "--help")
        return set(re.findall(r"--(\w+)", shown)) - {"help"}
    shown = _output(script, "--helpxml")
    tree = xml.etree.ElementTree.fromstring(shown[shown.index("<?xml") :])
    found = {}
    for flag in tree.iter("flag"):
        found[flag.findtext("name")] = flag.findtext("type")
    return found.keys() | {
        f"no{name}" for name, kind in found.items() if kind == "bool"
    }


def _output(script, flag):
    command = [sys.executable, str(script), flag]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


@pytest.fixture(scope="module")
def flags_of():
    """The flags of every program."""
    scripts = sorted(_SCRIPTS.glob("*.py"))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        found = pool.map(_flags, scripts)
        return dict(zip((script.stem for script in scripts), found, strict=True))


def test_every_program_is_documented(flags_of):
    named = {words[0] for page in _PAGES for words in _commands(page)}
    assert named == {f"scripts/{name}.py" for name in flags_of}


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_commands_name_what_exists(page, flags_of):
    from air_tf.config import INFERENCES, OBJECTIVES, PRESETS
    from air_tf.config.datasets import BUILDERS, REAL_PICTURES, USER_SOURCES

    known = {"preset": PRESETS, "inference": INFERENCES, "objective": OBJECTIVES}
    for program, *words in _commands(page):
        script = _ROOT / program
        assert script.exists(), program
        given = [word[2:].partition("=") for word in words if word.startswith("--")]
        for name, _, value in given:
            if name in ("help", "helpfull"):
                continue
            known_flags = flags_of[script.stem]
            if name not in known_flags and script.stem in _FOR_BEAM:
                known_flags = _flags_of_beam()
            assert name in known_flags, f"{program} --{name}"
            if name in known and value:
                assert value in known[name], f"{program} --{name}={value}"
            if name == "dataset":
                dataset, _, form = value.partition("/")
                assert dataset in (*BUILDERS, *REAL_PICTURES, *USER_SOURCES), value
                assert not form or form in _forms(dataset), value


def _flags_of_beam():
    options = pytest.importorskip("apache_beam.options.pipeline_options")
    return options.PipelineOptions([]).get_all_options().keys()


def _forms(dataset):
    builder = importlib.import_module(f"air_tf.data.{dataset}").Builder
    return {config.name for config in builder.BUILDER_CONFIGS}


def test_renamed_flags_are_gone(flags_of):
    for name, flags in flags_of.items():
        assert "max_steps_per_image" not in flags, name
    for page in _PAGES:
        for _, *words in _commands(page):
            assert not [word for word in words if "max_steps" in word]


def test_all_presets_are_documented():
    from air_tf.config import PRESETS

    page = (_ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", page.partition("| `--preset`")[2], re.M)[
        : len(PRESETS)
    ] == list(PRESETS)


def test_all_settings_of_the_preset_paper_are_documented():
    from air_tf.config import PRESETS, RunConfig, differing_settings

    page = (_ROOT / "docs" / "differences-from-the-paper.md").read_text(
        encoding="utf-8"
    )
    section = page.partition("## The preset `paper`")[2]
    paper = PRESETS["paper"].config.to_dict()
    differing = {
        line.partition(" ")[0]
        for line in differing_settings(paper, RunConfig().to_dict())
        # Settings of the default's form of inference and objective, which it lacks.
        if not line.endswith("here None)")
    }
    assert {"inference", "steps", "baseline_units", "dataset"} <= differing
    assert differing <= set(re.findall(r"`(\w+)`", section))


def test_all_objectives_and_their_settings_are_documented():
    from air_tf.config import OBJECTIVES

    page = (_ROOT / "docs" / "objectives.md").read_text(encoding="utf-8")
    for name, settings in OBJECTIVES.items():
        assert f"| `{name}` |" in page
        for field in dataclasses.fields(settings):
            assert f"`{field.name}`" in page or f"--{field.name}" in page


def test_all_figures_of_an_evaluation_are_documented():
    from air_tf.evaluation.evaluation import Evaluation

    page = (_ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = {
        name
        for cells in re.findall(r"^\| (`[^|]*) \|", page, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", cells)
    }
    assert rows == {field.name for field in dataclasses.fields(Evaluation)}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the Python blocks read: an untrained run, and images."""
    from air_tf.config import AIRConfig, DataConfig, RunConfig
    from air_tf.files import write_json
    from air_tf.model.air import AIR
    from air_tf.runs import RunDir

    folder = tmp_path_factory.mktemp("docs")
    run = RunDir(folder / "runs" / "mnist")
    run.path.mkdir(parents=True)
    model = AIRConfig(
        z_what_size=4, where_units=(8,), encoder_units=(8,), decoder_units=(8,)
    )
    config = RunConfig(model=model, data=DataConfig(dataset="multi_mnist"))
    write_json(run.config_file, config.to_dict())
    AIR(model).save(run.model_file)
    images = np.random.default_rng(0).random((4, 50, 50, 1), np.float32)
    np.save(folder / "images.npy", images)
    return folder


@pytest.mark.parametrize(
    "page", [page for page in _PAGES if _blocks(page, "python")], ids=_name
)
def test_python_blocks_run(page, workplace, monkeypatch):
    """In order, as a reader would; a later block may use what an earlier one made."""
    if page.stem == "beam":
        pytest.importorskip("apache_beam")
    monkeypatch.chdir(workplace)
    names = {}
    for block in _blocks(page, "python"):
        exec(compile(block, str(page), "exec"), names)
    if "scenes" in names:
        assert names["scenes"].num_objects.shape == (4,)
    if "editor" in names:
        drawn = names["edited"] if "edited" in names else names["canvas"]
        assert drawn.shape == (50, 50, 1)


@pytest.mark.parametrize("page", _PAGES, ids=_name)
def test_shell_blocks_parse(page):
    for block in _blocks(page, "sh"):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)


def test_the_description_for_a_package_index_has_no_relative_links(monkeypatch):
    import setuptools

    given = {}
    monkeypatch.setattr(setuptools, "setup", given.update)
    path = _ROOT / "setup.py"
    spec = importlib.util.spec_from_file_location("air_tf_setup", path)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    text = given["long_description"]
    assert text.startswith("# air_tf\n\n`air_tf` learns")
    assert "docs/use.md has all fields" in text
    links = _LINK.findall(text)
    assert links and all(target.startswith("https:") for target, _ in links)


@pytest.mark.skipif(
    importlib.util.find_spec("mkdocs") is None, reason="mkdocs is not installed"
)
def test_pages_build_without_a_warning(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "-d", str(tmp_path)],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert "num_objects" in (tmp_path / "api" / "index.html").read_text()
