"""The page that runs a model in the browser, used as a reader would."""

import functools
import gzip
import hashlib
import http.server
import importlib.resources
import itertools
import json
import lzma
import pathlib
import shutil
import threading

import numpy as np
import pytest
from PIL import Image

from air_tf.deployment import demo, litert_js, web_page
from air_tf.deployment.edge import EdgeModel
from air_tf.errors import InputError
from air_tf.inference.editing import SceneEditor
from benchmarks.pen_digits import Stroke, brushed, shrunk

_AXE = pathlib.Path(__file__).parent / "fixtures" / "axe-4.14.1.min.js.xz"
_AXE_HASH = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
_FIELDS = ("num_objects", "num_objects_probs", "boxes", "z_where", "z_what", "canvas")


@pytest.fixture(scope="module")
def made(learnt_run, converted_float32, tmp_path_factory):
    """The page of the learnt run, its file, and the model in it."""
    folder = tmp_path_factory.mktemp("demo")

    def convert(run, file, *, format, **settings):
        assert run is learnt_run and format == "float32"
        assert set(settings.values()) == {None}
        shutil.copy(converted_float32[0], file)
        return converted_float32[1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "convert", convert)
        content = demo.make_demo(learnt_run, format="float32")
    demo.write_one_file(content, folder / "air.html")
    (folder / "air.tflite").write_bytes(content.model)
    return content, folder / "air.html", EdgeModel(folder / "air.tflite")


@pytest.fixture(scope="module")
def opened(made, browser):
    """The browser with the page, opened from the disk."""
    _open(browser, made[1].as_uri())
    return browser


@pytest.fixture
def fresh(opened):
    """The page with an empty drawing area."""
    opened.execute_script("document.getElementById('clear').click()")
    _wait(opened)
    return opened


def _open(browser, address):
    browser.get(address)
    browser.set_script_timeout(60)
    problem = browser.execute_async_script(
        """const done = arguments[0], problem = document.getElementById('problem');
        (function wait() {
          if (!problem.hidden) done(problem.textContent);
          else if (document.body.classList.contains('ready')) done('');
          else setTimeout(wait, 50);
        })();"""
    )
    assert problem == ""


def _wait(browser):
    """Until the page shows what was done last; returns what it found and drew."""
    return browser.execute_async_script(
        """const done = arguments[0];
        demo.update().then(() => {
          const {image, scene, drawn} = demo.computed();
          const plain = named => Object.fromEntries(
            Object.entries(named).map(([name, x]) => [name, Array.from(x)]));
          done({image: Array.from(image), scene: plain(scene), drawn: plain(drawn)});
        });"""
    )


def _text(browser, name):
    return browser.execute_script(
        f"return document.getElementById('{name}').textContent"
    )


def _click(browser, name):
    browser.execute_script(f"document.getElementById('{name}').click()")
    return _wait(browser)


def _scenes(found, model):
    """What the page found, as `Scenes` of one image."""
    height, width, _ = model.image_shape
    steps = model.max_objects
    shapes = {"boxes": (steps, 4), "z_where": (steps, 3), "z_what": (steps, -1)}
    shapes |= {"canvas": model.image_shape, "ground": model.image_shape}
    shapes["mask"] = (steps, height, width)
    arrays = {
        name: np.reshape(x, (1, *shapes.get(name, (-1,))))
        for name, x in found["scene"].items()
    }
    for name in ("num_objects", "num_trips"):
        arrays[name] = arrays[name].reshape(1).astype(int)
    return model.conversion.answers.to_scenes(arrays)


