"""The page in a real browser: Chromium, as Debian has it, in light and dark, as wide as a phone and as a desk."""

import json
import re
import shutil
import subprocess

import pytest

from pipelines.report import page
from pipelines.report.run_files import RunFiles
from tests.pipelines.report import runs

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
WIDTHS = (360, 1280)
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --window-size=1400,1000 --enable-logging=stderr --virtual-time-budget=8000"
)

#: Opens all that is folded, then tells the window above what it looks like.
LOOK = """<script>addEventListener('load', () => {
  document.querySelectorAll('details').forEach(one => one.open = true);
  const numbers = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const behind = element => {
    for (let at = element; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const faint = [], card = numbers(getComputedStyle(document.querySelector('figure')).backgroundColor).join();
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const element = walker.currentNode.parentElement;
    if (!walker.currentNode.data.trim() || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), drawn = element.closest('svg');
    const ink = numbers(drawn ? style.fill : style.color);
    if (drawn && ink.join() === card) continue;  // Within a filled mark; see `marks`.
    const found = contrast(ink, behind(element));
    if (!(found >= 4.5)) faint.push([walker.currentNode.data.trim().slice(0, 40), found]);
  }
  const page = document.documentElement, probe = document.createElement('i');
  document.body.append(probe);
  const marks = [...Array(7).keys()].map(n => {
    probe.style.color = `var(--series-0${n + 1})`;
    return contrast(numbers(getComputedStyle(probe).color), card.split(',').map(Number));
  });
  probe.remove();
  const wide = [...document.querySelectorAll('body *')].filter(one =>
    !one.closest('.scroll') && one.getBoundingClientRect().right > page.clientWidth + 1).map(one => one.outerHTML.slice(0, 80));
  const clipped = [...document.querySelectorAll('.plot > svg')].flatMap(svg => {
    const box = svg.getBoundingClientRect();
    return [...svg.querySelectorAll('text')].filter(text => {
      const at = text.getBoundingClientRect();
      return at.left < box.left - 1 || at.right > box.right + 1;
    }).map(text => text.textContent);
  });
  parent.postMessage({
    width: innerWidth, beyond: page.scrollWidth - page.clientWidth, dark: matchMedia('(prefers-color-scheme: dark)').matches,
    faint, marks, wide, clipped, fetched: performance.getEntriesByType('resource').map(one => one.name),
    small: [...document.querySelectorAll('.plot > svg text')].map(text => text.getBoundingClientRect().height)
      .filter(height => height < 8.5),
  }, '*');
})</script>"""

#: The window above: shows the page in frames of both widths, and writes down what they tell.
FRAMES = """<!DOCTYPE html><title>frames</title><body><pre id="told"></pre>{frames}<script>
  const told = [];
  addEventListener('message', event => {{
    told.push(event.data); document.getElementById('told').textContent = JSON.stringify(told);
  }});
</script>"""


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_fetched_cut_off_or_faint_and_no_error_is_logged(tmp_path, scheme):
    span = runs.span(tmp_path / "span", reasons=("a reason",))
    (tmp_path / "span/evaluate/manifest.json").write_text('{"made_from": "x"}')  # All sections on one page.
    text = page.render([RunFiles(span)], str(tmp_path))
    (tmp_path / "page.html").write_text(text.replace("</body>", f"{LOOK}</body>"))
    frames = "".join(
        f'<iframe src="page.html" width="{width}" height="800" style="border:0"></iframe>' for width in WIDTHS
    )
    (tmp_path / "frames.html").write_text(FRAMES.format(frames=frames))
    flags = [*FLAGS.split(), f"--blink-settings=preferredColorScheme={0 if scheme == 'dark' else 1}"]
    command = [
        CHROMIUM,
        *flags,
        f"--user-data-dir={tmp_path / 'profile'}",
        "--dump-dom",
        (tmp_path / "frames.html").as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    assert not [line for line in done.stderr.splitlines() if ":CONSOLE" in line]
    told = json.loads(re.search(r'<pre id="told">(.*?)</pre>', done.stdout, re.DOTALL)[1].replace("&amp;", "&"))
    assert sorted(one["width"] for one in told) == sorted(WIDTHS)
    for found in told:
        assert found["dark"] == (scheme == "dark")
        assert found["beyond"] == 0 and found["wide"] == []
        assert found["fetched"] == []
        assert found["faint"] == [] and min(found["marks"]) >= 4.5
        assert found["clipped"] == [] and found["small"] == []
