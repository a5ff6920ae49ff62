"""`pacs` with a real Orthanc with credentials, in a network namespace of its own (tests/orthanc_session.py)."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs.read.pixels import read_pixels

SESSION = Path(__file__).parents[1] / "orthanc_session.py"
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
SECRETS = ("DOE", "JANE", "MRN12345", "19500102", "20200102", "ACC77", "WARD", "1.2.826.0.1", "Geheim-7")
SECRETS += ("TWICE", "ROE", "SITE-A")
ODD_UID = "1.2.840.0113.77"
"""A part of UIDs with leading zeros; the session's own use of pydicom shows them."""


def namespaces_work() -> bool:
    try:
        return subprocess.run(["unshare", "-rn", "ip", "link", "set", "lo", "up"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.fixture
def orthanc(bundle, random_model, dicom_chest, tmp_path):
    """What the session saw, and its folder."""
    if shutil.which("Orthanc") is None or not PLUGIN.is_file():
        pytest.skip("Orthanc is not installed: apt-get install --no-install-recommends orthanc orthanc-dicomweb")
    if not namespaces_work():
        pytest.skip("network namespaces are not allowed here, and Orthanc would listen on every interface")
    older = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.2.1", "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2.2"}
    older |= {"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.2.3", "StudyDate": "20191231"}
    lateral = {"SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.1.5", "ViewPosition": "LL", "StudyTime": "230000"}
    lateral |= {"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.4"}
    other = {"StudyInstanceUID": "1.2.826.0.1.3680043.8.498.9.1", "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.9.2"}
    other |= {"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.9.3", "PatientID": "REFUSED"}
    priors = []
    twins = []  # two patients of two sites with one PatientID; archives accept such UIDs
    for number, name in ((1, "SITE-A"), (2, "SITE-B")):
        levels = ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID")
        uids = {level: f"{ODD_UID}.00{number}.{place}" for place, level in enumerate(levels)}
        twins.append({**uids, "PatientID": "TWICE", "IssuerOfPatientID": name, "AccessionNumber": f"ACC8{6 + number}"})
    twins[1] |= {"PatientName": "ROE^RICHARD", "ViewPosition": "AP", "StudyDate": "20250101"}
    for number, changes in enumerate(({}, older, lateral, other, *twins)):
        priors.append(tmp_path / f"prior-{number}.dcm")
        priors[-1].write_bytes(dicom_chest(**changes))
    more = ["--bundle", str(bundle), "--model", str(random_model), "--steps", "1"]
    job = {"priors": list(map(str, priors)), "more": more}
    (tmp_path / "job.json").write_text(json.dumps(job))
    command = ["unshare", "-rn", sys.executable, str(SESSION), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not [secret for secret in SECRETS if secret in done.stdout + done.stderr]
    return json.loads((tmp_path / "seen.json").read_text()), tmp_path


@pytest.mark.slow
def test_a_real_archive_is_asked_and_stores_once(orthanc, bundle, random_model):
    seen, folder = orthanc

    def told(name):
        return seen[name]["status"], seen[name]["out"] + seen[name]["err"]

    for name, words in (
        ("wrong password", "must accept the credentials; found 401"),
        ("unknown patient", "no such patient or study"),
        ("refused store", "must take what is stored"),
    ):
        status, text = told(name)
        assert (status, seen[name]["stored"]) == (2, 0), name
        assert words in text
    assert (seen["two patients"]["status"], seen["two patients"]["stored"]) == (2, 0)
    assert "different values of IssuerOfPatientID, PatientName. Pass --issuer" in told("two patients")[1]
    assert (seen["issuer"]["status"], seen["accession number"]["status"]) == (0, 0)
    assert "an AP film" in told("accession number")[1]
    assert sorted(seen.pop("stored in")) == [f"{ODD_UID}.001.0", f"{ODD_UID}.002.0"]
    assert (seen["dry run"]["status"], seen["dry run"]["stored"]) == (0, 0)
    assert (seen["first"]["status"], seen["first"]["stored"]) == (0, 3)
    assert (seen["twice"]["status"], seen["twice"]["stored"]) == (0, 3)
    assert "kept" in seen["twice"]["out"]
    status, text = told("stopped")
    assert status == 2
    assert "3 connection lost" in text
    assert "1 stored, 1 kept, 1 refused: 1 patient or study unknown" in seen["list"]["out"]
    assert "0 stored, 2 kept, 1 refused" in seen["list again"]["out"]
    assert seen["list again"]["stored"] == 4
    assert not [secret for secret in (*SECRETS, ODD_UID) if secret in json.dumps(seen)]

    files = [pydicom.dcmread(path) for path in sorted(folder.glob("archive-*.dcm"))]
    made = [dataset for dataset in files if "ConversionType" in dataset and dataset.PatientID == "MRN12345"]
    assert len(files) == 10
    assert {dataset.SourceImageSequence[0].ReferencedSOPInstanceUID for dataset in made} == {
        "1.2.826.0.1.3680043.8.498.1.3"
    }
    assert {dataset.StudyInstanceUID for dataset in made} == {"1.2.826.0.1.3680043.8.498.1.1"}
    assert len({dataset.SeriesInstanceUID for dataset in made}) == 2

    (seed_3,) = (dataset for dataset in made if "seed 3;" in dataset.DerivationDescription)
    seed_3.save_as(folder / "seed-3.dcm")
    words = ["sample", "--prior", folder / "prior-0.dcm", "--seed", 3, "--out", folder / "sample.dcm", "--steps", 1]
    words += ["--description", "New large left pleural effusion.", "--bundle", bundle, "--model", random_model]
    assert main(list(map(str, words))) == 0
    assert np.array_equal(read_pixels(folder / "seed-3.dcm"), read_pixels(folder / "sample.dcm"))
