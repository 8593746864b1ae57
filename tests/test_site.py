"""The documentation's site builds without a warning, leads nowhere wrong, and needs no other host."""

import re
import shutil
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tools.site import build, stage


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    stage(folder)
    return folder


def test_site_is_sound(source: Path, tmp_path: Path) -> None:
    assert build(source, tmp_path) == 0

    pages = {page: page.read_text(encoding="utf-8") for page in tmp_path.rglob("*.html")}
    assert {"index.html", "tutorial.html", "security.html"} <= {page.name for page in pages}
    for page, text in pages.items():
        for tag, url in re.findall(r'<(\w+)[^>]*? (?:href|src)="([^"]*)"', text):
            link = urlsplit(url)
            if link.scheme or link.netloc:
                assert tag == "a", f"{page.name} loads {url}"
                continue
            target = (page.parent / unquote(link.path)).resolve() if link.path else page
            assert target.is_file(), f"{page.name}: {url}"
            if tag == "a" and link.fragment:
                assert f'id="{unquote(link.fragment)}"' in pages[target], f"{page.name}: {url}"
    for style in tmp_path.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\W*(?:https?:)?//", style.read_text("utf-8")), style


@pytest.mark.parametrize("link", ["missing.md", "support.md#missing", "missing.png"])
def test_broken_link_fails(link: str, source: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(source, tmp_path / "source")
    page = folder / "tutorial.md"
    text = page.read_text(encoding="utf-8")
    page.write_text(f"{text}\n![picture]({link})\n[link]({link})\n", encoding="utf-8")

    assert build(folder, tmp_path / "site") != 0
