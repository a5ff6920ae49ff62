"""What the packages say of their licences, and that the documentation says the same."""

import csv
import runpy
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "bundle" / "docs" / "reference" / "licences.csv"
licences = runpy.run_path(str(ROOT / "scripts" / "benchmarks" / "licences.py"))


class Package:
    """Stands in for an installed package with these lines in its metadata."""

    version, files = "1.0", ()

    def __init__(self, *lines):
        self.metadata = Message()
        for name, value in (("Name", "thing"), *lines):
            self.metadata[name] = value


@pytest.mark.parametrize(
    ("lines", "licence", "where"),
    [
        ([("License-Expression", "MIT-0"), ("License", "GPL")], "MIT-0", "expression"),
        ([("License-Expression", "LicenseRef-NVIDIA-Proprietary")], "proprietary (NVIDIA)", "expression"),
        ([("Classifier", "License :: OSI Approved :: ISC License (ISCL)"), ("License", "x")], "ISC", "classifier"),
        ([("Classifier", "License :: Other/Proprietary License"), ("License", "MIT")], "MIT", "field"),
        ([("License", "GPLv3")], "GPL", "field"),
        ([("Classifier", "License :: OSI Approved :: GNU General Public License v3 (GPLv3)")], "GPL", "classifier"),
        ([("License", "GNU Lesser General Public License")], "LGPL", "field"),
        ([("License", "MPL-2.0 AND MIT")], "MPL-2.0 AND MIT", "field"),
        ([], "unknown", "nowhere"),
    ],
)
def test_a_licence_is_read_where_the_package_states_it(lines, licence, where):
    found = licences["stated_licence"](Package(*lines))
    assert (found.licence, found.where) == (licence, where)


def test_the_table_is_what_the_installed_packages_state():
    with TABLE.open(encoding="utf-8") as file:
        told = {row["package"]: row["licence"] for row in csv.DictReader(file)}
    stated = [licences["stated_licence"](package) for package in licences["direct_packages"]()]
    assert told == {one.name: one.licence for one in stated}
