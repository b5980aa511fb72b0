"""What tests share.

TensorFlow is imported where it is used: the process that hands out the tests needs
none.
"""

import dataclasses
import functools
import logging
import os
import shutil

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# Tests run in two processes, which would wait for each other's threads.
os.environ.setdefault("TF_NUM_INTRAOP_THREADS", "1")
os.environ.setdefault("TF_NUM_INTEROP_THREADS", "1")
# Programs that train keep nothing in the developer's own folder.
os.environ.setdefault("TF_XLA_FLAGS", "")

import numpy as np
import pytest
from programs import Programs

from air_tf.config import (
    AIR3DConfig,
    AIRConfig,
    DataConfig,
    DifferenceConfig,
    RecurrentConfig,
    RunConfig,
    TrainingConfig,
)
from air_tf.config.objectives import KindEnumerationConfig
from air_tf.config.tabletop import TABLETOPS
from air_tf.data.pool_scenes import compose_scene
from air_tf.data.scene_config import SceneConfig
from air_tf.structs import ImageSet

_TRAINING_FILES = (
    "test_benchmark.py",
    "test_estimators.py",
    "test_few_labels.py",
    "test_generalisation.py",
    "test_learning.py",
    "test_scripts.py",
    "test_train.py",
    "test_train3d.py",
)

# They start first, after those that use `learnt_run`: one that started last would leave
# the other process without work.
_LONG_FILES = (
    "test_distribute.py",
    "test_ground_deployment.py",
    "test_notebook.py",
    "test_picture_runs.py",
    "test_sources.py",
    "test_tabletop_deployment.py",
    "test_xla_cache.py",
    *_TRAINING_FILES,
)

# Fixtures that install packages.
_ENVIRONMENTS = {"kserve", "kserve_python", "older_python", "small_python"}


# Before xdist reads the marks.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """A process gets a whole file, and one of them all that need the learnt run."""
    learnt = {
        item.path for item in items if "learnt_run" in getattr(item, "fixturenames", ())
    }
    for item in items:
        if item.path.name in _TRAINING_FILES:
            item.add_marker(pytest.mark.trains)
        fixtures = getattr(item, "fixturenames", ())
        if "kserve" in item.name or not _ENVIRONMENTS.isdisjoint(fixtures):
            item.add_marker(pytest.mark.installs)
        group = "learnt_run" if item.path in learnt else item.path.name
        item.add_marker(pytest.mark.xdist_group(group))

    def place(item):
        return item.path not in learnt, item.path.name not in _LONG_FILES

    items.sort(key=place)


@pytest.fixture(autouse=True)
def seed():
    import keras

    keras.utils.set_random_seed(0)


@pytest.fixture(autouse=True)
def absl_is_heard():
    """Whatever earlier tests did to logging: mkdocs and others set it up anew."""
    logger = logging.getLogger("absl")
    logger.disabled, logger.propagate = False, True
    logger.setLevel(min(logger.level, logging.WARNING))


