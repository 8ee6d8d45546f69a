"""The report in a real browser: no console message, works at phone width, opens fast."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from synthetic_run import add_verification, write_exports, write_run

from proxyless_hw.report.report import write_report

pytestmark = pytest.mark.slow

PROBE = (
    "<script>addEventListener('load',()=>{const d=document.documentElement;"
    "d.dataset.loaded=Math.round(performance.now());"
    "d.dataset.overflow=d.scrollWidth-d.clientWidth;d.dataset.width=innerWidth;"
    # Values that take two lines or more room than there is; texts that their drawing cuts off.
    "const q=s=>[...document.querySelectorAll(s)];"
    "d.dataset.wrapped=q('.card b,.badge').filter(b=>"
    "b.getClientRects().length>1||b.scrollWidth>b.parentElement.clientWidth||"
    "b.offsetHeight>2*parseFloat(getComputedStyle(b).fontSize)).length;"
    "d.dataset.clipped=q('svg text').filter(t=>{const b=t.getBBox(),v=t.ownerSVGElement.viewBox"
    ".baseVal;return !t.getAttribute('transform')&&(b.x<-1||b.x+b.width>v.width+1||"
    "b.y+b.height>v.height+1);}).length;"
    "d.dataset.texts=q('svg text').length;"
    "const s=document.querySelector('.scrubber input');"
    "if(s){s.value=0;s.dispatchEvent(new Event('input'));}})</script>"
)


def browser() -> str:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        path = shutil.which(name)
        if path:
            return path
    pytest.fail("this test needs a browser: apt-get install chromium")


def visit(page: Path, size: str, *options: str) -> tuple[str, list[str]]:
    """Opens a page; returns the document after its scripts ran, and the console's messages."""
    found = subprocess.run(
        [
            browser(),
            *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"),
            *(f"--window-size={size}", f"--user-data-dir={page.parent / 'profile'}"),
            *options,
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = [line for line in found.stderr.splitlines() if ":CONSOLE" in line]
    return found.stdout, console


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("browser")
    runs = [write_run(folder / "cpu"), write_run(folder / "phone", seed=3, device="phone")]
    add_verification(runs[0], verdict="undecided")
    result = json.loads((runs[0] / "result.json").read_text())
    result["seconds"] = 3599  # the longest form: 59 min 59 s
    (runs[0] / "result.json").write_text(json.dumps(result))
    write_exports(runs[0])
    path = write_report(runs, folder / "report.html")
    path.write_text(path.read_text().replace("</body>", f"{PROBE}</body>"))
    return path


def value(document: str, name: str) -> int:
    return int(re.search(rf'<html[^>]* data-{name}="(-?\d+)"', document)[1])


@pytest.mark.parametrize("scheme", ["0", "1"], ids=["dark", "light"])
def test_the_console_stays_empty_and_the_scrubber_moves(report: Path, scheme: str) -> None:
    document, console = visit(report, "1200,900", f"--blink-settings=preferredColorScheme={scheme}")
    assert console == []
    assert "warm-up epoch 1 of 10</output>" in document
    assert value(document, "loaded") < 1000


@pytest.mark.parametrize("size", ["1280,900", "390,844"])
def test_values_stand_on_one_line_and_no_label_is_cut_off(report: Path, size: str) -> None:
    document, _ = visit(report, size)
    assert value(document, "texts") > 100
    assert value(document, "wrapped") == 0
    assert value(document, "clipped") == 0


def test_the_page_fits_a_phone(report: Path) -> None:
    document, console = visit(report, "390,844")
    assert console == []
    assert value(document, "width") <= 500
    assert value(document, "overflow") <= 0


def test_an_error_on_the_console_is_seen(report: Path) -> None:
    broken = report.with_name("broken.html")
    broken.write_text(report.read_text().replace('"use strict";', '"use strict";undefinedName();'))
    _, console = visit(broken, "1200,900")
    assert any("undefinedName" in line for line in console)
