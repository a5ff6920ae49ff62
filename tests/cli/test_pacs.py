"""`pacs` with an archive at 127.0.0.1 that speaks DICOMweb and fails as told; test_pacs_orthanc.py has a real one."""

import logging
import tempfile
from pathlib import Path

import numpy as np
import pydicom
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.radiographs.read.pixels import read_pixels
from biomedjourney_monai.radiographs.write import dicom as dicom_out

TEXT = "New large left pleural effusion."
STUDY, OLDER = "1.2.826.0.1.3680043.8.498.1.1", "1.2.826.0.1.3680043.8.498.2.1"
SECRETS = ("DOE", "JANE", "MRN12345", "19500102", "20200102", "ACC77", "WARD", "1.2.826.0.1.3680043.8.498")


@pytest.fixture
def archive(fake_archive, dicom_chest):
    """One patient: a study with a PA and a lateral image, and an older one; and another patient."""
    with fake_archive.serve() as served:
        served.add(dicom_chest())
        lateral = {"SOPInstanceUID": "1.2.826.0.1.3680043.8.498.1.4", "ViewPosition": "LL", "StudyTime": "230000"}
        served.add(dicom_chest(SeriesInstanceUID="1.2.826.0.1.3680043.8.498.1.5", **lateral))
        older = {"StudyInstanceUID": OLDER, "SeriesInstanceUID": "1.2.826.0.1.3680043.8.498.2.2"}
        served.add(dicom_chest(SOPInstanceUID="1.2.826.0.1.3680043.8.498.2.3", StudyDate="20191231", **older))
        other = {"StudyInstanceUID": "1.9.1", "SeriesInstanceUID": "1.9.2", "SOPInstanceUID": "1.9.3"}
        served.add(dicom_chest(PatientID="MRN123456", StudyDate="20250101", **other))
        yield served


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def pacs(bundle, random_model, archive, scratch, monkeypatch):
    for name in ("BIOMEDJOURNEY_PACS_PASSWORD", "BIOMEDJOURNEY_PACS_TOKEN"):
        monkeypatch.delenv(name, raising=False)

    def pacs(*words, url=None):
        line = ["pacs", "--url", url or archive.url, "--bundle", bundle, "--model", random_model, "--steps", 1]
        return main([*map(str, line), *map(str, words)])

    return pacs


@pytest.fixture
def ask(pacs):
    return lambda *more, **how: pacs("--patient-id", "MRN12345", "--description", TEXT, *more, **how)


def test_the_latest_pa_radiograph_gets_a_new_series_in_its_study(ask, archive, scratch, tmp_path, bundle, random_model):
    assert ask("--seed", 3) == 0
    (made,) = archive.stored()
    prior = archive.instances["1.2.826.0.1.3680043.8.498.1.3"]
    assert (made.StudyInstanceUID, made.PatientID, made.PatientName) == (STUDY, "MRN12345", "DOE^JANE")
    assert made.SourceImageSequence[0].ReferencedSOPInstanceUID == prior.SOPInstanceUID
    assert made.SeriesInstanceUID != prior.SeriesInstanceUID
    assert list(scratch.iterdir()) == []
    prior.save_as(tmp_path / "prior.dcm")
    words = ["sample", "--prior", tmp_path / "prior.dcm", "--description", TEXT, "--out", tmp_path / "made.dcm"]
    more = ["--bundle", bundle, "--model", random_model, "--steps", 1, "--seed", 3]
    assert main([*map(str, words), *map(str, more)]) == 0
    assert (tmp_path / "made.dcm").read_bytes() == dicom_out.to_bytes(made)


def test_twice_the_same_request_stores_once(ask, archive, capsys):
    assert ask() == ask() == 0
    assert len(archive.stored()) == 1
    assert [method for method, _ in archive.asked].count("POST") == 1
    assert "kept" in capsys.readouterr().out
    assert ask("--seed", 1) == 0
    assert len(archive.stored()) == 2


def test_a_dry_run_stores_nothing(ask, archive, capsys):
    assert ask("--dry-run") == 0
    assert archive.stored() == []
    assert "would make 1 image" in capsys.readouterr().out


