import csv
import gzip

import pytest

from biomedjourney_monai.errors import ConfigError
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


def test_every_table_knows_every_patient(tmp_path):
    summary = write_tables_only(tmp_path, images=300, seed=2, processes=1)
    patients = {row["subject_id"] for row in count_rows(tmp_path / "hosp" / "patients.csv.gz")}
    assert patients >= {row["subject_id"] for row in count_rows(tmp_path / "mimic-cxr-2.0.0-metadata.csv.gz")}
    assert len(patients) == summary.patients


def test_a_number_out_of_range_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="number of images"):
        write_tables_only(tmp_path / "out", images=0, processes=1)
