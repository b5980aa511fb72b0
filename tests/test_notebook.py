"""The notebook runs, with few training steps and few scenes."""

import pathlib

import nbformat
import pytest

_FILE = pathlib.Path(__file__).parents[1] / "examples" / "quickstart.ipynb"


@pytest.fixture
def notebook():
    return nbformat.read(_FILE, as_version=4)


def _code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_outputs_are_not_kept(notebook):
    nbformat.validate(notebook)
    for cell in _code(notebook):
        assert not cell.outputs
        assert cell.execution_count is None


@pytest.mark.trains
def test_it_runs(notebook, tmp_path, monkeypatch):
    from nbclient import NotebookClient

    from air_tf.data.multi_digits import Builder

    # The dataset that the notebook uses, with fewer scenes.
    few = {"train": 200, "validation": 20, "test": 20}
    monkeypatch.setattr(Builder.BUILDER_CONFIGS[0], "num_scenes", few)
    Builder(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("AIR_TF_QUICKSTART_STEPS", "4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()

    kinds = [
        [kind for output in cell.outputs for kind in output.get("data", {})]
        for cell in _code(notebook)
    ]
    assert [("image/png" in kind) for kind in kinds] == [False] * 2 + [True] * 4
    printed = "".join(o.get("text", "") for o in _code(notebook)[1].outputs)
    assert "count accuracy on test images: " in printed