def test_a_study_can_be_named(pacs, archive):
    assert pacs("--study", OLDER, "--description", TEXT) == 0
    assert archive.stored()[0].StudyInstanceUID == OLDER


def test_what_was_made_is_never_taken_for_a_prior(pacs, archive):
    assert pacs("--study", STUDY, "--description", TEXT) == pacs("--study", STUDY, "--description", "New edema.") == 0
    references = {made.SourceImageSequence[0].ReferencedSOPInstanceUID for made in archive.stored()}
    assert references == {"1.2.826.0.1.3680043.8.498.1.3"}


@pytest.mark.parametrize("patient_id", ["*", "MRN1234?", "MRN12345\\MRN123456", "x" * 65])
def test_a_patient_id_that_finds_others_is_refused(pacs, archive, patient_id, capsys):
    assert pacs("--patient-id", patient_id, "--description", TEXT) == 2
    assert archive.asked == []
    assert patient_id not in capsys.readouterr().err


def test_an_archive_that_ignores_filters_gives_no_other_patient(ask, archive):
    archive.ignores_filters = True
    assert ask() == 0
    assert archive.stored()[0].PatientID == "MRN12345"


@pytest.mark.parametrize("study", ["1.2/../../x", "<script>", "1.2?PatientID=*", "../x"])
def test_a_study_that_is_no_uid_becomes_no_path(pacs, archive, study):
    assert pacs("--study", study, "--description", TEXT) == 2
    assert archive.asked == []


