"""The site in a real browser, opened from the disk: sorting, filtering, deep links, keyboard, colours, a phone.

Needs Chromium with its driver and selenium; without them these tests are skipped, and say so.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install -e '.[test]'")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = [
    pytest.mark.skipif(BROWSER is None, reason="no Chromium: apt-get install chromium chromium-driver"),
    pytest.mark.skipif(DRIVER is None, reason="no chromedriver: apt-get install chromium-driver"),
    pytest.mark.xdist_group("browser"),
]

FLAGS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--window-size=1280,900",
)  # fmt: skip
INSIDE = """
const place = document.getElementById('tip').getBoundingClientRect();
return place.left >= 0 && place.right <= innerWidth && place.top >= 0 && place.bottom <= innerHeight"""
EXPERIMENT = "experiments/leaks/leak.html"
BOARD = "board-membership"


class Browser:
    """Chromium with what these tests ask of it."""

    def __init__(self, profile: Path) -> None:
        os.environ["SE_OFFLINE"] = "true"  # selenium looks for no driver of its own
        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))

    def open(self, address: str) -> None:
        """A page, afresh: a change behind the # alone would load nothing."""
        self.driver.get("about:blank")
        self.driver.get(address)

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def css(self, selector: str) -> list[Any]:
        found: list[Any] = self.driver.find_elements("css selector", selector)
        return found

    def size(self, width: int, height: int = 800, touch: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def scheme(self, name: str) -> None:
        features = {"prefers-color-scheme": name, "prefers-reduced-motion": "reduce"}  # scrolling ends at once
        listed = [{"name": feature, "value": value} for feature, value in features.items()]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": listed})

    def complaints(self) -> list[str]:
        """What the console has said since it was last asked: errors and broken policies."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> set[str]:
        """Schemes and hosts that were asked for something since the last call."""
        import json
        from urllib.parse import urlsplit

        found = set()
        for entry in self.driver.get_log("performance"):
            message = json.loads(entry["message"])["message"]
            if message["method"] == "Network.requestWillBeSent":
                parts = urlsplit(message["params"]["request"]["url"])
                found.add(f"{parts.scheme}://{parts.netloc}")
        return found

    def column(self, key: str, table: str = BOARD) -> list[str]:
        """The visible texts of a table's column, in order."""
        script = """
            const table = document.getElementById(arguments[0]);
            const head = [...table.querySelectorAll("th[data-key]")].find((each) => each.dataset.key === arguments[1]);
            return [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => {
              const cell = row.cells[Number(head.dataset.column)];
              return (cell.querySelector(".v") || cell).textContent.trim();
            });"""
        found: list[str] = self.run(script, table, key)
        return found

    def press(self, key: str, table: str = BOARD) -> None:
        (button,) = self.css(f'#{table} th[data-key="{key}"] button')
        self.run("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", button)

    def choose(self, name: str, value: str) -> None:
        script = "arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('input'))"
        self.run(script, self.css(f'[data-filter="{name}"]')[0], value)

    def type(self, *keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(*keys).perform()


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.driver.quit()


@pytest.fixture
def page(browser: Browser, site: Path) -> Browser:
    browser.size(1280)
    browser.scheme("light")
    browser.open((site / EXPERIMENT).as_uri())
    browser.run("try { localStorage.clear() } catch {}; delete document.documentElement.dataset.theme")
    return browser


def numbers(texts: list[str]) -> list[float]:
    return [float(text.split(" ")[0].replace("\u2212", "-")) for text in texts if text != "\u2013"]


def test_tables_sort_by_their_heads_and_back(page: Browser) -> None:
    before = page.column("method")
    page.press("auc")
    up = page.column("auc")
    assert numbers(up) == sorted(numbers(up))
    assert up[-1] == "\u2013"
    (head,) = page.css(f'#{BOARD} th[data-key="auc"]')
    assert head.get_attribute("aria-sort") == "ascending"
    page.press("auc")
    down = page.column("auc")
    assert numbers(down) == sorted(numbers(down), reverse=True)
    assert down[-1] == "\u2013"  # what is missing stays last
    page.press("auc")
    assert page.column("method") == before


def test_tables_filter_and_count(page: Browser) -> None:
    page.choose("method", "crfu")
    page.choose("beta", "0.1")
    assert set(page.column("method")) == {"crfu"}
    assert len(page.column("method")) == 4
    (status,) = page.css("#shown")
    assert status.text.startswith("4 of ")
    page.choose("tier", "same")
    page.choose("dataset", "mnist")
    assert len(page.column("method")) == 1
    page.css("#reset")[0].click()
    assert len(page.column("method")) == 41


def test_where_methods_are_columns_a_chosen_one_hides_the_others(page: Browser) -> None:
    page.choose("method", "crfu")
    shown = [head.text for head in page.css("#glance th[data-of]") if head.is_displayed()]
    assert shown == ["crfu"]
    assert all(not cell.is_displayed() for cell in page.css("#glance tbody tr:first-child td[hidden]"))


def test_the_state_is_in_the_address_and_comes_back_with_it(page: Browser) -> None:
    page.choose("method", "vbu")
    page.choose("tier", "disjoint")
    page.press("auc")
    page.press("auc")
    address = page.driver.current_url
    assert address.startswith("file:")
    assert address.split("#")[1] == f"method=vbu&tier=disjoint&sort.{BOARD}=auc.desc"
    rows = page.column("auc")
    page.open(address)
    assert page.column("auc") == rows
    assert set(page.column("method")) == {"vbu"}
    assert page.css('[data-filter="tier"]')[0].get_attribute("value") == "disjoint"


def test_an_address_with_what_is_not_there_shows_everything(page: Browser, site: Path) -> None:
    address = (site / EXPERIMENT).as_uri()
    page.open(f"{address}#method=<img src=x onerror=alert(1)>&sort.{BOARD}=none.desc&__proto__=x")
    assert len(page.column("method")) == 41
    assert not page.complaints()


def test_links_within_the_page_keep_the_state(page: Browser) -> None:
    page.choose("method", "crfu")
    page.run("document.querySelector('.skip').click()")
    assert "method=crfu" in page.driver.current_url
    assert page.run("return document.activeElement.id") == "main"


def test_the_keyboard_reaches_every_number_and_shows_its_interval(page: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    assert len(page.css(f'#{BOARD} tbody [tabindex="0"]')) == 1  # one stop, then the arrows
    page.run(f"document.querySelector('#{BOARD} tbody [tabindex=\"0\"]').focus()")
    (tip,) = page.css("#tip")
    assert "place 1 of 3 by the mean of advantage" in tip.text
    place = page.run(f"return Number(document.querySelector('#{BOARD} th[data-key=auc]').dataset.column)")
    page.type(*[Keys.ARROW_RIGHT] * place)
    assert tip.is_displayed()
    assert "95 % interval" in tip.text
    assert "n = 5 seeds" in tip.text
    assert page.run(INSIDE)
    page.type(Keys.ARROW_RIGHT)
    assert "retraining" in tip.text
    page.type(Keys.ESCAPE)
    assert not tip.is_displayed()
    page.type(Keys.ARROW_DOWN)
    assert tip.is_displayed()
    assert page.run("return document.activeElement.matches(':focus-visible')")


def test_the_first_tab_stop_skips_to_the_content(page: Browser) -> None:
    from selenium.webdriver.common.keys import Keys

    page.type(Keys.TAB)
    assert page.run("return document.activeElement.className") == "skip"
    page.type(Keys.ENTER)
    assert page.run("return document.activeElement.id") == "main"


def test_the_pointer_shows_the_interval_and_a_reason(page: Browser) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.support.ui import WebDriverWait

    (tip,) = page.css("#tip")
    for place, words in (("td.leak", "betrays more than retraining does"), ("td.null:first-child", "not ranked")):
        cell = page.css(f"#{BOARD} {place}")[0]
        page.run("arguments[0].scrollIntoView({block: 'center'})", cell)
        # Scrolling hides a tip, and is told of in the next frame.
        page.driver.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
        ActionChains(page.driver).move_to_element(cell).perform()
        WebDriverWait(page.driver, 5).until(lambda _, words=words: words in tip.text, f"no tip says: {words}")


def test_screen_readers_get_the_interval_in_the_cell(page: Browser) -> None:
    (cell,) = page.css(f"#{BOARD} tbody tr:first-child td.n:nth-of-type(1)")[:1]
    node = page.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    names = [each.get("name", {}).get("value", "") for each in node if each.get("role", {}).get("value") == "gridcell"]
    assert any("95 % interval" in name and "n = 5 seeds" in name for name in names)
    assert cell.get_attribute("tabindex") is not None


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_systems_colours_are_taken_and_can_be_changed(page: Browser, scheme: str) -> None:
    page.scheme(scheme)
    back = "return getComputedStyle(document.documentElement).backgroundColor"
    colours = {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 19, 23)"}
    other = "dark" if scheme == "light" else "light"
    assert page.run(back) == colours[scheme]
    shown = [each.get_attribute("class").split()[0] for each in page.css(".plot img") if each.is_displayed()]
    assert set(shown) == {scheme}
    page.css("#theme")[0].click()
    assert page.run(back) == colours[other]
    page.driver.refresh()
    assert page.run(back) == colours[other]  # remembered
    page.css("#theme")[0].click()
    assert page.run(back) == colours[scheme]


CONTRAST = """
const channel = (v) => { v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; };
const light = (c) => 0.2126 * channel(c[0]) + 0.7152 * channel(c[1]) + 0.0722 * channel(c[2]);
const parse = (text) => text.match(/[0-9.]+/g).map(Number);
const ground = (node) => {
  for (; node; node = node.parentElement) {
    const c = parse(getComputedStyle(node).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c;
  }
  return [255, 255, 255];
};
const bad = [];
for (const node of document.querySelectorAll("body *")) {
  const own = [...node.childNodes].some((each) => each.nodeType === 3 && each.textContent.trim());
  if (!own || !node.checkVisibility()) continue;
  const [a, b] = [light(parse(getComputedStyle(node).color)), light(ground(node))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) bad.push(node.tagName + "." + node.className + " " + node.textContent.slice(0, 30) + " " + ratio);
}
return bad;
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["index.html", EXPERIMENT, "methods/crfu.html", "measured.html"])
def test_all_text_has_contrast(browser: Browser, site: Path, scheme: str, path: str) -> None:
    browser.scheme(scheme)
    browser.open((site / path).as_uri())
    browser.run("delete document.documentElement.dataset.theme")
    assert browser.run(CONTRAST) == []


def test_no_page_scrolls_sideways(browser: Browser, site: Path, hostile_site: Path) -> None:
    paths = [site / name for name in ("index.html", EXPERIMENT, "methods/crfu.html", "measured.html")]
    paths += [hostile_site / "index.html", *hostile_site.glob("experiments/*/*.html")]
    for path in paths:
        browser.open(path.as_uri())
        for width in (360, 768, 1920):
            browser.size(width, touch=width < 600)
            wide = browser.run("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, (path, width)
    browser.size(1280)


def test_a_touch_shows_the_interval(page: Browser) -> None:
    page.size(360, touch=True)
    cell = page.css(f"#{BOARD} td.leak")[0]
    page.run("arguments[0].scrollIntoView({block: 'center', inline: 'center'})", cell)
    cell.click()
    (tip,) = page.css("#tip")
    assert "minus the same attack on retraining" in tip.text
    assert page.run(INSIDE)
    page.size(1280)


def test_hostile_text_runs_nowhere(browser: Browser, hostile_site: Path) -> None:
    browser.requests()
    browser.complaints()
    for path in sorted(hostile_site.rglob("*.html")):
        browser.open(path.as_uri())
        browser.run("for (const s of document.querySelectorAll('select')) {"
                    " s.selectedIndex = s.options.length - 1; s.dispatchEvent(new Event('input')); }")  # fmt: skip
        assert browser.run("return document.querySelectorAll('body script, body img[src=x], iframe').length") == 0
        assert not browser.complaints(), path
    assert browser.requests() <= {"file://", "about://", "data://"}


def test_nothing_is_asked_of_another_host_and_nothing_goes_wrong(browser: Browser, site: Path) -> None:
    """Served below a path, as a host of pages would: every request goes to that host, and none fails."""
    root = site.parent
    handler = partial(Quiet, directory=str(root))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        base = f"http://127.0.0.1:{server.server_port}"
        browser.requests()
        browser.complaints()
        for path in sorted(site.rglob("*.html")):
            browser.open(f"{base}/{path.relative_to(root)}")
            browser.run("for (const each of document.querySelectorAll('details')) each.open = true;")
            said = [line for line in browser.complaints() if "favicon.ico" not in line]  # browsers ask by themselves
            assert not said, path
        assert browser.requests() <= {base, "about://", "data://"}
        server.shutdown()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


def test_the_policy_stops_inline_scripts_and_foreign_hosts(page: Browser) -> None:
    page.complaints()
    page.run("const s = document.createElement('script'); s.textContent = 'window.broken = 1'; document.body.append(s);"
             "const i = new Image(); i.src = 'https://example.invalid/x.png'; document.body.append(i);")  # fmt: skip
    assert page.run("return window.broken") is None
    said = " ".join(page.complaints())
    assert "Content Security Policy" in said
    assert "example.invalid" in said


def test_without_scripts_everything_is_there(browser: Browser, site: Path) -> None:
    browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open((site / EXPERIMENT).as_uri())
        assert len(browser.css(f"#{BOARD} tbody tr")) == 41
        assert not browser.css("#filters")[0].is_displayed()
        assert not browser.css("#theme")[0].is_displayed()
        assert [each.is_displayed() for each in browser.css(".plot img")].count(True) >= 2
    finally:
        browser.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_screens_are_drawn_in_both_colours_and_widths(browser: Browser, site: Path, tmp_path: Path) -> None:
    """Screenshots to look at lie in SCREENSHOTS, where that is set."""
    folder = Path(os.environ.get("SCREENSHOTS", tmp_path))
    sizes = set()
    for scheme in ("light", "dark"):
        for width, height in ((1280, 1600), (360, 1600)):
            browser.size(width, height, touch=width < 600)
            browser.scheme(scheme)
            for path in ("index.html", EXPERIMENT):
                browser.open((site / path).as_uri())
                name = folder / f"{Path(path).stem}_{width}_{scheme}.png"
                browser.driver.save_screenshot(str(name))
                sizes.add(name.stat().st_size > 10_000)
    assert sizes == {True}
    browser.size(1280)
