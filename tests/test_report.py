import dataclasses
import pathlib
import re

import numpy as np
import pytest

from air_tf.evaluation.evaluate import evaluate
from air_tf.evaluation.report import report
from air_tf.evaluation.table import table_rows
from air_tf.structs import ImageSet


@pytest.fixture(scope="module")
def page(learnt_run, held_out_scenes):
    images, counts = (part[:200] for part in held_out_scenes)
    air = learnt_run.load_model()
    # It counts nearly all images right: some of these counts are wrong.
    some = ImageSet(images, np.where(np.arange(200) < 5, counts + 1, counts))
    result = dataclasses.replace(evaluate(air, some), warnings=["Watch <this> & that."])
    return report(air, some, result, "A run & <its> data"), result


def test_page_holds_figures_and_pictures(page):
    text, result = page
    assert "A run &amp; &lt;its&gt; data" in text
    assert "Watch &lt;this&gt; &amp; that." in text
    for row in table_rows(result):
        name = f'<th class="level-{row.level}">{row.name}</th>'
        assert f"{name}<td>{row.value}</td>" in text, row
    assert len(re.findall('src="data:image/png;base64,', text)) == 5
    for heading in (
        "Calibration of q(n)",
        "Best",
        "Typical",
        "Worst",
        "Counted wrong",
    ):
        assert f"<h2>{heading}</h2>" in text


def test_page_refers_to_nothing_outside(page):
    text, _ = page
    assert not re.search(r"https?://|<script|<link|@import|url\(", text)


def test_without_counts_the_page_has_no_figures_of_counts(learnt_run, held_out_scenes):
    air, some = learnt_run.load_model(), ImageSet(held_out_scenes[0][:50])
    result = evaluate(air, some)
    text = report(air, some, result, "unlabelled")
    assert "confusion" not in text and "Counted wrong" not in text
    assert "<h2>Worst</h2>" in text


def test_images_without_objects_have_no_pictures(learnt_run):
    air, some = learnt_run.load_model(), ImageSet(np.zeros((5, 50, 50, 1), np.uint8))
    result = evaluate(air, some)
    assert "None of 5 images" in report(air, some, result, "empty")


def test_page_in_a_browser(page, browser, tmp_path):
    text, result = page
    path = pathlib.Path(tmp_path / "report.html")
    path.write_text(text, encoding="utf-8")
    browser.get(path.as_uri())
    run = browser.execute_script
    assert browser.title == "A run & <its> data"
    widths = run("return [...document.images].map(i => i.complete && i.naturalWidth)")
    assert len(widths) >= 4 and min(widths) > 100
    # Everything that was loaded came with the page.
    loaded = run("return performance.getEntriesByType('resource').map(e => e.name)")
    assert all(name.startswith("data:") for name in loaded)
    rows = run("return [...document.querySelectorAll('#figures tr')].length")
    assert rows == len(table_rows(result))
    cells = run(
        "return [...document.querySelectorAll('.confusion')].map(t =>"
        " [...t.querySelectorAll('tr')].slice(1).map(r =>"
        "  [...r.querySelectorAll('td')].map(c => +c.textContent.replace(',', ''))))"
    )
    assert cells == [result.count_confusion, result.count_confusion_sampled]
    # Nothing is wider than the window, and the browser reports no problem.
    assert run("return document.documentElement.scrollWidth <= innerWidth")
    assert not browser.get_log("browser")
