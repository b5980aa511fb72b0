import numpy as np
from PIL import Image

from air_tf.inference.steps import canvases_by_step
from air_tf.inference.variations import attend_frames
from air_tf.structs import Explanation
from air_tf.visualization import film


def test_a_frame_shows_images_with_boxes_above_reconstructions():
    """Two images of 8 x 16 pixels: twice as wide as high."""
    images = np.zeros((2, 8, 16, 1), np.float32)
    images[0] = 1.0
    box = [[0.25, 0.25, 0.75, 0.75]]
    found = Explanation(np.array([0, 1]), np.array([box, box]), 0.5 + 0.0 * images)
    frame = np.asarray(film.look(images, found, "step 3"))
    assert frame.shape == (2 * 92 + 4 + 20, 2 * 180 + 4, 3)
    above, below = frame[4:92], frame[96:184]
    assert np.all(above[:, 4:180] == 255)
    second = above[:, 184:360]
    assert tuple(second[22, 88]) == (0xE6, 0x19, 0x4B)  # the colour of step 1
    assert np.all(second[40:48, 80:96] == 0)
    assert np.all(below[:, 4:180] == 128)
    caption = frame[184:]
    assert caption.min() < 100


def _frames(number):
    return [Image.new("RGB", (40, 30), (i, 0, 255 - i)) for i in range(number)]


def test_a_film_has_the_first_and_the_last_of_many_frames(tmp_path):
    film.save_film(tmp_path / "a.gif", _frames(241), milliseconds=100)
    with Image.open(tmp_path / "a.gif") as read:
        assert read.n_frames == 60 and read.info["loop"] == 0
        colours, durations = [], []
        for i in range(read.n_frames):
            read.seek(i)
            colours.append(read.convert("RGB").getpixel((0, 0)))
            durations.append(read.info["duration"])
    assert durations == [100] * 59 + [3000]
    reds = np.array(colours)[:, 0]
    assert abs(reds[0] - 0) <= 2 and abs(reds[-1] - 240) <= 2
    assert np.all(np.diff(reds.astype(int)) >= 0)


def test_a_strip_holds_five_frames_below_each_other(tmp_path):
    film.save_strip(tmp_path / "a.png", _frames(9))
    with Image.open(tmp_path / "a.png") as read:
        assert read.size == (40, 150)
        assert [read.getpixel((0, 30 * i))[0] for i in range(5)] == [0, 2, 4, 6, 8]
    film.save_strip(tmp_path / "b.png", _frames(1))
    with Image.open(tmp_path / "b.png") as read:
        assert read.size == (40, 30)


def test_what_is_left_after_the_last_step_is_the_error(learnt_run, held_out_scenes):
    air, images = learnt_run.load_model(), held_out_scenes[0][:40]
    scenes = air.infer(images)
    frames = attend_frames(air, images, scenes)
    assert len(frames) == 1 + scenes.num_objects.max()
    first = int(np.argmax(scenes.num_objects))
    canvas = canvases_by_step(air, type(scenes)(*(x[[first]] for x in scenes)))[0]
    for frame, drawn in ((frames[0], canvas[0]), (frames[-1], canvas[-1])):
        shown = np.asarray(frame)[24:112]
        # The middle of every pixel of the image, in columns "drawn" and "left".
        places = ((np.arange(50) + 0.5) * 88 / 50).astype(int)
        grid = np.ix_(places, places)
        left = np.abs(images[first] / 255.0 - drawn)[..., 0]
        for column, expected in ((2, drawn[..., 0]), (3, left)):
            cell = shown[:, 4 + 92 * column :][:, :88]
            np.testing.assert_allclose(cell[grid][..., 0] / 255.0, expected, atol=0.003)
