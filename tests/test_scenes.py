import dataclasses
import hashlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from air_tf.data.pool_scenes import ObjectPool, compose_scene
from air_tf.data.scene_config import SceneConfig
from air_tf.errors import InputError


@pytest.fixture(scope="module")
def pool():
    """Ellipses of different sizes in 28x28, with margins as MNIST's."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:28, :28] - 13.5
    images = [
        255 * ((y / rng.uniform(6, 10)) ** 2 + (x / rng.uniform(3, 9)) ** 2 < 1)
        for _ in range(50)
    ]
    return ObjectPool(np.array(images, np.uint8), np.arange(50) % 10)


def _scenes(pool, config, num, split=0):
    return [compose_scene(pool, config, split=split, index=i) for i in range(num)]


def _in_pixels(box, size):
    return np.round(box * size).astype(int)


def test_counts_are_equally_probable(pool):
    counts = [len(s.boxes) for s in _scenes(pool, SceneConfig(counts=(0, 1, 3)), 3000)]
    found = np.bincount(counts, minlength=4) / 3000
    np.testing.assert_allclose(found, [1 / 3, 1 / 3, 0, 1 / 3], atol=0.03)


@pytest.mark.parametrize("size", [(50, 50), (40, 70)])
def test_boxes_are_tight_to_the_ink_and_never_overlap(pool, size):
    config = SceneConfig(counts=(2,), canvas_size=size)
    for scene in _scenes(pool, config, 200):
        ink = scene.image[..., 0].copy()
        for ymin, xmin, ymax, xmax in _in_pixels(scene.boxes, np.array([*size, *size])):
            patch = ink[ymin:ymax, xmin:xmax]
            for border in (patch[0], patch[-1], patch[:, 0], patch[:, -1]):
                assert border.any()
            patch[:] = 0  # a second box over this one would find its border gone
        assert not ink.any()


def test_objects_lie_anywhere_on_the_canvas(pool):
    boxes = np.concatenate(
        [s.boxes for s in _scenes(pool, SceneConfig(counts=(1,)), 2000)]
    )
    assert boxes[:, :2].min() == 0.0
    assert boxes[:, 2:].max() == 1.0
    # Uniform between the borders: the free room is left and right alike.
    room = boxes[:, 1] / (1 - (boxes[:, 3] - boxes[:, 1]))
    np.testing.assert_allclose(
        np.quantile(room, [0.25, 0.5, 0.75]), [0.25, 0.5, 0.75], atol=0.05
    )


def test_sizes_vary_as_asked(pool):
    boxes = np.concatenate(
        [s.boxes for s in _scenes(pool, SceneConfig(counts=(1,)), 1000)]
    )
    halved = np.concatenate(
        [
            s.boxes
            for s in _scenes(pool, SceneConfig(counts=(1,), shrink=(2.6, 0.2)), 1000)
        ]
    )
    height, half = ((b[:, 2] - b[:, 0]).mean() for b in (boxes, halved))
    # Ellipses of 12 to 20 pixels, divided by 1.3 or 2.6, with a rim of about half
    # a pixel of blur on either side.
    np.testing.assert_allclose(height * 50, 16 / 1.3 + 1, atol=0.7)
    np.testing.assert_allclose(half * 50, 16 / 2.6 + 1, atol=0.7)


def test_sizes_within_a_range_are_even_in_the_logarithm():
    """Squares of 14 pixels become 7 to 28: a quarter each up to 9.9, 14 and 19.8."""
    squares = ObjectPool(np.full([1, 28, 28], 255, np.uint8), np.zeros(1, int))
    config = SceneConfig(counts=(1,), shrink=(2.0, 0.0), enlarge=(0.5, 2.0))
    boxes = np.concatenate([s.boxes for s in _scenes(squares, config, 1000)])
    heights = np.round(50 * (boxes[:, 2] - boxes[:, 0]))
    assert heights.min() == 7 and heights.max() == 27  # rounded down
    found = [(heights < 14 * 2**power).mean() for power in (-0.5, 0.0, 0.5)]
    np.testing.assert_allclose(found, [0.25, 0.5, 0.75], atol=0.05)


def test_one_number_enlarges_all_objects(pool):
    """As a smaller `shrink` does, and at no random number."""
    shrunk = SceneConfig(counts=(2,), shrink=(1.5, 0.1))
    enlarged = SceneConfig(counts=(2,), shrink=(3.0, 0.2), enlarge=(2.0, 2.0))
    for one, other in zip(
        _scenes(pool, shrunk, 20), _scenes(pool, enlarged, 20), strict=True
    ):
        np.testing.assert_array_equal(one.image, other.image)


def test_overlapping_scenes_follow_the_peers_rule(pool):
    config = SceneConfig(counts=(2,), overlap=True)
    touching = 0
    for scene in _scenes(pool, config, 400):
        assert len(scene.boxes) == 2
        a, b = scene.boxes
        touching += (a[:2] < b[2:]).all() and (b[:2] < a[2:]).all()
    assert touching > 0


def test_overlapping_scenes_add_up_without_saturation(pool):
    # 255 + 255 can't be shown: full ink never lies on full ink.
    full = [
        (s.image == 255).sum()
        for s in _scenes(pool, SceneConfig(counts=(2,), overlap=True), 200)
    ]
    assert min(full) > 0
    dim = ObjectPool(np.minimum(pool.images, 100), pool.labels)
    brightest = [
        s.image.max() for s in _scenes(dim, SceneConfig(counts=(2,), overlap=True), 200)
    ]
    assert max(brightest) == 200


def test_bytes_depend_on_seed_split_and_index_alone(pool):
    config = SceneConfig()
    forwards = _scenes(pool, config, 40)
    with ThreadPoolExecutor(4) as workers:
        backwards = list(
            workers.map(
                lambda i: compose_scene(pool, config, split=0, index=i),
                reversed(range(40)),
            )
        )
    for one, other in zip(forwards, reversed(backwards), strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a, b)
    for changed in (
        _scenes(pool, config, 40, split=1),
        _scenes(pool, SceneConfig(seed=1), 40),
    ):
        assert any(
            not np.array_equal(a.image, b.image)
            for a, b in zip(forwards, changed, strict=True)
        )


@pytest.mark.parametrize(
    "settings, all_orientations, expected",
    [
        ({}, False, "ddf482025f315e2cc24e92697b4ec84f2c76066499ac7bdd3597d18fe918e15c"),
        (
            {"overlap": True},
            False,
            "db9f35cf2d2beeb6ddcffec350ff830c75da997e7a79782a2555e9ef8feb0cdf",
        ),
        (
            {"pixel_range": (0.1, 0.9), "noise": 0.2},
            False,
            "3c79ed13365bb65ee5b6af118722d5a97114204c71276396d1bf8865326c2b53",
        ),
        (
            {"grid": 0.4},
            False,
            "0d5e119786a2691306f9fdce4ee7a66cb0e91b7db5e71c33c954ba8a22e5c984",
        ),
        ({}, True, "9611d40074c7a1f8ea1a4504cc41853de54548ecce8ca808dfb364cd6b9e287b"),
    ],
)
def test_bytes_stay_the_same(pool, settings, all_orientations, expected):
    """Results on a dataset stay comparable as long as its scenes stay the same."""
    pool = dataclasses.replace(pool, all_orientations=all_orientations)
    digest = hashlib.sha256()
    for scene in _scenes(pool, SceneConfig(**settings), 20):
        digest.update(scene.image.tobytes() + scene.segmentation.tobytes())
    assert digest.hexdigest() == expected


def test_a_grid_brightens_every_fifth_row_and_column(pool):
    """From a random offset; the objects are those of the scene without a grid."""
    offsets = set()
    for plain, scene in zip(
        _scenes(pool, SceneConfig(), 60),
        _scenes(pool, SceneConfig(grid=0.4), 60),
        strict=True,
    ):
        np.testing.assert_array_equal(scene.boxes, plain.boxes)
        np.testing.assert_array_equal(scene.segmentation, plain.segmentation)
        image = scene.image[..., 0]
        # 0.4 of 255 is 102. Each line has free room, where nothing is brighter.
        rows = np.flatnonzero(image.min(axis=1) >= 102)
        columns = np.flatnonzero(image.min(axis=0) >= 102)
        assert len(rows) == len(columns) == 10
        assert set(np.diff(rows)) == set(np.diff(columns)) == {5}
        offsets.add((rows[0], columns[0]))
        expected = plain.image[..., 0].copy()
        expected[rows] = np.maximum(expected[rows], 102)
        expected[:, columns] = np.maximum(expected[:, columns], 102)
        np.testing.assert_array_equal(image, expected)
    assert len(offsets) > 15  # of 25


def test_noise_is_added_to_a_smaller_range_and_clipped(pool):
    """0.1 + N(0, 0.2) has its median at 0.1; below 0 there is Phi(-0.5) of it."""
    settings = {"pixel_range": (0.1, 0.9), "noise": 0.2}
    plain = _scenes(pool, SceneConfig(counts=(2,)), 60)
    noisy = _scenes(pool, SceneConfig(counts=(2,), **settings), 60)
    for one, other in zip(plain, noisy, strict=True):
        np.testing.assert_array_equal(one.segmentation, other.segmentation)
    clean, found = (np.stack([s.image for s in scenes]) for scenes in (plain, noisy))
    dark, bright = found[clean == 0] / 255, found[clean == 255] / 255
    np.testing.assert_allclose(
        [np.median(dark), np.median(bright)], [0.1, 0.9], atol=0.01
    )
    below = 0.3085  # Phi(-0.5)
    np.testing.assert_allclose(
        [(dark == 0).mean(), (bright == 1).mean()], below, atol=0.01
    )
    # A standard deviation above the median, where nothing is clipped.
    np.testing.assert_allclose(np.quantile(dark, 0.8413), 0.3, atol=0.01)


def test_a_range_of_pixels_without_noise(pool):
    (scene,) = _scenes(pool, SceneConfig(counts=(1,), pixel_range=(0.2, 0.6)), 1)
    assert (scene.image.min(), scene.image.max()) == (51, 153)


def test_attempts_limit_how_often_a_scene_is_drawn(pool):
    """Three of these objects fit on this canvas, but seldom at the first attempt."""
    crowded = SceneConfig(counts=(3,), canvas_size=(32, 32))
    once = dataclasses.replace(crowded, place_attempts=1, scene_attempts=1)
    assert all(len(scene.boxes) == 3 for scene in _scenes(pool, crowded, 20))
    with pytest.raises(InputError, match="do not fit"):
        _scenes(pool, once, 20)


def test_shrink_has_a_lower_bound(pool):
    """Ellipses are at most 20 pixels high, and N(1, 5) is below 1 half of the time."""
    config = SceneConfig(counts=(1,), shrink=(1.0, 5.0), min_shrink=1.0)
    boxes = np.concatenate([s.boxes for s in _scenes(pool, config, 100)])
    assert (50 * (boxes[:, 2:] - boxes[:, :2])).max() == pytest.approx(20)
    with pytest.raises(InputError, match="do not fit"):
        _scenes(
            pool, dataclasses.replace(config, min_shrink=0.1, scene_attempts=1), 100
        )


def test_too_many_objects_for_the_canvas(pool):
    config = SceneConfig(counts=(9,), canvas_size=(20, 20))
    with pytest.raises(
        InputError, match=r"^counts includes 9, but 9 objects do not fit .* 20x20"
    ):
        compose_scene(pool, config, split=0, index=0)


@pytest.mark.parametrize(
    "field, value",
    [
        ("counts", ()),
        ("counts", (-1,)),
        ("canvas_size", (50,)),
        ("overlap", 1),
        ("place_attempts", 0),
        ("scene_attempts", 0),
        ("shrink", (0.0, 0.1)),
        ("shrink", (1.3, -0.1)),
        ("shrink", 1.3),
        ("enlarge", (2.0, 0.5)),
        ("enlarge", (0.0, 1.0)),
        ("min_shrink", 0.0),
        ("grid", 1.5),
        ("grid_spacing", 0),
        ("pixel_range", (0.9, 0.1)),
        ("pixel_range", 0.5),
        ("noise", -0.1),
        ("seed", -1),
    ],
)
def test_settings_that_can_not_work(field, value):
    with pytest.raises(InputError, match=f"^{field} is "):
        SceneConfig(**{field: value})


@pytest.mark.parametrize("overlap", [False, True])
def test_segmentation_says_whose_ink_a_pixel_is(pool, overlap):
    config = SceneConfig(counts=(0, 1, 2, 3), overlap=overlap)
    for scene in _scenes(pool, config, 100):
        shown = scene.segmentation[..., 0]
        assert scene.segmentation.dtype == np.uint8
        np.testing.assert_array_equal(shown > 0, scene.image[..., 0] > 0)
        assert shown.max() <= len(scene.boxes)
        for number, box in enumerate(scene.boxes, start=1):
            inside = np.zeros_like(shown, bool)
            ymin, xmin, ymax, xmax = _in_pixels(box, 50)
            inside[ymin:ymax, xmin:xmax] = True
            assert not (shown == number)[~inside].any()
            if not overlap:
                # All ink in the box is this object's.
                assert set(np.unique(shown[inside])) <= {0, number}
