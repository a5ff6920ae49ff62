"""The documentation's pages, and the commands, code and tables in them. Tests load this file with `runpy`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "bundle" / "docs"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    ROOT / "SECURITY.md",
    *sorted(DOCS.rglob("*.md")),
]


def name(page: Path) -> str:
    """The page's path in the project."""
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.S | re.M)


def commands(page: Path) -> list[list[str]]:
    """Every command of the page's shell blocks, split as a shell does."""
    lines = "".join(blocks(page, "bash")).replace("\\\n", " ").splitlines()
    return [shlex.split(line, comments=True) for line in lines if line.strip()]


def verb_arguments(command: list[str]) -> list[str] | None:
    """The arguments after `biomedjourney`, or None if the command is another."""
    places = [index for index, word in enumerate(command) if Path(word).name == "biomedjourney"]
    return command[places[0] + 1 :] if places else None


def verbs(page: Path) -> list[list[str]]:
    """The arguments of every `biomedjourney` command of the page."""
    return [arguments for arguments in map(verb_arguments, commands(page)) if arguments]


def bundle_runs(page: Path) -> list[list[str]]:
    """The arguments of every `python -m monai.bundle` command of the page."""
    starts = [(command, command.index("monai.bundle")) for command in commands(page) if "monai.bundle" in command]
    return [command[start + 1 :] for command, start in starts]


def links(page: Path) -> list[str]:
    """The targets of the page's links and pictures, without web addresses."""
    targets = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    return [target for target in targets if not re.match(r"[a-z]+:", target)]


def anchors(page: Path) -> set[str]:
    """The names under which GitHub links to the page's headings."""
    text = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.S | re.M)
    headings = re.findall(r"^#+ (.+)$", text, flags=re.M)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def rows(page: Path) -> list[list[str]]:
    """The cells of every line of the page's tables, without emphasis."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    return [[cell.strip(" *`") for cell in line.strip("|").split(" | ")] for line in lines]