FAULTS = {
    "query refused": (lambda method, path: 403 if method == "GET" else None, "must allow to query"),
    "archive fails": (lambda method, path: 500, "must be able to query"),
    "archive busy": (lambda method, path: 503, "must be able to query"),
    "no DICOMweb": (lambda method, path: 404, "no such patient or study"),
    "redirect": (lambda method, path: 302, "found a redirect"),
    "lost at the query": (lambda method, path: "drop", "lost connection"),
    "cut at the query": (lambda method, path: "cut", "lost connection"),
    "cut at the image": (lambda method, path: "cut" if path.endswith("498.1.3") else None, "lost connection"),
    "lost at the store": (lambda method, path: "drop" if method == "POST" else None, "lost connection"),
    "store refused": (lambda method, path: 409 if method == "POST" else None, "must take what is stored; found 409"),
    "store forbidden": (lambda method, path: 403 if method == "POST" else None, "must take what is stored; found 403"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_one_clear_line_and_is_mended_by_asking_again(ask, archive, scratch, capfd, caplog, fault):
    caplog.set_level(logging.DEBUG)
    archive.fault, rule = FAULTS[fault]
    assert ask() == 2
    said = capfd.readouterr()
    assert rule in said.err
    assert said.err.count("\n") == 1
    assert not [secret for secret in (*SECRETS, archive.url) if secret in said.out + said.err + caplog.text]
    assert (archive.stored(), list(scratch.iterdir())) == ([], [])
    archive.fault = lambda method, path: None
    assert ask() == 0
    assert len(archive.stored()) == 1


def test_a_store_whose_answer_was_lost_is_not_stored_again(ask, archive):
    archive.fault = lambda method, path: "cut" if method == "POST" else None
    assert ask() == 2  # the archive has it, but its answer did not arrive whole
    assert len(archive.stored()) == 1
    archive.asked.clear()
    archive.fault = lambda method, path: None
    assert ask() == 0
    assert "POST" not in [method for method, _ in archive.asked]


def test_a_store_that_fails_in_its_answer_is_refused(ask, archive, capsys):
    archive.refuses = True
    assert ask() == 2
    assert "found FailedSOPSequence" in capsys.readouterr().err


def test_a_store_that_is_called_done_but_is_not_is_refused(ask, archive, capsys, monkeypatch):
    monkeypatch.setattr("biomedjourney_monai.clinic.pacs.archive.WAITS_FOR_A_STORE", (0, 0.01))
    archive.forgets = True
    assert ask() == 2
    assert "nothing in it after a store" in capsys.readouterr().err
    archive.forgets = False
    assert ask() == 0


def test_credentials_are_sent_and_never_shown(ask, archive, tmp_path, monkeypatch, capfd, caplog):
    import base64

    caplog.set_level(logging.DEBUG)
    (tmp_path / "password").write_text("Geheim\n")
    archive.authorization = "Basic " + base64.b64encode(b"ana:Geheim").decode()
    assert ask() == 2
    assert "credentials" in capfd.readouterr().err
    assert ask("--user", "ana", "--password-file", tmp_path / "password", "--dry-run") == 0
    monkeypatch.setenv("BIOMEDJOURNEY_PACS_PASSWORD", "falsch")
    assert ask("--user", "ana") == 2
    archive.authorization = "Bearer t0ken"
    monkeypatch.setenv("BIOMEDJOURNEY_PACS_TOKEN", "t0ken")
    assert ask() == 0
    said = capfd.readouterr()
    for secret in ("Geheim", "falsch", "t0ken", archive.authorization):
        assert secret not in said.out + said.err + caplog.text


def test_tls_with_an_authority_of_ones_own(fake_archive, dicom_chest, pacs, tmp_path, capsys, monkeypatch):
    pytest.importorskip("cryptography")
    certificate, ca = fake_archive.make_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(ca))  # not asked for, so not used
    with fake_archive.serve(certificate) as served:
        served.add(dicom_chest())
        words = ("--patient-id", "MRN12345", "--description", TEXT)
        assert pacs(*words, url=served.url) == 2
        assert "certificate must be trusted" in capsys.readouterr().err
        assert pacs(*words, "--ca", ca, url=served.url) == 0
        assert len(served.stored()) == 1


@pytest.mark.parametrize(
    "words, rule",
    [
        (["--user", "ana"], "a password must be one line"),
        (["--user", "ana", "--token-file", "x"], "a user or a token"),
        (["--password-file", "x"], "goes with a user"),
        (["--token-file", "absent"], "must be readable"),
        (["--ca", "absent"], "--ca must be"),
        (["--timeout", "0"], "--timeout must be"),
        (["--url", "http://ana:Geheim@127.0.0.1/"], "neither credentials"),
        (["--url", "ftp://127.0.0.1/"], "http or https"),
        (["--study", "1.2.3"], "a patient or a study"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(ask, archive, capsys, words, rule):
    assert ask(*words) == 2
    error = capsys.readouterr().err
    assert rule in error
    assert "Geheim" not in error
    assert archive.asked == []


def test_images_in_the_clear_to_another_machine_are_warned_of():
    from biomedjourney_monai.clinic.pacs.archive import is_unprotected

    assert is_unprotected("http://pacs.example/dicom-web")
    assert not is_unprotected("https://pacs.example/dicom-web")
    assert not is_unprotected("http://127.0.0.1:8042/dicom-web")


@pytest.fixture
def work_list(tmp_path):
    path = tmp_path / "list.csv"
    rows = [f"MRN12345,,{TEXT},", f",{OLDER},{TEXT},4", "NOBODY,,New edema.,", f"MRN12345,{OLDER},New edema.,"]
    rows += ["MRN12345,,,", "MRN12345,,New edema.,minus one"]
    path.write_text("patient_id,study_uid,description,seed\n" + "\n".join(rows) + "\n")
    return path


def results(work_list):
    lines = work_list.with_name("list.results.csv").read_text().splitlines()
    return [line.split(",")[1] for line in lines[1:]]


def test_a_work_list_counts_what_it_leaves_out_and_goes_on(pacs, archive, work_list, capfd, caplog):
    caplog.set_level(logging.DEBUG)
    assert pacs("--work-list", work_list, "--dry-run") == 0
    assert results(work_list)[:2] == ["would be stored"] * 2
    assert pacs("--work-list", work_list) == 0
    assert results(work_list)[:3] == ["stored", "stored", "patient or study unknown"]
    assert not {"stored", "kept"} & set(results(work_list)[2:])
    assert len(archive.stored()) == 2
    assert pacs("--work-list", work_list) == 0
    said = capfd.readouterr()
    assert "0 stored, 2 kept, 4 refused" in said.out
    assert len(archive.stored()) == 2
    content = work_list.with_name("list.results.csv").read_text()
    assert not [secret for secret in SECRETS if secret in said.out + said.err + caplog.text + content]


def test_a_work_list_ends_where_credentials_are_refused_and_goes_on_later(pacs, archive, work_list, capsys):
    archive.fault = lambda method, path: 401 if archive.stored() and "/studies?" in path else None
    assert pacs("--work-list", work_list) == 2
    assert "5 not tried" not in capsys.readouterr().out
    assert results(work_list) == ["stored", "credentials refused", *["not tried"] * 4]
    archive.fault = lambda method, path: None
    assert pacs("--work-list", work_list) == 0
    assert results(work_list)[:2] == ["kept", "stored"]
    assert len(archive.stored()) == 2


def test_each_outcome_of_a_work_list_is_written_as_soon_as_it_is_made(pacs, archive, work_list, monkeypatch):
    from biomedjourney_monai.clinic.pacs import requests

    written = []

    def serve(*_, **__):
        path = work_list.with_name("list.results.csv")
        written.append(results(work_list) if path.is_file() else [])
        if len(written) == 3:
            raise KeyboardInterrupt
        return requests.STORED

    monkeypatch.setattr(requests, "serve", serve)
    assert pacs("--work-list", work_list) == 130
    assert written[0] == [] and written[1][:2] == ["stored", "not tried"]
    assert results(work_list) == ["stored"] * 2 + ["not tried"] * 4


def test_results_that_cannot_be_written_end_a_work_list_before_it_begins(pacs, archive, work_list, capsys):
    work_list.with_name("list.results.csv").mkdir()
    assert pacs("--work-list", work_list) == 2
    assert "the results beside --work-list must be a file that can be written" in capsys.readouterr().err
    assert archive.asked == []


def test_a_work_list_ends_when_the_archive_is_gone(pacs, archive, tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("patient_id,description\n" + f"MRN12345,{TEXT}\n" * 5)
    archive.fault = lambda method, path: "drop"
    assert pacs("--work-list", path) == 2
    assert results(path) == ["connection lost"] * 3 + ["not tried"] * 2


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "patient_id,description\n", None])
def test_a_file_that_is_no_work_list_is_refused(pacs, archive, tmp_path, content):
    path = tmp_path / "list.csv"
    if content is not None:
        path.write_text(content)
    assert pacs("--work-list", path) == 2
    assert archive.asked == []


def test_ten_thousand_frames_are_refused_before_they_are_sent(ask, archive, dicom_chest, capsys):
    archive.instances.clear()
    archive.add(dicom_chest(NumberOfFrames=10_000))
    assert ask() == 2
    assert "10000 frames" in capsys.readouterr().err
    assert [path for _, path in archive.asked if path.endswith("498.1.3")] == []


@pytest.mark.parametrize("name", ["<script>alert(1)</script>", "../../x"])
def test_hostile_names_go_into_the_tag_and_nowhere_else(pacs, archive, dicom_chest, scratch, capfd, caplog, name):
    caplog.set_level(logging.DEBUG)
    archive.instances.clear()
    archive.add(dicom_chest(PatientName=name, PatientID=name, AccessionNumber="../../y", StudyDescription=name))
    before = sorted(scratch.parent.iterdir())
    assert pacs("--patient-id", name, "--description", TEXT) == 0
    assert archive.stored()[0].PatientName == name
    said = capfd.readouterr()
    assert name not in said.out + said.err + caplog.text
    assert (sorted(scratch.parent.iterdir()), list(scratch.iterdir())) == (before, [])


def test_an_interrupt_leaves_no_temporary_file(ask, archive, scratch, monkeypatch):
    def interrupted(path, *, size):
        assert Path(path).is_file()
        raise KeyboardInterrupt

    monkeypatch.setattr("biomedjourney_monai.clinic.pacs.requests.read_prior", interrupted)
    assert ask() == 130
    assert list(scratch.iterdir()) == []


def test_a_prior_that_is_refused_is_said_so(ask, archive, dicom_chest, capsys):
    archive.instances.clear()
    archive.add(dicom_chest(np.random.default_rng(0).random((180, 180))))
    assert ask() == 2
    assert capsys.readouterr().err.startswith("error: ")
    assert archive.stored() == []


def test_the_picture_in_the_archive_is_the_one_of_a_png(ask, archive, tmp_path, bundle, random_model):
    assert ask() == 0
    archive.stored()[0].save_as(tmp_path / "made.dcm", enforce_file_format=True)
    archive.instances["1.2.826.0.1.3680043.8.498.1.3"].save_as(tmp_path / "prior.dcm")
    words = ["sample", "--prior", tmp_path / "prior.dcm", "--description", TEXT, "--out", tmp_path / "made.png"]
    assert main([*map(str, words), "--bundle", str(bundle), "--model", str(random_model), "--steps", "1"]) == 0
    made, sampled = read_pixels(tmp_path / "made.dcm"), read_pixels(tmp_path / "made.png")  # 16 bits, 8 bits
    assert np.corrcoef(made.ravel(), sampled.ravel())[0, 1] > 0.99


def add_study(archive, dicom_chest, number, **values):
    """Another study, in 2030 or later: the latest."""
    uids = {"StudyInstanceUID": f"1.8.{number}.1", "SeriesInstanceUID": f"1.8.{number}.2"}
    uids |= {"SOPInstanceUID": f"1.8.{number}.3", "StudyDate": f"203{number}0101"}
    archive.add(dicom_chest(**uids, **values))


OTHERS = {
    "IssuerOfPatientID": {"IssuerOfPatientID": "SITE-B"},
    "PatientName": {"PatientName": "ROE^RICHARD"},
    "PatientBirthDate": {"PatientBirthDate": "19510102"},
    "PatientSex": {"PatientSex": "M"},
}


@pytest.mark.parametrize("omits", [(), ("IssuerOfPatientID",)])
@pytest.mark.parametrize("name", OTHERS)
def test_a_patient_id_of_two_patients_stops_and_names_the_attribute_only(
    pacs, archive, dicom_chest, capfd, name, omits
):
    archive.omits = omits
    add_study(archive, dicom_chest, 1, PatientID="TWICE", IssuerOfPatientID="SITE-A")
    add_study(archive, dicom_chest, 2, **{"PatientID": "TWICE", "IssuerOfPatientID": "SITE-A", **OTHERS[name]})
    assert pacs("--patient-id", "TWICE", "--description", TEXT) == 2
    said = capfd.readouterr()
    assert f"found different values of {name}. Pass --issuer" in said.err
    secrets = ("TWICE", "SITE-", "ROE", "RICHARD", "19510102", *SECRETS)
    assert not [secret for secret in secrets if secret in said.out + said.err]
    assert archive.stored() == []


@pytest.mark.parametrize("omits", [(), ("IssuerOfPatientID",)])
def test_the_issuer_or_the_accession_number_names_the_patient(pacs, archive, dicom_chest, omits):
    archive.omits = omits
    add_study(archive, dicom_chest, 1, PatientID="TWICE", IssuerOfPatientID="SITE-A", AccessionNumber="A1")
    add_study(
        archive, dicom_chest, 2, PatientID="TWICE", IssuerOfPatientID="SITE-B", AccessionNumber="B1", PatientName="ROE"
    )
    asked = ("--patient-id", "TWICE", "--description", TEXT)
    assert pacs(*asked, "--issuer", "SITE-A") == pacs(*asked, "--accession-number", "B1", "--seed", 1) == 0
    made = [(made.StudyInstanceUID, made.IssuerOfPatientID) for made in archive.stored()]
    assert made == [("1.8.1.1", "SITE-A"), ("1.8.2.1", "SITE-B")]
    assert pacs(*asked, "--issuer", "SITE-C") == 2
    assert len(archive.stored()) == 2


def test_an_issuer_may_be_given_by_its_qualifiers(pacs, archive, dicom_chest):
    item = pydicom.Dataset()
    item.UniversalEntityID, item.UniversalEntityIDType = "1.2.276.0.76", "ISO"
    add_study(archive, dicom_chest, 1, PatientID="TWICE", IssuerOfPatientIDQualifiersSequence=[item])
    add_study(archive, dicom_chest, 2, PatientID="TWICE", IssuerOfPatientID="SITE-B")
    asked = ("--patient-id", "TWICE", "--description", TEXT)
    assert pacs(*asked) == 2
    assert pacs(*asked, "--issuer", "1.2.276.0.76") == 0
    assert archive.stored()[0].StudyInstanceUID == "1.8.1.1"
    assert archive.stored()[0].IssuerOfPatientIDQualifiersSequence[0].UniversalEntityID == "1.2.276.0.76"


def test_one_patient_may_be_written_in_several_ways(pacs, archive, dicom_chest):
    add_study(archive, dicom_chest, 1, PatientID="ONE", PatientName="Doe^Jane^^", PatientSex="")
    add_study(archive, dicom_chest, 2, PatientID="ONE", PatientName="DOE^JANE", IssuerOfPatientID="SITE-A")
    assert pacs("--patient-id", "ONE", "--description", TEXT) == 0
    assert archive.stored()[0].StudyInstanceUID == "1.8.2.1"


def test_an_image_of_another_patient_than_its_header_is_refused(pacs, archive, dicom_chest, monkeypatch):
    add_study(archive, dicom_chest, 1, PatientID="ONE", PatientName="ROE")
    sent = archive.instances["1.8.1.3"]
    add_study(archive, dicom_chest, 1, PatientID="ONE")
    monkeypatch.setattr("biomedjourney_monai.clinic.pacs.archive.Archive.retrieve", lambda *_: sent)
    assert pacs("--patient-id", "ONE", "--description", TEXT) == 2
    assert archive.stored() == []


def test_a_list_names_issuers_and_accession_numbers(pacs, archive, dicom_chest, tmp_path):
    for number, site in enumerate(("SITE-A", "SITE-B"), 1):
        add_study(archive, dicom_chest, number, PatientID="TWICE", IssuerOfPatientID=site, AccessionNumber=site[-1])
    (tmp_path / "list.csv").write_text(
        "patient_id,issuer,accession_number,description\n"
        f"TWICE,,,{TEXT}\nTWICE,SITE-A,,{TEXT}\nTWICE,,B,{TEXT}\nTWICE,SITE-A,B,{TEXT}\n"
    )
    assert pacs("--work-list", tmp_path / "list.csv") == 0
    assert results(tmp_path / "list.csv") == ["patient ambiguous", "stored", "stored", "patient or study unknown"]
    assert pacs("--work-list", tmp_path / "list.csv", "--issuer", "SITE-A") == 2


def test_an_ap_film_is_taken_with_a_note_where_the_weights_do_not_know_it(pacs, archive, dicom_chest, capsys):
    add_study(archive, dicom_chest, 1, PatientID="BED", ViewPosition="AP")
    assert pacs("--patient-id", "BED", "--description", TEXT) == 0
    assert "an AP film; the weights were trained on PA films (other_view)" in capsys.readouterr().err
    assert len(archive.stored()) == 1


def test_study_and_instance_uids_with_leading_zeros_are_kept(pacs, archive, dicom_chest, capfd):
    uids = {"StudyInstanceUID": "1.2.840.0113.77.001", "SeriesInstanceUID": "1.2.840.0113.77.002"}
    archive.add(dicom_chest(**uids, SOPInstanceUID="1.2.840.0113.77.003", PatientID="ZERO", StudyDate="20300101"))
    for number, asked in enumerate((("--patient-id", "ZERO"), ("--study", uids["StudyInstanceUID"]))):
        assert pacs(*asked, "--description", TEXT, "--seed", number) == 0
    assert {made.StudyInstanceUID for made in archive.stored()} == {"1.2.840.0113.77.001"}
    sources = {made.SourceImageSequence[0].ReferencedSOPInstanceUID for made in archive.stored()}
    assert sources == {"1.2.840.0113.77.003"}
    said = capfd.readouterr()
    assert "0113" not in said.out + said.err
