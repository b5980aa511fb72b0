"""Files that are read and written: errors name them."""

import pathlib

import pytest

from air_tf.errors import InputError, OutputError
from air_tf.files import make_output_dir, read_json, reading, replacing, write_json
from air_tf.runs import RunDir, load_model

# Longer than any file system allows.
_NO_NAME = pathlib.Path("x" * 5000)


def test_a_failed_write_leaves_the_old_file(tmp_path):
    file = tmp_path / "x.json"
    write_json(file, {"a": 1})
    with pytest.raises(ZeroDivisionError), replacing(file) as new:
        new.write_text("half")
        raise ZeroDivisionError
    assert read_json(file) == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["x.json"]
    with pytest.raises(OutputError, match=r"none/x\.json: can't be written"):
        write_json(tmp_path / "none" / "x.json", {})


def test_what_can_not_be_read_is_named():
    words = r"^a\.b x can't be read \(Permission denied"
    with pytest.raises(InputError, match=words), reading("x", field="a.b"):
        raise PermissionError(13, "Permission denied")


@pytest.mark.parametrize(
    "read",
    [
        load_model,
        lambda path: RunDir(path).read_config(),
        lambda path: make_output_dir(path, ["a"]),
    ],
)
def test_paths_that_the_system_refuses(read):
    with pytest.raises(InputError, match="can't be"):
        read(_NO_NAME)


def test_a_damaged_log_is_named(tmp_path):
    (tmp_path / "metrics.csv").write_text("step,seconds\n1,many\n")
    with pytest.raises(InputError, match=r"metrics\.csv is damaged"):
        RunDir(tmp_path).read_metrics_csv()
