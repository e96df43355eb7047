"""The site is built without a warning, and none of its links leads nowhere or elsewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urldefrag

import pytest
from lxml import html

import zppo_core

ROOT = Path(__file__).parents[2]
NAVIGATED = re.compile(r"^ +- .*?: ([\w./]+\.md)$", re.M)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("mkdocs", reason="mkdocs is in the extra `docs`: make docs")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


def pages(site: Path) -> Iterator[tuple[Path, html.HtmlElement]]:
    for path in sorted(site.rglob("*.html")):
        if path.name != "404.html":
            yield path, html.parse(str(path)).getroot()


def test_every_link_of_the_site_leads_somewhere(site: Path) -> None:
    names: dict[Path, set[str]] = {
        path: {e.get("id") for e in root.iter() if e.get("id")} for path, root in pages(site)
    }
    assert len(names) > 60
    count = 0
    for path, root in pages(site):
        for _, attribute, link, _ in root.iterlinks():
            if attribute not in ("href", "src") or re.match(r"\w+:|//", link):
                continue
            address, anchor = urldefrag(link)
            target = (path.parent / unquote(address)).resolve() if address else path
            target = target / "index.html" if target.is_dir() else target
            assert target.exists(), f"{path.relative_to(site)}: {link}"
            if anchor and target in names and not anchor.startswith("__"):
                assert unquote(anchor) in names[target], f"{path.relative_to(site)}: {link}"
            count += 1
    assert count > 1000


def test_a_page_of_the_site_asks_nobody_else_for_anything(site: Path) -> None:
    for path, root in pages(site):
        fetched = [e.get("src") for e in root.iter("script", "img", "iframe") if e.get("src")]
        fetched += [
            e.get("href") for e in root.iter("link") if e.get("rel") in ("stylesheet", "icon")
        ]
        assert not [f for f in fetched if re.match(r"https?:|//", f)], path


def test_the_site_explains_every_public_name(site: Path) -> None:
    api = html.parse(str(site / "api.html")).getroot()
    ids = {e.get("id") for e in api.iter() if e.get("id")}
    for name, home in zppo_core._HOMES.items():
        module, _, inside = home.partition(":")
        shown = inside or name
        assert any(i.startswith(module) and i.rpartition(".")[2] == shown for i in ids), name


def test_every_page_has_a_place_in_the_navigation() -> None:
    text = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    navigated = NAVIGATED.findall(text)
    assert len(navigated) == len(set(navigated))
    written = {
        p.relative_to(ROOT / "docs").as_posix()
        for p in (ROOT / "docs").rglob("*.md")
        if p.parent.name != "decisions"
    }
    ours = {n for n in navigated if not n.startswith("repository/") and n != "decisions/index.md"}
    assert ours == written
