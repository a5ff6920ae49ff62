import csv
import gzip

import pytest

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.phantom import tables_only
from biomedjourney_monai.phantom.tables_only import write_tables_only


def count_rows(path):
    return list(csv.DictReader(gzip.decompress(path.read_bytes()).decode().splitlines()))


def test_exactly_as_many_images_as_asked(tmp_path):
    summary = write_tables_only(tmp_path, images=1001, seed=2, processes=1)
    rows = count_rows(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")
    assert len(rows) == summary.images == 1001
    assert len({row["dicom_id"] for row in rows}) == 1001
    assert not (tmp_path / "files").exists()
    assert 1.5 < 1001 / summary.studies < 1.8  # MIMIC-CXR has 1.66 images per study


@pytest.mark.parametrize("images", [1, 777])
def test_a_shorter_table_begins_as_a_longer_one(tmp_path, images):
    write_tables_only(tmp_path / "short", images=images, seed=2, processes=1)
    write_tables_only(tmp_path / "long", images=900, seed=2, processes=1)
    name = "mimic-cxr-2.0.0-metadata.csv.gz"
    short, long = ({row["dicom_id"] for row in count_rows(tmp_path / part / name)} for part in ("short", "long"))
    assert len(short) == images and short < long


def test_hardly_more_patients_are_drawn_than_listed(tmp_path, monkeypatch):
    drawn = []
    whole = tables_only.draw_patient
    monkeypatch.setattr(tables_only, "draw_patient", lambda seed, index: drawn.append(index) or whole(seed, index))
    summary = write_tables_only(tmp_path, images=2000, seed=2, processes=1)
    assert drawn == list(range(len(drawn)))
    assert summary.patients <= len(drawn) < 1.15 * summary.patients


@pytest.mark.slow
def test_the_number_of_processes_does_not_change_a_byte(tmp_path):
    for processes in (1, 2):
        write_tables_only(tmp_path / str(processes), images=8000, seed=2, processes=processes)
    one = {path.relative_to(tmp_path / "1"): path.read_bytes() for path in tmp_path.glob("1/**/*.*")}
    two = {path.relative_to(tmp_path / "2"): path.read_bytes() for path in tmp_path.glob("2/**/*.*")}
    assert len(one) > 8 and one == two


def test_every_table_knows_every_patient(tmp_path):
    summary = write_tables_only(tmp_path, images=300, seed=2, processes=1)
    patients = {row["subject_id"] for row in count_rows(tmp_path / "hosp" / "patients.csv.gz")}
    assert patients >= {row["subject_id"] for row in count_rows(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")}
    assert len(patients) == summary.patients


def test_a_number_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="number of images"):
        write_tables_only(tmp_path / "out", images=0, processes=1)
