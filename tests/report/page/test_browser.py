"""The page in a real browser: nothing is loaded, nothing fails, everything works by mouse and by keyboard.

Needs Chromium and its driver (on Debian: chromium, chromium-driver) and selenium.
"""

from __future__ import annotations

import base64
import shutil

import pytest

from idsim.report.html import write_report
from report.page.worlds import DecoderHere

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")

pytestmark = pytest.mark.skipif(
    CHROMIUM is None or DRIVER is None,
    reason="needs chromium and chromedriver (Debian: chromium, chromium-driver)",
)

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-component-update",
    "--disable-background-networking", "--disable-sync",
)  # fmt: skip
NARROW, WIDE = 360, 1400


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium (the extra test)")
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(pictures_run, series_run, tmp_path_factory):
    """A page with faces, one of a series, and a comparison."""
    folder = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("idsim.report.figures.MOST", 3)  # figures take most of the time
        patched.setattr("idsim.report.thumbnails.DecoderPool", DecoderHere)
        return {
            "faces": write_report(pictures_run, folder / "faces.html", faces="show"),
            "series": write_report(series_run, folder / "series.html", run_code=True),
            "comparison": write_report([pictures_run, series_run], folder / "comparison.html"),
        }


@pytest.fixture
def opened(browser, pages):
    """Open a page in a window of some width, light or dark."""

    def load(name, width=WIDE, scheme="light", media=""):
        metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width == NARROW}
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        # A page that scrolls smoothly is still on its way when the mouse clicks.
        wanted = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wanted.items()]
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
        for kind in ("browser", "performance"):
            browser.get_log(kind)  # what was before is none of this page's
        browser.get(pages.get(name, name).as_uri())
        return browser

    return load


def messages(browser):
    """What the console said since the last call."""
    return [entry["message"] for entry in browser.get_log("browser")]


def requests(browser):
    """Addresses of everything that was asked for since the last call."""
    import json

    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def column(browser, place):
    return browser.execute_script(
        "return Array.from(document.querySelectorAll('table.pairs tbody tr'))"
        ".filter(row => !row.hidden).map(row => row.cells[arguments[0]].dataset.value)",
        place,
    )


def press(browser, *keys):
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(browser).send_keys(*keys).perform()


@pytest.mark.parametrize("name", ["faces", "series", "comparison"])
def test_no_error_and_no_request(opened, name):
    browser = opened(name, scheme="dark")
    assert messages(browser) == []
    found = requests(browser)
    assert any(url.startswith("file:") for url in found)
    assert [url for url in found if not url.startswith(("file:", "data:"))] == []
    assert (
        browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
        == []
    )


def test_the_policy_is_enforced_and_the_tests_would_see_a_breach(opened, pages, tmp_path):
    text = pages["comparison"].read_text()
    broken = tmp_path / "broken.html"
    broken.write_text(
        text.replace("<main", '<img src="https://localhost:9/x.png" alt=""><main', 1)
        .replace("<h1>", '<h1 style="color:red" onclick="document.title=1">', 1)
        .replace("</body>", "<script>document.title = 'changed'</script></body>", 1)
    )
    browser = opened(broken)
    said = " ".join(messages(browser))
    assert "img-src" in said or "localhost" in said
    assert "style-src" in said
    assert "script-src" in said
    assert browser.title != "changed"
    assert not any(url.startswith("https:") for url in requests(browser) if "localhost" not in url)


