"""No command shows what files hold about a patient: identifiers are planted in well-formed and in malformed files."""

import csv
import http.client
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

PLANTED = "ZXQNAME", "7700770077", "zxqpath"
"""In every text of the files, in every number and date that need not be one, and in the files' names."""

TEXTS = {
    **dict.fromkeys(
        ("PatientName", "PatientID", "AccessionNumber", "StudyDescription", "IssuerOfPatientID"), "ZXQNAME"
    ),
    **dict.fromkeys(("ReferringPhysicianName", "StudyID", "InstitutionName", "StationName"), "ZXQNAME"),
    "OtherPatientIDs": "ZXQNAME",
    "PatientComments": "ZXQNAME",
    "StudyInstanceUID": "1.2.840.07700770077.1",
    "SeriesInstanceUID": "1.2.840.07700770077.2",
    "SOPInstanceUID": "1.2.840.07700770077.3",
    "FrameOfReferenceUID": "1.2.840.07700770077.4",
}
ODD = {
    "dates": dict.fromkeys(("PatientBirthDate", "StudyDate", "AcquisitionDate", "StudyTime"), "7700770077"),
    "numbers": dict.fromkeys(("WindowCenter", "WindowWidth", "PixelSpacing"), "ZXQNAME"),
    "slope": {"RescaleSlope": "ZXQNAME", "RescaleIntercept": "0"},
    "codes": dict.fromkeys(("PatientSex", "ViewPosition", "LossyImageCompression"), "zxqname 7700770077 ZXQNAME"),
    "uids": dict.fromkeys(("StudyInstanceUID", "SOPInstanceUID", "SOPClassUID"), "1.2.ZXQNAME.7700770077"),
    "long": {"AccessionNumber": "ZXQNAME" * 20, "PatientID": "ZXQNAME" * 20, "StudyID": "ZXQNAME\\ZXQNAME"},
    "character set": {"SpecificCharacterSet": "ZXQNAME"},
    "name": {"PatientName": "ZXQNAME=ZXQNAME=ZXQNAME=ZXQNAME\x1b$B"},
    "frames": {"NumberOfFrames": "ZXQNAME"},
    "orientation": {"PatientOrientation": ["ZXQNAME", "ZXQNAME"]},
    "lossy": {"LossyImageCompression": "01", "LossyImageCompressionRatio": "ZXQNAME"},
}


