# A headless Chromium with a profile of its own, for the tests and benchmarks that need a browser.
# SPDX-License-Identifier: Apache-2.0
import contextlib
import sys
import tempfile

from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service

FLAGS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
    "--autoplay-policy=no-user-gesture-required", "--disable-background-networking",
    "--disable-component-update", "--allow-loopback-in-peer-connection",
    # Pages of no address may not ask loopback servers otherwise; and a browser on a machine without a
    # network has no address but the loopback one.
    "--disable-features=LocalNetworkAccessChecks,WebRtcHideLocalIpsWithMdns",
]
LOAD_SECONDS = 60
STARTS = 3

# What a page that is still loading has got so far.
LOADED = """
return [document.readyState, ...performance.getEntriesByType('resource').map(
    r => `${r.name} ${r.responseStatus} ${Math.round(r.duration)} ms`)].join('; ');
"""


@contextlib.contextmanager
def chromium(opening="about:blank", size=(1600, 960)):
    """A browser that shows this page. It now and then starts with a renderer that never answers, whatever
    the page (one in hundreds on a busy machine); such a one is replaced, and this is said. A page that a
    living renderer can't load fails."""
    for attempt in range(1, STARTS + 1):
        with started(size) as driver:
            try:
                driver.get(opening)
            except TimeoutException:
                state = loaded(driver)
                if state is not None:
                    raise TimeoutError(f"{opening} did not load in {LOAD_SECONDS} s: {state}") from None
                # Not on stdout, which may be a program's answer.
                print(f"     Chromium's renderer does not answer (start {attempt})", file=sys.stderr)
                continue
            yield driver
            return
    raise TimeoutError(f"Chromium's renderer did not answer in {STARTS} starts")


@contextlib.contextmanager
def started(size):
    with tempfile.TemporaryDirectory(
            prefix="marsad-chromium-", ignore_cleanup_errors=True) as profile:
        options = Options()
        options.binary_location = "/usr/bin/chromium"
        for flag in FLAGS + [f"--user-data-dir={profile}", "--window-size={},{}".format(*size)]:
            options.add_argument(flag)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
        try:
            driver.set_page_load_timeout(LOAD_SECONDS)
            driver.set_script_timeout(20)
            yield driver
        finally:
            driver.quit()


def loaded(driver):
    """What the renderer says of its page; None where it says nothing."""
    try:
        return driver.execute_script(LOADED)
    except WebDriverException:
        return None