@pytest.fixture
def eagerly():
    """Without traces, which take longer than the few steps of some trainings."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture(scope="session")
def small_config():
    """A model of a few thousand weights."""
    return AIRConfig(
        image_shape=(16, 16, 1),
        glimpse_size=(8, 8),
        z_what_size=4,
        inference=DifferenceConfig(look_units=(4, 8)),
        where_units=(8,),
        encoder_units=(8,),
        decoder_units=(8,),
    )


@pytest.fixture(scope="session")
def plain_config(small_config):
    """The same without proposals, for what has nothing to do with them.

    They are most of the graph of `infer`, which is traced a second time without them in
    a training.
    """
    form = dataclasses.replace(small_config.inference, proposals=0)
    return dataclasses.replace(small_config, inference=form)


@pytest.fixture(scope="session")
def recurrent_config(small_config):
    """The same in the recurrent form."""
    form = RecurrentConfig(recurrent_units=8)
    return dataclasses.replace(small_config, inference=form)


@pytest.fixture(scope="session")
def table_config():
    """A model of three kinds: the yaw of two of them can be seen."""
    return AIR3DConfig(
        tabletop=TABLETOPS["one"],
        image_shape=(16, 16, 3),
        look_channels=(4, 8),
        presence_units=(8,),
        glimpse_size=(8, 8),
        glimpse_channels=(4, 8),
        glimpse_units=(16, 8),
        likelihood_scale=0.2,
    )


@pytest.fixture(scope="session")
def table_scenes():
    """Draws scenes on a table."""

    def draw(config, num, counts=(0, 1, 2, 3), *, split=0):
        """An `ImageSet` of `num` scenes for a model of that config."""
        from air_tf.data import tabletop_painters, tabletop_scenes
        from air_tf.data.scene_config import TabletopSceneConfig

        settings = TabletopSceneConfig(
            counts=counts,
            canvas_size=config.image_shape[:2],
            tabletop=config.tabletop,
            blur=config.blur,
        )
        scenes = tabletop_scenes.draw(
            tabletop_painters.analytic_painter(settings),
            [tabletop_scenes.arrange(settings, i, split=split) for i in range(num)],
        )
        most = settings.max_objects
        columns = {"boxes": (4,), "labels": (), "positions": (2,), "yaws": ()}
        known = {
            name: np.zeros((num, most, *shape), np.float32)
            for name, shape in columns.items()
        }
        known["labels"] = known["labels"].astype(np.int64)
        for i, scene in enumerate(scenes):
            for name, values in known.items():
                values[i, : len(scene.labels)] = getattr(scene, name)
        return ImageSet(
            images=np.stack([scene.image for scene in scenes]),
            counts=np.array([len(scene.labels) for scene in scenes]),
            segmentation=np.stack([scene.segmentation[..., 0] for scene in scenes]),
            **known,
        )

    return draw


@pytest.fixture(scope="session")
def table_inference():
    """Makes up what the attend loop may have found on a table."""

    def random(config, num, steps, seed=0):
        import tensorflow as tf

        from air_tf.structs import Inference3D, NormalParams

        rng = np.random.default_rng(seed)
        kinds, (height, width) = config.num_kinds, config.image_shape[:2]

        def normal(*shape):
            return tf.constant(rng.normal(size=(num, steps, *shape)), tf.float32)

        def params(loc):
            return NormalParams(loc, 0.05 + 0.2 * tf.sigmoid(normal(*loc.shape[2:])))

        position, phase = 0.5 * normal(2), normal(kinds)
        return Inference3D(
            presence_logits=normal(),
            z_pres=tf.ones([num, steps]),
            q_position_params=params(position + 0.05 * normal(2)),
            position=position,
            kind_logits=normal(kinds),
            q_phase_params=params(phase + 0.05 * normal(kinds)),
            phase=phase,
            mask=tf.sigmoid(normal(height, width)),
            num_trips=tf.fill([num], steps),
        )

    return random


@pytest.fixture(scope="session")
def programs():
    """Runs the programs in `scripts/`."""
    with Programs() as running:
        yield running


@pytest.fixture
def images():
    return np.random.default_rng(0).random((5, 16, 16, 1), np.float32)


@pytest.fixture(scope="session")
def pools(tmp_path_factory):
    """Digits for the scenes of each split."""
    from air_tf.data.multi_digits import Builder

    return Builder(data_dir=tmp_path_factory.mktemp("data")).object_pools()


@pytest.fixture(scope="session")
def digit_scenes(pools):
    """Draws scenes of the digits of a split."""

    def draw(split, num):
        """Images and counts."""
        index = {"train": 0, "test": 2}[split]
        scenes = [
            compose_scene(pools[split], SceneConfig(), split=index, index=i)
            for i in range(num)
        ]
        counts = np.array([len(scene.boxes) for scene in scenes])
        return np.stack([scene.image for scene in scenes]), counts

    return draw


@pytest.fixture(scope="session")
def held_out_scenes(digit_scenes):
    """1,000 images and counts, of digits that no training has seen."""
    return digit_scenes("test", 1000)


@pytest.fixture(scope="session")
def learnt_run(digit_scenes, tmp_path_factory):
    """The folder of a run that has learnt to count, as if on scenes in a file.

    Its model comes with the package. tests/test_learning.py has a training. It loads
    its model once, so that what one test traced need not be traced in the next: do not
    change the model's weights.
    """
    from air_tf.files import write_json
    from air_tf.runs import RunDir

    folder = tmp_path_factory.mktemp("learnt")
    run = RunDir(folder / "run")
    RunDir("pretrained:default").copy_to(run.path)
    images, counts = digit_scenes("train", 2000)
    np.savez(folder / "scenes.npz", image=images, count=counts)
    data = DataConfig(dataset="file", data_file=str(folder / "scenes.npz"))
    config = dataclasses.replace(run.read_config(), data=data)
    about = {"versions": run.read_versions()}
    write_json(run.config_file, config.to_dict() | about)
    load = functools.cache(run.load_model)
    run.load_model = lambda proposals=None: load(proposals)
    return run


@pytest.fixture(scope="session")
def exported(learnt_run, tmp_path_factory):
    """What export.py writes of it: the folder with the versions."""
    from air_tf.deployment.export import export

    base = tmp_path_factory.mktemp("exports") / "air"
    export(learnt_run, base)
    return base


@pytest.fixture(scope="session")
def traced_once():
    """`EdgeModule`, in whose place it traces a model once for all formats."""
    from air_tf.deployment.signatures import EdgeModule

    return functools.cache(EdgeModule)


@pytest.fixture(scope="session")
def converted_float32(learnt_run, traced_once, tmp_path_factory):
    """What convert.py writes of it in float32, and how that agrees with Keras."""
    from air_tf.deployment import convert

    file = tmp_path_factory.mktemp("converted") / "float32.tflite"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(convert, "_NUM_COMPARED", 100)
        patch.setattr(convert, "EdgeModule", traced_once)
        return file, convert.convert(learnt_run, file, format="float32")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """Headless Chromium, where it is installed. Logs messages and requests."""
    chromium, driver = (shutil.which(n) for n in ("chromium", "chromedriver"))
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-dev-shm-usage",
        "--window-size=1200,1000",
        f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):
        options.add_argument(flag)
    options.set_capability(
        "goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"}
    )
    service = webdriver.ChromeService(executable_path=driver)
    one = webdriver.Chrome(options=options, service=service)
    yield one
    one.quit()


@pytest.fixture(scope="session")
def tabletop_run(table_config, table_scenes, tmp_path_factory):
    """A run of 3D scenes, untrained, whose model finds 0 to 3 objects of all kinds."""
    import keras

    from air_tf.files import write_json
    from air_tf.model.air3d import AIR3D
    from air_tf.runs import RunDir

    keras.utils.set_random_seed(0)
    air = AIR3D.of_table(table_config)
    images, counts, *_ = table_scenes(table_config, 120)
    # What the networks say of objects differs little at first.
    found = air(images)
    _spread(air.attend._presence._mlp, slice(0, 1), found.presence_logits[counts > 0])
    _spread(air.attend._read._outputs, slice(4, 7), found.kind_logits[counts > 0])
    run = RunDir(tmp_path_factory.mktemp("tabletop") / "run")
    run.path.mkdir()
    file = run.path.parent / "scenes.npz"
    np.savez(file, image=images, count=counts)
    config = RunConfig(
        model=table_config,
        data=DataConfig(dataset="file", data_file=str(file)),
        training=TrainingConfig(objective=KindEnumerationConfig()),
    )
    write_json(run.config_file, config.to_dict())
    write_json(run.metrics_json, {"num_images": 12, "kind_accuracy": 0.25})
    air.save(run.model_file)
    return run


def _spread(network, columns, logits):
    """Gives outputs of an `MLP`, which are `logits`, median 0 and deviation 4."""
    kernel, bias = network._output.get_weights()
    logits = np.reshape(logits, (-1, kernel[:, columns].shape[1]))
    gain = 4.0 / logits.std(axis=0)
    kernel[:, columns] *= gain
    bias[columns] = gain * (bias[columns] - np.median(logits, axis=0))
    network._output.set_weights([kernel, bias])


@pytest.fixture(scope="session")
def data_file(tmp_path_factory):
    """40 images with up to two bright squares."""
    rng = np.random.default_rng(0)
    images, counts = np.zeros((40, 16, 16), np.uint8), rng.integers(0, 3, 40)
    for image, count in zip(images, counts, strict=True):
        for column in range(count):
            y = rng.integers(0, 10)
            image[y : y + 5, 8 * column + 1 : 8 * column + 6] = 255
    file = tmp_path_factory.mktemp("data") / "x.npz"
    np.savez(file, image=images, count=counts)
    return file
