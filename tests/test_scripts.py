"""The programs as a user runs them: what they write, and what they refuse."""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import tifffile
from PIL import Image

_SCRIPTS = pathlib.Path(__file__).parents[1] / "scripts"
_SMALL = [
    # Which most of the graphs would be for, and tests/test_edge.py has.
    "--proposals=0",
    "--glimpse_size=8,8",
    "--z_what_size=4",
    "--look_units=8",
    "--where_units=8",
    "--encoder_units=8",
    "--decoder_units=8",
    "--steps=6",
    "--batch_size=4",
    "--steps_per_evaluation=3",
    "--nojit_compile",
]


def _refused(result, *words):
    """One line, no traceback, exit code 1."""
    assert result.returncode == 1, result.stderr
    assert "Traceback" not in result.stderr
    lines = [line for line in result.stderr.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1, result.stderr
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with a data file and a run that was trained on it."""
    folder = tmp_path_factory.mktemp("workplace")
    rng = np.random.default_rng(0)
    images = np.zeros((30, 16, 16), np.uint8)
    images[:15, 4:9, 4:9] = rng.integers(100, 256, (15, 5, 5))
    np.savez(folder / "x.npz", image=images, count=(np.arange(30) < 15).astype(int))
    # As a user does; the others are forks, which have TensorFlow already.
    flags = ["--dataset=file", "--data_file=x.npz", "--model_dir=run", *_SMALL]
    result = subprocess.run(
        [sys.executable, _SCRIPTS / "train.py", *flags],
        cwd=folder,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr
    assert "count accuracy, most probable" in result.stdout
    Image.fromarray(images[0]).resize((64, 32)).save(folder / "a.png")
    Image.fromarray(images[20]).save(folder / "b.png")
    return folder


def test_evaluate(programs, workplace):
    flags = ("--model_dir=run", "--output=e.json")
    bound = ("--bound=iwae", "--num_samples=20")
    result = programs.run("evaluate", *flags, *bound, "--report=e.html", cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "IWAE bound, 20 samples" in result.stdout
    assert "<title>run on file, test</title>" in (workplace / "e.html").read_text()
    written = json.loads((workplace / "e.json").read_text())
    trained = json.loads((workplace / "run" / "metrics.json").read_text())
    assert written["count_accuracy"] == trained["count_accuracy"]
    assert written["elbo"] == trained["elbo"] < written["iwae"]
    _refused(programs.run("evaluate", *flags, cwd=workplace), "--output e.json exists")


def test_predict(programs, workplace):
    (workplace / "broken.png").write_bytes(b"not a picture")
    result = programs.run(
        "predict",
        "--model_dir=run",
        "--output_dir=out",
        "--label_images",
        "a.png",
        "broken.png",
        "b.png",
        cwd=workplace,
    )
    # The broken one is named; the others are there.
    lines = result.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines] == ["a.png", "b.png"]
    assert lines[1].endswith(" objects, in out/b.json")
    _refused(result, "broken.png: not a PNG or JPEG picture")
    for name, size in (("a", (64, 32)), ("b", (16, 16))):
        answer = json.loads((workplace / "out" / f"{name}.json").read_text())
        assert (answer["width"], answer["height"]) == size
        assert len(answer["boxes"]) == answer["count"] == len(answer["z_what"])
        np.testing.assert_allclose(sum(answer["count_probabilities"]), 1, rtol=1e-5)
        for box, pixels in zip(answer["boxes"], answer["boxes_in_pixels"], strict=True):
            height, width = answer["height"], answer["width"]
            expected = np.multiply(box, [height, width, height, width])
            np.testing.assert_allclose(pixels, expected)
        with Image.open(workplace / "out" / f"{name}.png") as drawn:
            assert drawn.size == size
        labels = tifffile.imread(workplace / "out" / "labels" / f"{name}.tif")
        assert labels.shape == size[::-1] and labels.max() <= answer["count"]
    assert not (workplace / "out" / "broken.json").exists()
    again = programs.run(
        "predict", "--model_dir=run", "--output_dir=out", "a.png", cwd=workplace
    )
    _refused(again, "a.json exists", "--overwrite")


def test_export_and_check_export(programs, workplace):
    flags = ("--model_dir=run", "--export_dir=exports", "--max_objects=2")
    result = programs.run("export", *flags, cwd=workplace)
    assert result.returncode == 0, result.stderr
    (workplace / "exports" / "monitoring.config").write_text("no such thing")
    result = programs.run("check_export", "exports", cwd=workplace)
    assert result.returncode == 1, result.stderr
    assert "46 of 47 checks passed" in result.stdout


def test_convert(programs, workplace):
    flags = ("--model_dir=run", "--output=x.tflite", "--max_objects=2")
    result = programs.run("convert", *flags, cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert "counts agree on 100.00%" in result.stdout
    _refused(programs.run("convert", *flags, cwd=workplace), "--output x.tflite exists")


def test_demo(programs, workplace):
    flags = ("--model_dir=run", "--output_dir=site", "--max_objects=2")
    result = programs.run("demo", *flags, cwd=workplace)
    assert result.returncode == 0, result.stderr
    assert result.stdout.endswith("Wrote site/index.html and the files beside it\n")
    assert (workplace / "site" / "air.tflite.gz").stat().st_size > 5_000
    page = (workplace / "site" / "index.html").read_text()
    assert '"maxObjects": 2, "format": "dynamic"' in page
    _refused(
        programs.run("demo", *flags, cwd=workplace), "index.html exists", "--overwrite"
    )
    _refused(
        programs.run("demo", "--model_dir=run", "--output=x.npz", cwd=workplace),
        "--output x.npz exists; expected a new file, or --overwrite",
    )


def test_predict_refuses_flags_of_pictures_of_any_size(programs, workplace):
    _refused(
        programs.run("predict", "--model_dir=run", "--page=1", "a.png", cwd=workplace),
        "--page is given; expected nothing for a model that resizes pictures",
    )


def test_train_refuses_a_run_of_another_config(programs, workplace):
    result = programs.run(
        "train",
        "--dataset=file",
        "--data_file=x.npz",
        "--model_dir=run",
        *_SMALL,
        "--batch_size=5",
        cwd=workplace,
    )
    _refused(result, "batch_size (there 4, here 5)")


_FLAGS_THAT_CAN_NOT_WORK = [
    ("train", ["--batch_size=0"], ["--batch_size is 0; expected"]),
    ("train", ["--steps=-3"], ["--steps is -3; expected"]),
    ("train", ["--max_objects=0"], ["--max_objects is 0"]),
    ("train", ["--image_shape=50,x,1"], ["--image_shape is '50,x,1'"]),
    ("train", ["--dataset=file"], ["--data_file is missing; expected a path"]),
    ("train", ["--data_file=x.npz"], ["--data_file is 'x.npz'"]),
    ("train", ["stray"], ["argument 'stray' is not a flag"]),
    ("train", ["--preset=huge"], ["--preset is 'huge'; expected default, digits"]),
    (
        "train",
        ["--image_shape=9,9,1"],
        ["--image_shape is 9,9,1; expected"],
    ),
    ("evaluate", [], ["--model_dir is missing; expected"]),
    ("predict", ["a.png"], ["--model_dir is missing"]),
    ("export", ["--model_dir=run"], ["--export_dir is missing"]),
    ("convert", ["--model_dir=run"], ["--output is missing"]),
    (
        "convert",
        [
            "--model_dir=pretrained:default",
            "--output=x.tflite",
            "--num_calibration_images=9",
        ],
        ["--num_calibration_images is 9; expected nothing unless --format is int8"],
    ),
    ("demo", ["--output=x.html"], ["--model_dir is missing"]),
    ("demo", ["--model_dir=run"], ["expected either --output or --output_dir"]),
    (
        "demo",
        ["--model_dir=run", "--output=x.npz", "--output_dir=site"],
        ["expected either --output or --output_dir"],
    ),
    ("check_export", [], ["0 folders are given; expected one"]),
    ("serving_client", ["a.png"], ["--server is missing; expected HOST:PORT"]),
    ("serving_client", ["--server=a:1"], ["no picture is given"]),
    ("prepare_data", [], ["--dataset is missing"]),
    ("benchmark", [], ["expected one of --reliability, --objectives", "found none"]),
    ("benchmark", ["--step", "--edge"], ["found step and edge"]),
    ("benchmark", ["--reliability"], ["--output_dir is missing"]),
    (
        "benchmark",
        ["--objectives", "--output_dir=out", "--objective=nvil"],
        ["--objective is given; expected nothing"],
    ),
    ("downstream", [], ["--output_dir is missing"]),
    ("downstream", ["--output_dir=out", "--seed=3"], ["--seed is given"]),
    (
        "downstream",
        ["--output_dir=out", "--num_labels=64,0"],
        ["--num_labels is '64,0'; expected whole numbers from 1"],
    ),
    (
        "downstream",
        ["--output_dir=out", f"--num_labels={'9' * 5000}"],
        ["--num_labels is '999", "expected whole numbers from 1"],
    ),
    ("generate", ["--output_dir=out"], ["--model_dir is missing"]),
    ("generate", ["--model_dir=run"], ["--output_dir is missing"]),
    ("train", ["--objective=magic"], ["--objective is 'magic'; expected enumeration"]),
    (
        "train",
        ["--objective=nvil", "--num_particles=3"],
        ["--num_particles is given; expected nothing with --objective nvil"],
    ),
    (
        "train",
        ["--objective=iwae", "--num_particles=1"],
        ["--num_particles is 1; expected a whole number of at least 2"],
    ),
    (
        "train",
        ["--recurrent_units=8"],
        ["--recurrent_units is given; expected nothing with --inference difference"],
    ),
    (
        "train",
        ["--preset=paper", "--cell_patch=8"],
        ["--cell_patch is given; expected nothing with --inference recurrent"],
    ),
    (
        "train",
        ["--count_update=gradient", "--count_loss_weight=3"],
        ["--count_loss_weight is 3.0; expected nothing unless --count_update is"],
    ),
    (
        "train",
        ["--min_likelihood_scale=0.2"],
        ["--min_likelihood_scale is given; expected nothing unless --likelihood_scale"],
    ),
    ("train", ["--inference=magic"], ["--inference is 'magic'; expected difference"]),
    ("train", ["--max_steps_per_image=4"], ["--max_steps_per_image is now --max_obj"]),
    (
        "evaluate",
        ["--model_dir=run", "--output=e.json", "--report=e.json"],
        ["--report e.json is also --output"],
    ),
    (
        "evaluate",
        ["--model_dir=run", "--num_samples=9"],
        ["--num_samples is given; expected nothing without --bound=iwae"],
    ),
    ("predict", ["--model_dir=run", "--output_dir=out"], ["no picture is given"]),
    (
        "predict",
        ["--model_dir=run", "--label_images", "a.png"],
        ["--output_dir is missing; expected a folder for label images"],
    ),
    (
        "evaluate",
        ["--model_dir=run", "--output=none/e.json"],
        ["--output none/e.json can't be written: none is not a"],
    ),
    (
        "evaluate",
        ["--model_dir=run", "--max_objects=0"],
        ["--max_objects is 0; expected 1 to 100"],
    ),
]


_WHAT_IS_NOT_THERE = [
    ("train", ["--dataset=cifar"], ["--dataset is 'cifar'; expected multi_digits"]),
    ("train", ["--dataset=multi_digits/0-99"], ["has the configurations 0-2"]),
    (
        "train",
        ["--dataset=file", "--data_file=none.npz"],
        ["none.npz: no such file"],
    ),
    ("train", ["--dataset=folder", "--image_dir=none"], ["none: no such folder"]),
    (
        "train",
        ["--object_size=12,40"],
        ["--object_size is given; expected nothing unless --dataset is folder"],
    ),
    (
        "train",
        ["--dataset=folder", "--image_dir=none", "--object_size=40,12"],
        ["--object_size is (40.0, 12.0); expected two numbers of pixels"],
    ),
    # As every program that uses a run: they all read it by `RunDir`.
    (
        "predict",
        ["--model_dir=none", "--output_dir=out", "a.png"],
        ["model_dir none holds no config.json"],
    ),
    ("check_export", ["none"], ["none: no such folder"]),
    (
        "serving_client",
        ["--server=nowhere", "a.png"],
        ["--server is 'nowhere'; expected HOST:PORT"],
    ),
]


@pytest.mark.parametrize(
    ("script", "flags", "words"), _FLAGS_THAT_CAN_NOT_WORK + _WHAT_IS_NOT_THERE
)
def test_what_is_refused(programs, script, flags, words, tmp_path):
    _refused(programs.run(script, *flags, cwd=tmp_path), *words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["--no_such_flag=1", "--batch_size=many"])
def test_absl_refuses_what_is_no_flag(programs, flag, tmp_path):
    result = programs.run("train", flag, cwd=tmp_path)
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    assert flag.split("=")[0].strip("-") in result.stderr


def test_help_shows_every_setting(programs, tmp_path):
    result = programs.run("train", "--help", cwd=tmp_path)
    for name in ("dataset", "model_dir", "steps", "max_objects", "preset"):
        assert f"--{name}:" in result.stdout
    for name in ("jit_compile", "mixed_precision"):
        assert f"--[no]{name}:" in result.stdout
