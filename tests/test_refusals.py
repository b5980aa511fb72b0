"""What can't be is refused before TensorFlow, which takes seconds, is imported."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest
from PIL import Image

from air_tf.deployment.versions import find_version, require_new_version
from air_tf.errors import InputError
from air_tf.pretrained import FOLDER

_SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"
_RUN = "--model_dir=pretrained:default"
_WRONG_RUN = "--model_dir=pretrained:defaut"
_NO_NAME = "--model_dir is pretrained:defaut; expected pretrained:"
_NO_DATASET = "--dataset is 'multi_mist'; expected multi_digits, "


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files that are in the way, and a TensorFlow that can't be imported."""
    base = tmp_path_factory.mktemp("refusals")
    for package in ("tensorflow", "tensorflow_datasets"):
        (base / "late" / package).mkdir(parents=True)
        file = base / "late" / package / "__init__.py"
        file.write_text("raise ImportError('too early')")
    for file in ("out/a.json", "out/scenes.npz", "out/index.html", "air/1/x", "new/x"):
        (base / file).parent.mkdir(parents=True, exist_ok=True)
        (base / file).write_text("")
    (base / "begun").mkdir()
    shutil.copy(FOLDER / "default" / "config.json", base / "begun")
    Image.new("L", (50, 50)).save(base / "a.png")
    return base


@pytest.mark.parametrize(
    "program, arguments, words",
    [
        ("train", ["--dataset=multi_mist"], _NO_DATASET),
        ("train", [_RUN], "--model_dir is pretrained:default, which is trained alre"),
        ("evaluate", [_WRONG_RUN], _NO_NAME),
        ("evaluate", ["--model_dir=begun"], "--model_dir begun holds no model.keras; "),
        ("evaluate", [_RUN, "--dataset=multi_mist"], _NO_DATASET),
        ("evaluate", [_RUN, "--data_file=x.npz"], "--data_file is 'x.npz'; expected"),
        ("predict", [_RUN, "--output_dir=out", "a.png"], "out/a.json exists; expec"),
        ("predict", [_RUN, "--proposals=-1", "a.png"], "--proposals is -1; expected"),
        ("generate", [_WRONG_RUN, "--output_dir=new"], _NO_NAME),
        ("generate", [_RUN, "--output_dir=out"], "out/scenes.npz exists; expected"),
        ("convert", [_WRONG_RUN, "--output=x.tflite"], _NO_NAME),
        ("convert", [_RUN, "--output=out/a.json"], "--output out/a.json exists; exp"),
        ("export", [_WRONG_RUN, "--export_dir=new"], _NO_NAME),
        (
            "export",
            [_RUN, "--export_dir=air", "--version=1"],
            "--version 1 exists in air; expected a new one, such as 2",
        ),
        ("demo", [_RUN, "--output_dir=out"], "out/index.html exists; expected"),
        ("check_export", ["new"], "new holds no version; expected the folder of expor"),
        (
            "predict_beam",
            ["--model=pretrained:default", "--input=*.png", "--output=new"],
            "pretrained:default is a run, not an export; export it first, with "
            "scripts/export.py --model_dir=pretrained:default",
        ),
        ("benchmark", ["--edge", _WRONG_RUN], _NO_NAME),
        ("inverse_graphics", [_WRONG_RUN, "--output_dir=new"], _NO_NAME),
        (
            "real_pictures",
            ["--dataset=nuclear", "--output_dir=new"],
            "--dataset is 'nuclear'; expected nuclei",
        ),
    ],
)
def test_a_program_refuses_at_once(folder, program, arguments, words):
    paths = [folder / "late", _SCRIPTS, _SCRIPTS.parent]
    result = subprocess.run(
        [sys.executable, _SCRIPTS / f"{program}.py", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, paths))},
        capture_output=True,
        text=True,
    )
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"error: {words}")


def test_a_run_is_no_export(folder):
    with pytest.raises(InputError, match=r"begun is a run, not an export; export it"):
        find_version(folder / "begun")
    assert find_version(folder / "air") == folder / "air" / "1"
    require_new_version(folder / "air", 2)
    require_new_version(folder / "none", 1)
    with pytest.raises(InputError, match="version is 0; expected 1 to 9999"):
        require_new_version(folder / "air", 0)
