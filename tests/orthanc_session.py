"""A session with a real Orthanc, to be run in a network namespace of its own: Orthanc listens on every interface.

    unshare -rn python tests/orthanc_session.py FOLDER

FOLDER holds job.json: {"priors": [DICOM files], "more": [words for the command line]}.
What was seen is written to FOLDER/seen.json. Without TLS: Debian 12's Orthanc dies of the first TLS request.
"""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pydicom

PLUGIN = "/usr/share/orthanc/plugins/libOrthancDicomWeb.so"
URL = "http://127.0.0.1:8042/dicom-web"
USER, PASSWORD = "ana", "Geheim-7"
TEXT = "New large left pleural effusion."
REFUSE = """function ReceivedInstanceFilter(dicom, origin)
  return not (dicom.PatientID == 'REFUSED' and dicom.ConversionType == 'SYN')
end
"""


@contextmanager
def orthanc(folder: Path):
    """Orthanc with credentials, in `folder`."""
    (folder / "refuse.lua").write_text(REFUSE)
    settings = {
        "StorageDirectory": str(folder / "storage"),
        "IndexDirectory": str(folder / "storage"),
        "HttpPort": 8042,
        "DicomPort": 4242,
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": True,
        "RegisteredUsers": {USER: PASSWORD},
        "Plugins": [PLUGIN],
        "LuaScripts": [str(folder / "refuse.lua")],
    }
    (folder / "orthanc.json").write_text(json.dumps(settings))
    with (folder / "orthanc.log").open("a") as log:
        server = subprocess.Popen(["Orthanc", str(folder / "orthanc.json")], stdout=log, stderr=log)
    try:
        yield server
    finally:
        server.terminate()
        server.wait(30)


def client():
    import requests
    from dicomweb_client.web import DICOMwebClient

    session = requests.Session()
    session.trust_env = False
    session.auth = (USER, PASSWORD)
    client = DICOMwebClient(URL, session=session)
    client.set_http_retry_params(False)
    for _ in range(100):
        with contextlib.suppress(requests.exceptions.ConnectionError):
            client.search_for_studies()
            return client
        time.sleep(0.1)
    raise SystemExit("Orthanc did not start")


def run(folder: Path, job: dict) -> dict:
    from biomedjourney_monai.cli.main import main

    seen = {}
    (folder / "password").write_text(PASSWORD)
    (folder / "wrong").write_text("wrong")

    def pacs(name: str, *words: str, password: str = "password") -> None:
        line = ["pacs", "--url", URL, "--user", USER, "--password-file", str(folder / password), "--seed", "3"]
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = main([*line, *job["more"], *words])
        seen[name] = {"status": status, "out": out.getvalue(), "err": err.getvalue()}
        with contextlib.suppress(Exception):  # Orthanc is stopped in one of the steps
            count = dicomweb.search_for_instances(search_filters={"Modality": "OT"})
            seen[name]["stored"] = len(count)

    patient = ("--patient-id", "MRN12345", "--description", TEXT)
    (folder / "list.csv").write_text(
        f"patient_id,description,seed\nMRN12345,{TEXT},3\nMRN12345,{TEXT},4\nNOBODY,{TEXT},\n"
    )
    with orthanc(folder):
        dicomweb = client()
        for prior in job["priors"]:
            dicomweb.store_instances([pydicom.dcmread(prior)])
        pacs("wrong password", *patient, password="wrong")
        pacs("unknown patient", "--patient-id", "NOBODY", "--description", TEXT)
        pacs("dry run", *patient, "--dry-run")
        pacs("refused store", "--patient-id", "REFUSED", "--description", TEXT)
        twice = ("--patient-id", "TWICE", "--description", TEXT)
        pacs("two patients", *twice)
        pacs("issuer", *twice, "--issuer", "SITE-A")
        pacs("accession number", *twice, "--accession-number", "ACC88")
        for item in dicomweb.search_for_instances(search_filters={"PatientID": "TWICE", "Modality": "OT"}):
            found = pydicom.Dataset.from_json(item)
            seen.setdefault("stored in", []).append(str(found.StudyInstanceUID))
        pacs("first", *patient)
        pacs("twice", *patient)
    pacs("stopped", "--work-list", str(folder / "list.csv"))
    with orthanc(folder):
        dicomweb = client()
        pacs("list", "--work-list", str(folder / "list.csv"))
        pacs("list again", "--work-list", str(folder / "list.csv"))
        found = [pydicom.Dataset.from_json(item) for item in dicomweb.search_for_instances()]
        for number, item in enumerate(found):
            uids = (item.StudyInstanceUID, item.SeriesInstanceUID, item.SOPInstanceUID)
            whole = dicomweb.retrieve_instance(*uids, media_types=(("application/dicom", "*"),))
            whole.save_as(folder / f"archive-{number}.dcm", enforce_file_format=True)
    return seen


if __name__ == "__main__":
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    folder = Path(sys.argv[1])
    seen = run(folder, json.loads((folder / "job.json").read_text()))
    (folder / "seen.json").write_text(json.dumps(seen))