@pytest.fixture
def planted(tmp_path, dicom_chest, rendered_chest):
    """Files by name; the first is well-formed."""
    import pydicom

    settings = pydicom.config.settings
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(settings, "writing_validation_mode", pydicom.config.IGNORE)
        patch.setattr(pydicom.config, "use_DS_decimal", False)
        whole = plant(dicom_chest, TEXTS)
        files = {"well-formed.dcm": whole}
        for name, values in ODD.items():
            files[f"{name}.dcm"] = plant(dicom_chest, {**TEXTS, **values})
    files |= {f"cut-{at}.dcm": whole[:at] for at in (140, 400, 900, len(whole) // 2)}
    files["other-vr.dcm"] = whole.replace(b"LO\x08\x00ZXQNAME", b"UL\x08\x00ZXQNAME").replace(
        b"SH\x08\x00", b"DS\x08\x00"
    )
    files["long-length.dcm"] = whole.replace(b"LO\x08\x00ZXQNAME", b"LO\xff\x7fZXQNAME", 1)
    files["implicit-inside.dcm"] = whole.replace(b"PN\x08\x00ZXQNAME", b"\x08\x00\x00\x00ZXQNAME", 1)
    files["no-preamble.dcm"] = whole[132:]
    files["text.png"] = b"ZXQNAME 7700770077"
    files["reports.txt"] = b"ZXQNAME, MRN 7700770077"
    files |= photographs(rendered_chest)
    folder = tmp_path / "zxqpath"
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    image = nibabel.Nifti1Image(np.rint(rendered_chest.T * 255).astype(np.uint8), np.diag([-1, -1, 1, 1]))
    image.header["descrip"] = image.header["aux_file"] = b"ZXQNAME 7700770077"[:20]
    nibabel.save(image, folder / "chest.nii")
    return folder


def plant(dicom_chest, values) -> bytes:
    """DICOM bytes with texts that pydicom's own types would refuse."""
    import pydicom
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    dataset = pydicom.dcmread(io.BytesIO(dicom_chest()))
    for keyword, value in values.items():
        text = "\\".join(value) if isinstance(value, list) else value
        content = text.encode() + b" " * (len(text) % 2)
        vr = pydicom.datadict.dictionary_VR(keyword)
        dataset[keyword] = RawDataElement(Tag(keyword), vr, len(content), content, 0, False, True)
    stream = io.BytesIO()
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.save_as(stream, enforce_file_format=False)
    return stream.getvalue()


def photographs(chest) -> dict[str, bytes]:
    grey = Image.fromarray(np.rint(chest * 255).astype(np.uint8))
    note = PngImagePlugin.PngInfo()
    note.add_text("Comment", "ZXQNAME 7700770077")
    exif = Image.Exif()
    exif[0x010E] = exif[0x8298] = "ZXQNAME 7700770077"
    jpeg, png = io.BytesIO(), io.BytesIO()
    grey.save(jpeg, "JPEG", exif=exif, comment=b"ZXQNAME 7700770077")
    grey.save(png, "PNG", pnginfo=note)
    files = {"chest.jpg": jpeg.getvalue(), "chest.png": png.getvalue(), "cut.jpg": jpeg.getvalue()[:600]}
    return files | {"exif.jpg": jpeg.getvalue().replace(b"Exif\0\0", b"Exif\0\0\xff", 1)}


RUN = """
import json, logging, sys, warnings
logging.basicConfig(level=logging.DEBUG, stream=sys.stderr, force=True)
warnings.simplefilter("always")
from biomedjourney_monai.cli.main import main
for words in json.load(sys.stdin):
    print(">>>", words[0], main(words), flush=True)
"""


def said_by(commands: list[list[object]], folder: Path) -> str:
    """Everything that a process prints and logs at the level DEBUG while it runs commands."""
    job = json.dumps([[str(word) for word in words] for words in commands])
    environment = {**os.environ, "HOME": str(folder), "PYTHONWARNINGS": "always"}
    command = [sys.executable, "-c", RUN]
    done = subprocess.run(command, input=job, capture_output=True, text=True, env=environment, timeout=900)
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.count(">>>") == len(commands)
    return done.stdout + done.stderr


@contextmanager
def served_page(folder: Path, *more: object) -> Iterator[tuple[int, Path]]:
    """`biomedjourney app` at a free port, which logs at the level debug: its port, and the file of what it says."""
    log = folder / "page.txt"
    words = ["app", "--port", "0", "--log-level", "debug", *map(str, more)]
    command = [sys.executable, "-m", "biomedjourney_monai.cli.main", *words]
    with log.open("wb") as stream:
        environment = {**os.environ, "PYTHONWARNINGS": "always"}
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=environment)
    try:
        ends = time.monotonic() + 300
        while not (found := re.search(r"the page is at http://127.0.0.1:([0-9]+)/", log.read_text())):
            assert process.poll() is None and time.monotonic() < ends, log.read_text()
            time.sleep(0.2)
        yield int(found[1]), log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


def ask_page(port: int, way: str, content: bytes) -> tuple[str, list[str]]:
    """The answer of the page without the pictures and files, and the names of its last state's entries."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    connection.request("POST", f"/api/{way}", content)
    lines = [json.loads(line) for line in connection.getresponse().read().splitlines()]
    result = lines[-1].get("result", {})
    for name in ("files", "shown", "heat"):
        result.pop(name, None)
    return json.dumps(lines), sorted(result or lines[-1])


def shown(said: str) -> list[str]:
    """The lines that show what was planted."""
    return [line for line in said.splitlines() if any(word in line for word in PLANTED)]


@pytest.mark.slow
def test_making_counterfactuals_shows_nothing_that_is_planted(planted, bundle, random_model, tmp_path, fake_archive):
    more = ("--bundle", bundle, "--model", random_model, "--steps", 1)
    text = "New large left pleural effusion."
    files = sorted(path.name for path in planted.iterdir())
    rows = "".join(f"{name},{text},out/{number}.dcm\n" for number, name in enumerate(files))
    (planted / "list.csv").write_text(f"prior,description,out\n{rows}")
    (planted / "work.csv").write_text(f"patient_id,description\nZXQNAME,{text}\n7700770077,{text}\n")
    chosen = [planted / name for name in ("uids.dcm", "numbers.dcm", "cut-900.dcm", "exif.jpg")]
    words = ("--description", text, "--out", tmp_path / "a.dcm", *more)
    commands = [["sample", "--csv", planted / "list.csv", *more]]
    commands += [["sample", "--prior", path, *words] for path in chosen]
    with fake_archive.serve() as archive:
        archive.add((planted / "well-formed.dcm").read_bytes())
        commands += [["pacs", "--url", archive.url, "--work-list", planted / "work.csv", *more]]
        ladder = ("ladder", "--finding", "left pleural effusion", "--dicom", *more)
        for number, path in enumerate([planted / "well-formed.dcm", *chosen]):
            commands.append([*ladder, "--prior", path, "--out", tmp_path / f"ladder{number}"])
        said = said_by(commands, tmp_path)
        assert (tmp_path / "ladder0" / "dicom" / "01.dcm").is_file()
        assert len(archive.stored()) == 1
    assert shown(said) == []
    made = int(said.split(" made, ")[0].split()[-1])
    assert 10 <= made < len(files), said
    outcomes = [(planted / f"{name}.results.csv").read_text() for name in ("list", "work")]
    assert not [word for word in PLANTED if word in "".join(outcomes)]


@pytest.mark.slow
def test_the_page_shows_nothing_that_is_planted(planted, bundle, random_model, tmp_path):
    """Over HTTP; the description is the user's own text, which the page may show to the user."""
    asked = {"description": "New large left pleural effusion.", "seed": 0, "steps": 1, "samples": 1}
    asked |= {"text_guidance_scale": 3, "image_guidance_scale": 1, "force": True}
    head = json.dumps(asked).encode() + b"\n"
    made, answers = 0, []
    with served_page(tmp_path, "--bundle", bundle, "--model", random_model) as (port, log):
        for path in sorted(planted.iterdir()):
            answers.append(ask_page(port, "inspect", path.read_bytes())[0])
            answer, names = ask_page(port, "make", head + path.read_bytes())
            answers.append(answer)
            made += "findings" in names
        answers.append(ask_page(port, "make", b"ZXQNAME 7700770077\n" + path.read_bytes())[0])
    assert shown(log.read_text() + "\n".join(answers)) == []
    assert 10 <= made < len(list(planted.iterdir()))


@pytest.mark.slow
def test_the_stages_of_a_working_folder_show_nothing_that_is_planted(
    planted, dicom_chest, bundle, random_model, tmp_path
):
    uids = dict(zip(("StudyInstanceUID", "SOPInstanceUID"), ("1.2.840.07700770077.5", "1.2.840.07700770077.6")))
    (planted / "later.dcm").write_bytes(plant(dicom_chest, {**TEXTS, **uids, "StudyDate": "20200402"}))
    names = "Name: ZXQNAME\nMRN: 7700770077\nIMPRESSION: "
    rows = [["study_instance_uid", "text"], [TEXTS["StudyInstanceUID"], f"{names}Small left pleural effusion."]]
    rows.append([uids["StudyInstanceUID"], f"{names}Large left pleural effusion."])
    with (tmp_path / "reports.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)
    report = tmp_path / "report.txt"
    report.write_text(rows[1][1])
    two = ("--prior", planted / "well-formed.dcm", "--new", planted / "chest.png", "--out", tmp_path / "moved.png")
    cut = (*two[:3], planted / "cut.jpg", *two[4:])
    work, model = ("--work", tmp_path / "work"), ("--bundle", bundle, "--model", random_model)
    train = ("--split", "train")
    cohort = ("--processes", 1, "--reports", tmp_path / "reports.csv", "--eligibility", "any")
    commands: list[list[object]] = [
        ["cohort", "--dicom", planted, *work, *cohort],
        ["cohort", "--dicom", planted, *work, *cohort, "--check-views", "--report"],
        ["journeys", *work],
        ["register", *work, "--processes", 1, "--report"],
        ["register", *two],
        ["register", *cut],
        ["describe", *work],
        ["describe", "--prior-report", report, "--new-report", report],
        ["encode", *work, "--bundle", bundle, "--model", random_model],
        ["check-autoencoder", *work, *model],
        ["sample", *work, *model, *train, "--steps", 1],
        ["evaluate", *work, *model, *train],
        ["tune", *work, *model, *train, "--limit", 1, "--steps", 1],
        ["report", *work],
        ["train", *work, "--stage", "pretrain", "--bundle", bundle, "--", "--max_epochs", 1, "--epoch_length", 1],
    ]
    said = said_by(commands, tmp_path)
    assert shown(said) == []
    done = set(re.findall("(?m)^>>> ([a-z-]+) 0$", said))
    assert done >= {"cohort", "journeys", "register", "describe", "encode", "sample", "evaluate", "report"}
