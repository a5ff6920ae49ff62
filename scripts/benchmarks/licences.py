"""Print the licence of every installed package, as the package itself states it.

    python scripts/benchmarks/licences.py

One line each: name, version, licence, and where it is stated. `--direct` prints only the packages that pyproject.toml
asks for, grouped; bundle/docs/reference/licences.csv lists them. Libraries inside a package's files (the Fortran
runtime, FFmpeg, CUDA) have their own LICENSE files and are not examined.

The last line is JSON: {"figures": {...}, "bars": {...}}.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution, distributions
from itertools import chain
from pathlib import Path

import tomllib

PROJECT = "biomedjourney_monai"
PYPROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
UNKNOWN = "unknown"
SPDX = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Other/Proprietary License": "proprietary",
    "Python Software Foundation License": "PSF-2.0",
}
"""The classifiers' names in SPDX's words; BSD classifiers do not say which."""

TEXTS = (
    (r"\bMPL-2\.0|Mozilla Public License", "MPL-2.0"),
    (r"\bLGPL|Lesser General Public", "LGPL"),
    (r"\bA?GPL|GNU (Affero )?General Public", "GPL"),
    (r"\bApache\b", "Apache-2.0"),
    (r"\bMIT\b|Permission is hereby granted, free of charge", "MIT"),
    (r"\bBSD\b|Redistribution and use in source and binary forms", "BSD"),
    (r"NVIDIA", "proprietary (NVIDIA)"),
)
"""How licences are told from the free text of older packages: the first that fits, the strictest before the others."""

EXPRESSION = re.compile(r"[\w.+-]+( (AND|OR|WITH) [\w.+-]+)+")
COPYLEFT = re.compile(r"\bA?GPL")
PROPRIETARY = re.compile(r"proprietary", re.I)


@dataclass(frozen=True)
class Stated:
    """What a package says of its licence, and where: "expression", "classifier", "field", "file", or nowhere."""

    name: str
    version: str
    licence: str
    where: str


def stated_licence(package: Distribution) -> Stated:
    """Read a package's licence: the expression, or else the classifiers, the field or its file."""
    data = package.metadata
    name, version = data["Name"], package.version
    expression = data.get("License-Expression")  # not data[...]: the backport, once imported, raises where it is absent
    if expression:
        return Stated(name, version, _plain(expression), "expression")
    classifiers = [line.rpartition(" :: ")[2] for line in data.get_all("Classifier", []) if line.startswith("License ")]
    named = sorted({SPDX[words] for words in classifiers if words in SPDX})
    if named and named != ["proprietary"]:
        return Stated(name, version, ", ".join(named), "classifier")
    field = (data.get("License") or "").strip()
    if EXPRESSION.fullmatch(field):
        return Stated(name, version, field, "field")
    for text, where in (("; ".join(classifiers), "classifier"), (field, "field"), (_file_text(package), "file")):
        for pattern, licence in TEXTS:
            if re.search(pattern, text[:2000]):
                return Stated(name, version, licence, where)
    return Stated(name, version, named[0] if named else UNKNOWN, "classifier" if named else "nowhere")


def _plain(expression: str) -> str:
    return "proprietary (NVIDIA)" if "NVIDIA" in expression else expression


def _file_text(package: Distribution) -> str:
    for file in package.files or []:
        if re.match(r"(?i)(licen[cs]e|copying)", file.name) and ".dist-info" in str(file):
            return file.locate().read_text(encoding="utf-8", errors="replace")
    return ""


def direct_packages() -> list[Distribution]:
    """What pyproject.toml asks for, with every extra but `dev`."""
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    extras = [lines for extra, lines in project["optional-dependencies"].items() if extra != "dev"]
    lines = chain(project["dependencies"], *extras)
    names = {re.split(r"[\s\[<>=!~;]", line)[0] for line in lines} - {PROJECT}
    return [distribution(name) for name in sorted(names, key=str.lower)]


def main() -> None:
    """Print the list, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--direct", action="store_true", help="only what pyproject.toml asks for, grouped by licence")
    arguments = parser.parse_args()
    packages = direct_packages() if arguments.direct else list(distributions())
    stated = sorted({stated_licence(package) for package in packages}, key=lambda one: one.name.lower())
    if arguments.direct:
        by_licence = defaultdict(list)
        for one in stated:
            by_licence[one.licence].append(one.name)
        for licence, names in sorted(by_licence.items()):
            print(f"| {licence} | {', '.join(names)} |")
    else:
        for one in stated:
            print(f"{one.name} {one.version}: {one.licence} ({one.where})")
    counts = Counter(one.licence for one in stated)
    copyleft = [one.name for one in stated if COPYLEFT.search(one.licence)]
    figures = {"packages": len(stated), "by_licence": dict(counts.most_common())}
    figures["proprietary"] = [one.name for one in stated if PROPRIETARY.search(one.licence)]
    figures["unknown"] = [one.name for one in stated if one.licence == UNKNOWN]
    print(json.dumps({"figures": figures, "bars": {"no_gpl": not copyleft}}))


if __name__ == "__main__":
    main()
