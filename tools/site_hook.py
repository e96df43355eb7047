"""What the site has besides docs/: files of the repository that its pages link to.

A link out of docs/ works where the repository is read. In the site the file it names becomes a
page below repository/: Markdown as it is, other text as code, a folder as its list. Pictures are
copied. mkdocs calls the two functions with `on_` (mkdocs.yml, hooks).
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
HOME = "repository"  # the folder of the site that stands for the repository's root
ALWAYS = ("CONTRIBUTING.md", "benchmarks/README.md", "examples/README.md")  # of the navigation
LINK = re.compile(r"(?<=\]\()(?!\w+:|#|/)([^)#\s]*)(#[^)\s]*)?(?=\))")
CODE = {".py": "python", ".toml": "toml", ".jinja": "jinja", ".json": "json", ".sql": "sql"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add a page for each file of the repository that pages name, and those that they name."""
    waiting = [*ALWAYS]
    for file in files.documentation_pages():
        if file.src_uri.startswith("decisions/"):
            continue
        waiting += targets(f"docs/{file.src_uri}", file.content_string)
    made: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in made or name.startswith("docs/"):
            continue
        made.add(name)
        place = ROOT / name
        if name.endswith(".md"):
            text = place.read_text(encoding="utf-8")
            waiting += targets(name, text)
        if place.suffix in (".png", ".svg"):
            files.append(File.generated(config, f"{HOME}/{name}", abs_src_path=str(place)))
        else:
            files.append(File.generated(config, page_of(name), content=page(name)))
    decisions = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    rows = [f"- [{p.stem[:4]}]({p.name}): {title(p)}" for p in decisions]
    text = "# Decisions\n\n" + "\n".join(rows) + "\n"
    files.append(File.generated(config, "decisions/index.md", content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links out of docs/ led into repository/."""
    uri = page.file.src_uri
    inside = uri.startswith(f"{HOME}/")
    source = uri.removeprefix(f"{HOME}/") if inside else f"docs/{uri}"
    if inside and not (source in ALWAYS or (ROOT / source).suffix == ".md"):
        return markdown

    def moved(link: re.Match[str]) -> str:
        name = resolved(source, link[1])
        if name is None:
            return link[0]
        if name == "docs/decisions":
            target = "decisions/index.md"
        else:
            target = name.removeprefix("docs/") if name.startswith("docs/") else page_of(name)
        return posixpath.relpath(target, posixpath.dirname(uri) or ".") + (link[2] or "")

    return LINK.sub(moved, markdown)


def targets(source: str, text: str) -> list[str]:
    """Paths from the root of the files that a page of the repository links to."""
    return [name for link in LINK.finditer(text) if (name := resolved(source, link[1]))]


def resolved(source: str, link: str) -> str | None:
    """A link of the file `source` as a path from the root; None if there is no such file."""
    name = posixpath.normpath(posixpath.join(posixpath.dirname(source), link))
    return name if link and not name.startswith("..") and (ROOT / name).exists() else None


def page_of(name: str) -> str:
    """Where the site has a file or folder of the repository."""
    if name.endswith((".md", ".png", ".svg")):
        return f"{HOME}/{name}"
    return f"{HOME}/{name.rstrip('/')}.md"


def page(name: str) -> str:
    """The page of a file or folder."""
    place = ROOT / name
    if name.endswith(".md"):
        return place.read_text(encoding="utf-8")
    if place.is_dir():
        names = sorted(p.name for p in place.iterdir() if not p.name.startswith((".", "__")))
        return f"# {name}\n\n" + "\n".join(f"- `{n}`" for n in names) + "\n"
    text = place.read_text(encoding="utf-8", errors="replace")[:100_000]
    return f"# {name}\n\n~~~~~~{CODE.get(place.suffix, 'text')}\n{text}\n~~~~~~\n"


def title(path: Path) -> str:
    """The first heading of a page, without its number."""
    first = path.read_text(encoding="utf-8").splitlines()[0].lstrip("# ")
    return re.sub(r"^\d{4}[:. ]*", "", first)
