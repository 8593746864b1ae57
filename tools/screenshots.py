"""Take the pictures of the documentation: pages of a new service, and its test run."""

import io
import os
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import ViewportSize, sync_playwright
from rich.console import Console
from rich.text import Text

from .recording import free_port, quickstart, run
from .render import REPOSITORY, snapshot

PICTURES = REPOSITORY / "docs" / "pictures"
API, API_LINES, TESTS = (PICTURES / name for name in ("api.png", "api.txt", "tests.svg"))
SCREENS = {"/": PICTURES / "home.png", "/reset-password": PICTURES / "reset-password.png"}
COLUMNS = 80
WIDTH, HEIGHT = 1000, 1250  # pixels
SCREEN = ViewportSize(width=600, height=380)  # of those
# Rich's own format loads fonts from another host
FORMAT = """\
<svg class="rich-terminal" viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font-family: monospace; font-size: {char_height}px; \
line-height: {line_height}px; }}
.{unique_id}-title {{ font-family: sans-serif; font-size: 18px; }}
{styles}
</style>
<defs>
<clipPath id="{unique_id}-clip-terminal">
<rect x="0" y="0" width="{terminal_width}" height="{terminal_height}"/>
</clipPath>
{lines}
</defs>
{chrome}
<g transform="translate({terminal_x}, {terminal_y})" clip-path="url(#{unique_id}-clip-terminal)">
{backgrounds}
<g class="{unique_id}-matrix">
{matrix}
</g>
</g>
</svg>
"""


def outline(document: dict[str, Any]) -> str:
    """Return what `/docs` shows of an OpenAPI document, in lines."""
    info = document["info"]
    lines = [info["title"], info["description"]]
    lines += [f"{tag['name']}: {tag['description']}" for tag in document["tags"]]
    for path, operations in document["paths"].items():
        lines += [f"{method} {path}: {o['summary']}" for method, o in operations.items()]
    return "".join(f"{line}\n" for line in lines)


def photograph(url: str) -> None:
    """Take pictures of the pages, and write what `/docs` shows.

    Of `/docs`, the request that signs up is open.
    """
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    with sync_playwright() as playwright:
        # as root, Chromium runs only without a sandbox
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.goto(f"{url}/docs")
        page.locator("#operations-tag-auth").click()  # closes it, for a small picture
        operation = page.locator("#operations-users-sign_up")
        operation.locator(".opblock-summary-control").click()
        operation.locator(".responses-table").wait_for()
        page.evaluate("document.activeElement.blur()")
        page.wait_for_timeout(1000)  # the operation opens with an animation
        page.screenshot(path=API)
        page.set_viewport_size(SCREEN)
        for path, picture in SCREENS.items():
            page.goto(f"{url}{path}#token=example")
            page.screenshot(path=picture)
        document = page.request.get(f"{url}/openapi.json").json()
        browser.close()
    API_LINES.write_text(outline(document), encoding="utf-8")


def draw(command: str, output: str) -> str:
    """Draw a terminal with a command and what it printed, as SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ {command}"))
    console.print(Text.from_ansi(output))
    return console.export_svg(title="my-service", code_format=FORMAT, unique_id="terminal")


def without_machine(output: str) -> str:
    """Leave out of pytest's output what depends on the machine: paths, versions and times."""
    output = re.sub(r"^(platform|rootdir|plugins|cachedir).*\n", "", output, flags=re.MULTILINE)
    return re.sub(r" in [\d.]+s( \([\d:]+\))?", "", output)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary, snapshot() as template:
        folder = Path(temporary).resolve()
        clone, service = folder / template.name, folder / "my-service"
        shutil.copytree(template, clone)
        port = free_port()
        with quickstart(clone, port):
            photograph(f"http://127.0.0.1:{port}")
        path = os.pathsep.join((str(clone / ".venv" / "bin"), os.environ["PATH"]))
        command = ("uv", "run", "pytest")
        output = run((*command, "--color=yes"), service, path)
    TESTS.write_text(draw(" ".join(command), without_machine(output)), encoding="utf-8")
    for picture in (API, *SCREENS.values(), TESTS):
        print(f"{picture.relative_to(REPOSITORY)}: {picture.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