def _draw(browser, *strokes):
    """Draws with the mouse: strokes are points in pixels of the model's image."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    paper = browser.find_element(By.ID, "paper")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", paper)
    size = paper.size["width"]
    for stroke in strokes:
        actions = ActionChains(browser, duration=0)
        for i, (x, y) in enumerate(stroke):
            place = [round((v / 50 - 0.5) * size) for v in (x, y)]
            actions.move_to_element_with_offset(paper, *place)
            if not i:
                actions.click_and_hold()
        actions.release().perform()
    return _wait(browser)


_ONE = [(12, 9), (12, 13), (12, 17), (12, 21)]
_SEVEN = [(29, 30), (33, 30), (37, 30), (35, 36), (33, 42)]


def test_the_browser_finds_what_the_edge_model_finds(opened, made, held_out_scenes):
    images, _ = (part[:24] for part in held_out_scenes)
    pixels = images.astype(np.float32) / 255
    found = opened.execute_async_script(
        """const [images, names, done] = arguments;
        (async () => {
          const all = [];
          for (const image of images) {
            const scene = await demo.model.infer(Float32Array.from(image));
            all.push(names.map(name => Array.from(scene[name])));
          }
          done(all);
        })();""",
        pixels.reshape(len(pixels), -1).tolist(),
        _FIELDS,
    )
    wanted = made[2].infer(pixels)
    assert len(set(wanted.num_objects)) > 1
    for i, name in enumerate(_FIELDS):
        want = getattr(wanted, name)
        got = np.array([one[i] for one in found]).reshape(want.shape)
        np.testing.assert_allclose(got, want, atol=1e-4, err_msg=name)


def test_the_page_requests_nothing(opened, made):
    """Neither what it does by itself, nor what a script in it might want."""
    events = [json.loads(log["message"]) for log in opened.get_log("performance")]
    requested = {
        event["message"]["params"]["request"]["url"]
        for event in events
        if event["message"]["method"] == "Network.requestWillBeSent"
        # Not of the page that the browser starts with.
        and event["message"]["params"]["documentURL"] == made[1].as_uri()
    }
    assert made[1].as_uri() in requested
    outside = requested - {made[1].as_uri()}
    assert [url for url in outside if not url.startswith(("data:", "blob:"))] == []
    assert _errors(opened) == []
    refused = opened.execute_async_script(
        "const done = arguments[0];"
        "fetch('https://example.com/').then(() => done(false), () => done(true));"
    )
    assert refused and "Content Security Policy" in _errors(opened)[0]


def _errors(browser):
    logs = browser.get_log("browser")
    return [log["message"] for log in logs if log["level"] == "SEVERE"]


def test_drawing(fresh, made):
    """Strokes appear in the picture, which the model sees; they can be undone."""
    assert _text(fresh, "count") == "0 objects"
    found = _draw(fresh, _ONE)
    assert _text(fresh, "count") == "1 object"
    image = np.reshape(found["image"], (50, 50))
    assert image[15, 12] > 0.8 and image[:, 18:].max() == 0
    found = _draw(fresh, _SEVEN)
    assert _text(fresh, "count") == "2 objects"
    # What the page says is what another runtime says of the same pixels.
    model = made[2]
    wanted = model.infer(np.reshape(found["image"], (1, *model.image_shape)))
    got = _scenes(found, model)
    for name in _FIELDS:
        np.testing.assert_allclose(
            getattr(got, name), getattr(wanted, name), atol=1e-4, err_msg=name
        )
    rows = fresh.execute_script(
        "return [...document.querySelectorAll('#probabilities li')].map(row =>"
        " [...row.children].map(cell => cell.textContent))"
    )
    assert [row[0] for row in rows] == ["0", "1", "2", "3"]
    for row, prob in zip(rows, wanted.num_objects_probs[0], strict=True):
        assert abs(float(row[2].split()[0]) - 100 * prob) < 0.06
    boxes = _frames(fresh, "#boxes .found")
    ymin, xmin, ymax, xmax = np.moveaxis(wanted.boxes[0, :2], 1, 0)
    np.testing.assert_allclose(
        boxes, np.stack([ymin, xmin, ymax - ymin, xmax - xmin], 1), atol=0.02
    )
    _click(fresh, "undo")
    assert _text(fresh, "count") == "1 object"
    _click(fresh, "undo")
    assert _text(fresh, "count") == "0 objects"


@pytest.mark.parametrize("brush", [1.0, 2.5, 6.0])
def test_drawings_of_the_benchmark_are_those_of_the_page(fresh, made, brush):
    """Pixels of `benchmark.py --sizes`, which draws without a browser."""
    fresh.execute_script(
        "document.getElementById('brush').value = arguments[0]", str(brush)
    )
    found = np.reshape(_draw(fresh, _SEVEN)["image"], (50, 50))
    points = fresh.execute_script("return demo.state().strokes[0].points")
    ways = [np.linspace(start, end, 50) for start, end in itertools.pairwise(points)]
    stroke = Stroke(np.concatenate(ways), brush)
    limit = made[0].settings["drawnSize"]
    drawn = brushed(shrunk([stroke], (50, 50), limit), (50, 50)) / 255
    assert np.abs(drawn - found).max() < 0.3
    assert np.abs(drawn - found)[found > 0].mean() < 0.06
    np.testing.assert_allclose(drawn.sum(), found.sum(), rtol=0.12)


def _frames(browser, selector):
    """(top, left, height, width) of elements as shares of the stage they lie on."""
    return browser.execute_script(
        """return [...document.querySelectorAll(arguments[0])].map(element => {
          const stage = element.closest('.stage').getBoundingClientRect();
          const frame = element.getBoundingClientRect();
          return [(frame.top - stage.top) / stage.height,
            (frame.left - stage.left) / stage.width,
            frame.height / stage.height, frame.width / stage.width]; });""",
        selector,
    )


def test_the_steps_show_what_is_left_and_drawn(fresh):
    found = _draw(fresh, _ONE, _SEVEN)
    shown = fresh.execute_script(
        """return [...document.querySelectorAll('#steps li')].map(item =>
          [...item.querySelectorAll('canvas')].map(canvas => {
            const {width, height} = canvas, pen = canvas.getContext('2d');
            const {data} = pen.getImageData(0, 0, width, height);
            return Array.from({length: width * height}, (_, i) => data[4 * i]); }));"""
    )
    assert [len(pictures) for pictures in shown] == [3, 3, 1]
    image = 255 * np.array(found["image"])
    canvas = 255 * np.clip(found["scene"]["canvas"], 0, 1)
    (left, _, first), (second_left, _, both), (rest,) = map(np.array, shown)
    np.testing.assert_allclose(left, image, atol=1)
    np.testing.assert_allclose(second_left, np.abs(image - first), atol=2)
    np.testing.assert_allclose(both, canvas, atol=1)
    np.testing.assert_allclose(rest, np.abs(image - canvas), atol=2)


def test_objects_are_moved_copied_and_deleted(fresh, made, learnt_run):
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    model = made[2]
    scenes = _scenes(_draw(fresh, _ONE, _SEVEN), model)
    editor = SceneEditor(learnt_run.load_model(), scenes)

    def require(found):
        drawn = editor.scenes()
        np.testing.assert_allclose(
            np.reshape(found["drawn"]["canvas"], model.image_shape),
            drawn.canvas[0],
            atol=1e-4,
        )
        n = int(drawn.num_objects[0])
        boxes = np.reshape(found["drawn"]["boxes"], (-1, 4))
        np.testing.assert_allclose(boxes[:n], drawn.boxes[0], atol=1e-4)
        assert len(_visible_boxes(fresh)) == n
        # What was found in the picture stays.
        assert _text(fresh, "count") == "2 objects"

    # By a fifth of the drawing to the left, and a tenth up.
    box, size = _visible_boxes(fresh)[0], fresh.find_element(By.ID, "drawn").size
    fresh.execute_script("arguments[0].scrollIntoView({block: 'center'})", box)
    right, down = -round(size["width"] / 5), -round(size["height"] / 10)
    ActionChains(fresh, duration=0).click_and_hold(box).move_by_offset(
        right, down
    ).release().perform()
    editor.move(0, down / size["height"], right / size["width"])
    require(_wait(fresh))
    # By the keyboard: 5 pixels down, 1 to the right; a copy; without the first.
    box.send_keys("\ue008\ue015\ue008")  # Shift, arrow down, Shift up
    box.send_keys("\ue014")  # arrow right
    editor.move(0, 5 / 50, 1 / 50)
    require(_wait(fresh))
    y, x = (float(v) for v in editor.scenes().z_where[0, 0, 1:])
    box.send_keys("c")
    editor.duplicate(0, -0.15 if y > 0 else 0.15, -0.15 if x > 0 else 0.15)
    require(_wait(fresh))
    assert not fresh.find_element(By.ID, "copy").is_enabled()  # T = 3
    assert "3 objects, as you arranged" in _text(fresh, "arranged")
    assert fresh.switch_to.active_element.accessible_name == "Object 3"
    _visible_boxes(fresh)[0].send_keys("\ue017")  # Delete
    editor.remove(0)
    require(_wait(fresh))
    _click(fresh, "remove")
    editor.remove(0)
    require(_wait(fresh))
    for _ in range(6):
        _click(fresh, "undo")
    assert _text(fresh, "arranged") == "As the model found it."


def _visible_boxes(browser):
    from selenium.webdriver.common.by import By

    found = browser.find_elements(By.CSS_SELECTOR, "#handles .box")
    return [box for box in found if box.is_displayed()]


def test_samples_are_held_out_scenes(fresh, made, learnt_run):
    images = learnt_run.load_images(["test"])["test"].images
    found = fresh.execute_async_script(
        """const done = arguments[0];
        (async () => {
          const all = [];
          for (const sample of document.querySelectorAll('#samples button')) {
            sample.click();
            await demo.update();
            all.push(Array.from(demo.computed().image, x => Math.round(255 * x)));
          }
          done(all);
        })();"""
    )
    assert len(found) == 12
    known = {image.tobytes() for image in images}
    assert all(np.uint8(image).tobytes() in known for image in found)


def test_pictures_of_ones_own(fresh, tmp_path):
    from selenium.webdriver.common.by import By

    # White on half-transparent black and red; grey of red is 0.299.
    picture = np.zeros((100, 200, 4), np.uint8)
    picture[:50, :100] = 255
    picture[50:, 100:] = (255, 0, 0, 255)
    picture[50:, :100] = (255, 255, 255, 0)
    Image.fromarray(picture).save(tmp_path / "a.png")
    field = fresh.find_element(By.ID, "file")
    field.send_keys(str(tmp_path / "a.png"))
    found = _until(fresh, lambda found: max(found["image"]) > 0)
    image = np.reshape(found["image"], (50, 50))
    corners = image[10, 10], image[10, 40], image[40, 10], image[40, 40]
    np.testing.assert_allclose(corners, (1, 0, 0, 76 / 255), atol=0.005)
    # Dropped on the page.
    fresh.execute_script(
        """const data = new DataTransfer();
        data.items.add(new File(['nothing'], 'b.png', {type: 'image/png'}));
        dispatchEvent(new DragEvent('drop', {dataTransfer: data, cancelable: true}));"""
    )
    _until(fresh, lambda _: "b.png can't be decoded" in _text(fresh, "problem"))
    _click(fresh, "clear")
    field.send_keys(str(tmp_path / "a.png"))
    _until(fresh, lambda found: max(found["image"]) > 0)
    assert not fresh.find_element(By.ID, "problem").is_displayed()


def _until(browser, holds):
    for _ in range(100):
        found = _wait(browser)
        if holds(found):
            return found
    raise AssertionError("not in time")


def test_size_of_drawings(fresh, made, held_out_scenes):
    """Frames show a small and a large size; larger strokes are noticed."""
    from selenium.webdriver.common.by import By

    sizes = made[0].settings["objectSizes"]
    boxes = made[2].infer(held_out_scenes[0][:200])
    boxes = boxes.boxes[boxes.presence == 1]
    heights, widths = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    # Of other held-out scenes.
    wanted = np.quantile([heights, widths], [0.05, 0.5, 0.95], axis=1)
    np.testing.assert_allclose(sizes, wanted, atol=0.05)
    small, large = (frame[2:] for frame in _frames(fresh, "#guide span"))
    np.testing.assert_allclose([small, large], [sizes[0], sizes[2]], atol=0.01)
    note = fresh.find_element(By.ID, "large")
    _draw(fresh, _ONE[:3])
    assert not note.is_displayed()
    # On a picture, which can't be shown smaller.
    fresh.execute_script("document.querySelector('#samples button').click()")
    _draw(fresh, [(20, 3), (20, 47)])
    assert "Draw smaller, or on the empty page" in note.text


def test_large_drawings_are_shown_smaller(fresh, made):
    """A large drawing is counted as the small one that the model is shown."""
    from selenium.webdriver.common.by import By

    # A 7 of 40 pixels.
    large = _draw(fresh, [(10, 5), (36, 5)], [(36, 5), (22, 45)])
    assert _text(fresh, "count") == "1 object"
    size = made[0].settings["drawnSize"]
    points = fresh.execute_script("return demo.state().strokes.map(s => s.points)")
    width = float(fresh.find_element(By.ID, "brush").get_property("value"))
    longest = max(np.ptp(stroke, axis=0).max() for stroke in points) + width
    zoom = size / longest
    note = fresh.find_element(By.ID, "large")
    assert f"at {round(100 * zoom)} % of its size" in note.text
    image = np.reshape(large["image"], (50, 50))
    rows, columns = (np.flatnonzero(image.max(axis=axis) > 0.2) for axis in (1, 0))
    for found, low, high in ((rows, 5, 45), (columns, 10, 36)):
        assert abs(found[0] - (25 + zoom * (low - 25))) <= 2
        assert abs(found[-1] - (25 + zoom * (high - 25))) <= 2
    # The box lies around what was drawn.
    found = np.array(large["scene"]["boxes"][:4])
    ymin, xmin, ymax, xmax = 0.5 + (found - 0.5) / zoom
    ((top, left, tall, wide),) = _frames(fresh, "#boxes .found")
    np.testing.assert_allclose([top, left], [ymin, xmin], atol=0.02)
    np.testing.assert_allclose([tall, wide], [ymax - ymin, xmax - xmin], atol=0.02)
    assert top < 0.25 and top + tall > 0.7
    # What the benchmark shows the model.
    strokes = [
        Stroke(np.linspace(*stroke[:: len(stroke) - 1], 200), width)
        for stroke in map(np.array, points)
    ]
    drawn = brushed(shrunk(strokes, (50, 50), size), (50, 50)) / 255
    assert np.abs(drawn - image)[image > 0].mean() < 0.06
    # Small again, without the large stroke.
    _click(fresh, "clear")
    _draw(fresh, _ONE[:3])
    assert not note.is_displayed()


def test_what_happens_during_a_stroke(fresh):
    """Undo and Clear end it; what lies outside of the drawing area is left out."""
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.by import By

    paper = fresh.find_element(By.ID, "paper")
    fresh.execute_script("arguments[0].scrollIntoView({block: 'center'})", paper)
    size = paper.size["width"]
    _errors(fresh)  # those of other tests
    strokes = "return demo.state().strokes.map(s => s.points)"
    _draw(fresh, _ONE)
    first = fresh.execute_script(strokes)
    for button, left in (("undo", first), ("clear", [])):
        start = ActionChains(fresh, duration=0).move_to_element(paper).click_and_hold()
        start.move_by_offset(20, 20).perform()
        fresh.execute_script(f"document.getElementById('{button}').click()")
        ActionChains(fresh, duration=0).move_by_offset(9, 9).release().perform()
        _wait(fresh)
        assert fresh.execute_script(strokes) == left
    start = ActionChains(fresh, duration=0).move_to_element(paper).click_and_hold()
    start.move_by_offset(10, 0).move_by_offset(size, 0).release().perform()
    _wait(fresh)
    ((*_, last),) = fresh.execute_script(strokes)
    assert last[0] < 50
    assert not fresh.find_element(By.ID, "problem").is_displayed()
    assert _errors(fresh) == []


@pytest.fixture
def phone(fresh):
    fresh.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 640, "deviceScaleFactor": 2, "mobile": True},
    )
    yield fresh
    fresh.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_a_phone(phone):
    """Nothing is wider than the window, and a finger can draw."""
    phone.execute_script("document.querySelectorAll('#samples button')[1].click()")
    _wait(phone)
    assert phone.execute_script("return document.documentElement.scrollWidth") <= 360
    _click(phone, "clear")
    place = phone.execute_script(
        """const paper = document.getElementById('paper');
        paper.scrollIntoView({block: 'center'});
        const {left, top, width} = paper.getBoundingClientRect();
        return [left, top, width / 50];"""
    )
    left, top, zoom = place

    def touch(kind, *points):
        touches = [{"x": left + x * zoom, "y": top + y * zoom} for x, y in points]
        phone.execute_cdp_cmd(
            "Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches}
        )

    touch("touchStart", _ONE[0])
    for point in _ONE[1:]:
        touch("touchMove", point)
    touch("touchEnd")
    _wait(phone)
    assert _text(phone, "count") == "1 object"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(fresh, scheme):
    """No violation that axe-core finds, in both colour schemes."""
    axe = lzma.decompress(_AXE.read_bytes())
    assert hashlib.sha256(axe).hexdigest() == _AXE_HASH
    feature = {"name": "prefers-color-scheme", "value": scheme}
    fresh.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    _draw(fresh, _ONE, [(20, 3), (20, 47)])
    fresh.execute_cdp_cmd("Runtime.evaluate", {"expression": axe.decode()})
    found = fresh.execute_async_script(
        "axe.run().then(arguments[0], error => arguments[0](String(error)))"
    )
    assert len(found["passes"]) > 20
    assert [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found["violations"]
    ] == []


def test_all_controls_are_reached_by_the_tab_key(fresh):
    from selenium.webdriver import ActionChains

    _draw(fresh, _ONE)
    fresh.execute_script("document.activeElement.blur(); scrollTo(0, 0)")
    reached, outlines = [], []
    for _ in range(20):
        ActionChains(fresh, duration=0).send_keys("\ue004").perform()
        name, outline = fresh.execute_script(
            "const e = document.activeElement; return [e.id || e.tagName + '.' +"
            " e.className, getComputedStyle(e.id === 'file' ?"
            " e.labels[0] : e).outlineStyle]"
        )
        reached.append(name)
        outlines.append(outline)
    for name in ("undo", "clear", "file", "brush", "BUTTON.box", "copy", "remove"):
        assert name in reached, reached
    assert reached[-1] == "SUMMARY."
    assert reached.count("BUTTON.") == 12  # the held-out scenes
    shown = dict(zip(reached, outlines, strict=True))
    assert {shown[name] for name in ("undo", "clear", "copy", "BUTTON.box")} == {
        "solid"
    }


def test_a_browser_that_lacks_something_says_so(browser, made):
    script = "delete self.DecompressionStream; delete WebAssembly.validate;"
    script += "WebAssembly.validate = () => false;"
    added = browser.execute_cdp_cmd(
        "Page.addScriptToEvaluateOnNewDocument", {"source": script}
    )
    try:
        browser.get(made[1].as_uri())
        text = _text(browser, "problem")
    finally:
        browser.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", added)
    assert text.startswith("This browser lacks DecompressionStream, WebAssembly SIMD.")


def test_files_for_a_web_server(browser, made, tmp_path):
    demo.write_files(made[0], tmp_path / "site")
    with pytest.raises(InputError, match=r"app\.js exists; .* `overwrite`"):
        demo.write_files(made[0], tmp_path / "site")
    with gzip.open(tmp_path / "site" / "air.tflite.gz") as file:
        assert file.read() == made[0].model
    handler = functools.partial(_Quiet, directory=str(tmp_path / "site"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    browser.get((tmp_path / "site" / "index.html").as_uri())
    assert "has to come from a web server" in _text(browser, "problem")
    try:
        _open(browser, f"http://127.0.0.1:{server.server_port}/")
        assert _text(browser, "count") == "0 objects"
    finally:
        server.shutdown()
        server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def test_nothing_can_be_done_before_the_model_is_loaded(made, fresh):
    """Controls that work without it would start from a page without a state."""
    html = web_page.one_file(made[0])
    for name in ("undo", "clear", "file", "copy", "remove"):
        (tag,) = (part for part in html.split("<") if f'id="{name}"' in part)
        assert " disabled" in tag.partition(">")[0]
    for name in ("clear", "file"):
        enabled = f"return !document.getElementById('{name}').disabled"
        assert fresh.execute_script(enabled)


def test_sizes(made):
    """Of the page in a few parts, and of what the package holds."""
    folder = importlib.resources.files("air_tf.deployment") / "litert"
    assert max(len(file.read_bytes()) for file in folder.iterdir()) < 2_000_000
    own = 4 / 3 * len(gzip.compress(made[0].model))
    assert len(web_page.one_file(made[0])) < own + 4_200_000
    # The same page from the same run.
    assert web_page.one_file(made[0]) == made[1].read_text(encoding="utf-8")


def test_a_damaged_runtime_is_refused(monkeypatch, tmp_path):
    source = importlib.resources.files("air_tf.deployment") / "litert"
    (tmp_path / "contents.json").write_bytes((source / "contents.json").read_bytes())
    monkeypatch.setattr(litert_js, "_FOLDER", tmp_path)
    file = tmp_path / "core.js.xz"
    with pytest.raises(InputError, match=r"core\.js\.xz can't be read"):
        litert_js.read_file("core.js")
    file.write_bytes(lzma.compress(b"something else"))
    with pytest.raises(InputError, match=r"core\.js\.xz is damaged"):
        litert_js.read_file("core.js")


def test_samples_are_of_all_counts():
    counts = np.array([1, 1, 1, 0, 2, 3, 2, 1])
    # The first of each count, then the second.
    assert demo._of_all_counts(counts).tolist() == [0, 4, 5, 1, 6, 2, 7]
    assert len(demo._of_all_counts(np.ones(50, int))) == 12
    assert not len(demo._of_all_counts(np.zeros(5, int)))


def test_small_usual_and_large_sizes():
    boxes = np.array([[0, 0, 0.1, 0.5], [0.2, 0, 0.5, 0.2], [0, 0.1, 0.2, 0.4]])
    sizes = [[0.11, 0.21], [0.2, 0.3], [0.29, 0.48]]
    assert demo.object_sizes(boxes) == sizes
    assert demo.drawn_size(sizes, (100, 50)) == pytest.approx(0.9 * 20)
    assert demo.drawn_size(sizes, (50, 100)) == pytest.approx(0.9 * 30)
    assert demo.object_sizes(boxes[:0]) is None


def test_runs_that_are_refused(tabletop_run, learnt_run):
    with pytest.raises(InputError, match="is a run of 3D scenes; expected one of two-"):
        demo.make_demo(tabletop_run, format="dynamic")
    with pytest.raises(InputError, match="format is 'int8'; expected float32, float16"):
        demo.make_demo(learnt_run, format="int8")