def test_sorting_by_mouse_and_keyboard(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser = opened("faces")
    heading = browser.find_element(
        By.XPATH, "//table[contains(@class,'pairs')]//th[.//button[text()='fine']]"
    )
    place = browser.execute_script("return arguments[0].cellIndex", heading)
    ranks = column(browser, 0)
    assert ranks == [str(number) for number in range(1, len(ranks) + 1)]
    heading.find_element(By.TAG_NAME, "button").click()
    values = [float(value) for value in column(browser, place) if value is not None]
    assert heading.get_attribute("aria-sort") == "descending"
    assert values == sorted(values, reverse=True)
    press(browser, Keys.ENTER)
    values = [float(value) for value in column(browser, place) if value is not None]
    assert heading.get_attribute("aria-sort") == "ascending"
    assert values == sorted(values)
    rank = browser.find_element(By.CSS_SELECTOR, "table.pairs th button")
    browser.execute_script("arguments[0].focus()", rank)
    press(browser, Keys.SPACE)
    press(browser, Keys.SPACE)
    assert heading.get_attribute("aria-sort") == "none"
    assert column(browser, 0) == ranks
    assert messages(browser) == []


def test_filtering_by_matcher(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import Select

    browser = opened("faces")
    every = len(column(browser, 0))
    found = [
        row.get_attribute("data-found").split()
        for row in browser.find_elements(By.CSS_SELECTOR, "table.pairs tbody tr")
    ]
    choice = Select(browser.find_element(By.CSS_SELECTOR, "select.filter"))
    for value, expected in (("0", "0"), ("1", "1")):
        choice.select_by_value(value)
        assert len(column(browser, 0)) == sum(expected in places for places in found)
    choice.select_by_value("all")
    both = sum(len(places) == 2 for places in found)
    assert 0 < both < every
    assert len(column(browser, 0)) == both
    assert browser.find_element(By.CSS_SELECTOR, "output.shown").text == f"{both} of {every} pairs"
    choice.select_by_value("")
    assert len(column(browser, 0)) == every


def test_faces_are_blurred_until_asked_for(opened):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    def filters():
        script = "return Array.from(document.querySelectorAll('button.face svg')).map(p => getComputedStyle(p).filter)"
        return browser.execute_script(script)

    browser = opened("faces")
    assert set(filters()) == {"blur(9px)"}
    faces = browser.find_elements(By.CSS_SELECTOR, "button.face")
    faces[0].click()
    assert filters()[:2] == ["none", "blur(9px)"]
    assert faces[0].get_attribute("aria-label").startswith("Blur: Image of the training set T-")
    press(browser, Keys.TAB, Keys.SPACE)
    assert filters()[:3] == ["none", "none", "blur(9px)"]
    press(browser, Keys.ENTER)
    assert filters()[:2] == ["none", "blur(9px)"]
    switch = browser.find_element(By.CSS_SELECTOR, "button.all-faces")
    switch.click()
    assert set(filters()) == {"none"}
    assert switch.text == "Blur all faces"
    press(browser, Keys.ENTER)
    assert set(filters()) == {"blur(9px)"}


def test_without_scripts_the_page_is_whole_and_blurred(opened, browser):
    from selenium.webdriver.common.by import By

    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        opened("faces")
        face = browser.find_element(By.CSS_SELECTOR, "button.face svg")
        assert face.value_of_css_property("filter") == "blur(9px)"
        assert "Leak rates" in browser.find_element(By.TAG_NAME, "main").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("name", ["faces", "series", "comparison"])
@pytest.mark.parametrize("width", [NARROW, WIDE])
def test_the_page_fits_the_window(opened, name, width):
    browser = opened(name, width)
    browser.execute_script(
        "document.querySelectorAll('details').forEach(details => { details.open = true; })"
    )
    inner, page, body = browser.execute_script(
        "return [document.documentElement.clientWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    )
    assert inner <= width
    assert page <= inner
    assert body <= inner
    beyond = browser.execute_script(
        "return Array.from(document.querySelectorAll('main *')).filter(e => !e.closest('.scroll, pre, svg, .unseen'))"
        ".filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1).length"
    )
    assert beyond == 0


def test_keyboard_reaches_the_results_first(opened):
    from selenium.webdriver.common.keys import Keys

    browser = opened("series")
    press(browser, Keys.TAB)
    label, left = browser.execute_script(
        "const e = document.activeElement; return [e.textContent, e.getBoundingClientRect().left]"
    )
    assert label == "Skip to the results"
    assert left >= 0
    reached = browser.execute_script(
        "return Array.from(document.querySelectorAll('.scroll'))"
        ".every(e => e.tabIndex === 0 && e.getAttribute('aria-label') !== '')"
    )
    assert reached


def luminance(colour):
    channels = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    """WCAG's contrast ratio of two colours."""
    bright, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def test_light_and_dark(opened):
    script = (
        "const of = (s, p) => getComputedStyle(document.querySelector(s)).getPropertyValue(p);"
        "return [of('body', 'background-color'), of('body', 'color'), of('.lead', 'color'), of('.contents a', 'color'),"
        " of('.status', 'color'), of('.status', 'background-color'), of('.plot text', 'fill')]"
    )
    found = {}
    for scheme in ("light", "dark"):
        browser = opened("series", scheme=scheme)
        paper, ink, muted, link, status, badge, figure = found[scheme] = browser.execute_script(script)
        assert (luminance(paper) > 0.5) == (scheme == "light")
        for colour in (ink, muted, link, figure):
            assert contrast(colour, paper) >= 4.5, (scheme, colour)
        assert contrast(status, badge) >= 4.5
    assert not set(found["light"]) & set(found["dark"])


def test_print(opened):
    browser = opened("faces", scheme="dark")
    printed = browser.execute_cdp_cmd(
        "Page.printToPDF", {"preferCSSPageSize": True, "printBackground": False}
    )
    content = base64.b64decode(printed["data"])
    assert content.startswith(b"%PDF-")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") > 2
    browser = opened("faces", scheme="dark", media="print")
    paper, menu, overflow = browser.execute_script(
        "const of = (s, p) => getComputedStyle(document.querySelector(s)).getPropertyValue(p);"
        "return [of('body', 'background-color'), of('.contents', 'display'), of('.scroll', 'overflow-x')]"
    )
    assert luminance(paper) > 0.9
    assert (menu, overflow) == ("none", "visible")
