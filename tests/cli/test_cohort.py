import json
import logging

import pandas as pd
import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.schema import CHEXPERT_LABELS, STUDY_COLUMNS


def test_the_table_the_counts_and_the_lines(small_mimic, tmp_path, capsys):
    assert main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")]) == 0
    studies = pd.read_parquet(tmp_path / "work" / "studies.parquet")
    assert tuple(studies.columns) == STUDY_COLUMNS and len(studies) == 7
    counts = json.loads((tmp_path / "work" / "cohort_drops.json").read_text())
    assert counts["kept"] == 7 and counts["images_dropped"] == {"view not PA": 1} and counts["without_report"] == 1
    printed = capsys.readouterr().out
    assert "7 studies of 3 patients" in printed and "view not PA 1" in printed


def test_messages_carry_no_identifiers(small_mimic, tmp_path, capsys):
    main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")])
    captured = capsys.readouterr()
    assert not any(number in captured.out + captured.err for number in ("10000001", "50000009", "2150"))


@pytest.mark.parametrize(
    "arguments",
    [
        ["--source", "absent"],
        ["--source", "."],
        ["--source", ".", "--validation-share", "1"],
        ["--source", ".", "--processes", "-1"],
        ["--source", ".", "--check-mirrored"],
        ["--source", ".", "--check-views", "--without-images"],
        ["--source", ".", "--check-views", "--view-model", "absent.pt"],
        ["--source", ".", "--pseudonym-key", "key"],
        ["--dicom", "absent", "--eligibility", "any"],
        ["--dicom", ".", "--eligibility", "any"],
        ["--dicom", "."],
        ["--dicom", ".", "--labels", "chexpert"],
        ["--dicom", ".", "--split", "official"],
        ["--dicom", ".", "--reports", "absent"],
        ["--chestxray14", "absent"],
        ["--chestxray14", "."],
        ["--chestxray14", ".", "--labels", "chexpert"],
        ["--chexpert", "absent"],
        ["--chexpert", "."],
        ["--chexpert", ".", "--split", "paper"],
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(tmp_path, monkeypatch, capsys, arguments):
    monkeypatch.chdir(tmp_path)
    assert main(["cohort", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_missing_demographics_are_mentioned(mimic, tmp_path, capsys):
    mimic.add_study(10000001, 50000001)
    mimic.add_patient(10000001)
    source = mimic.write(without=("hosp/patients", "hosp/admissions"))
    assert main(["cohort", "--source", str(source), "--work", str(tmp_path / "work")]) == 0
    assert "no ages" in capsys.readouterr().out


def test_help_shows_the_sources(capsys):
    with pytest.raises(SystemExit):
        main(["cohort", "--help"])
    printed = capsys.readouterr().out
    for example in (
        "cohort --source mimic",
        "cohort --source phantom",
        "cohort --dicom archive --reports reports.csv",
        "cohort --chestxray14 nih",
    ):
        assert example in printed


def test_what_was_left_out_is_listed(small_mimic, tmp_path):
    assert main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / "work")]) == 0
    rejected = pd.read_csv(tmp_path / "work" / "rejected.csv", dtype=str)
    assert rejected[["level", "reason", "dicom_id"]].to_dict("records") == [
        {"level": "image", "reason": "view not PA", "dicom_id": "lateral"}
    ]
    assert (tmp_path / "work" / "race_conflicts.csv").is_file() and (tmp_path / "work" / "flagged.csv").is_file()


def test_the_same_command_gives_the_same_bytes(small_mimic, tmp_path):
    for work in ("one", "two"):
        main(["cohort", "--source", str(small_mimic), "--work", str(tmp_path / work)])
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files and all((tmp_path / "one" / n).read_bytes() == (tmp_path / "two" / n).read_bytes() for n in files)


def test_a_folder_of_dicom_with_a_table_of_reports(tmp_path, capsys):
    source, work = tmp_path / "phantom", tmp_path / "work"
    line = f"phantom --out {source} --patients 6 --seed 3 --size 96 --format dicom --processes 1"
    assert main(line.split()) == 0
    reports = [{"accession_number": f"A{p.stem[1:]}", "text": p.read_text()} for p in source.rglob("s*.txt")]
    pd.DataFrame(reports).to_csv(tmp_path / "reports.csv", index=False)
    arguments = ["cohort", "--dicom", str(source / "files"), "--reports", str(tmp_path / "reports.csv")]
    (tmp_path / "key").write_text("a secret")
    arguments += ["--work", str(work), "--check-views", "--processes", "1", "--pseudonym-key", str(tmp_path / "key")]
    assert main(arguments) == 0
    studies = pd.read_parquet(work / "studies.parquet")
    assert len(studies) > 6 and (studies["view_position"] == "PA").all() and (studies["report_path"] != "").sum() > 6
    assert studies[list(CHEXPERT_LABELS)].notna().any(axis=None)
    printed = capsys.readouterr()
    known = {path.stem[1:] for path in source.rglob("s*.txt")}
    assert not any(number in printed.out + printed.err for number in known)
    assert main(["journeys", "--work", str(work)]) == 0


def studies_of(source, work, *options: str) -> pd.DataFrame:
    assert main(["cohort", "--source", str(source), "--work", str(work), "--processes", "1", *options]) == 0
    return pd.read_parquet(work / "studies.parquet")


def test_every_choice_is_in_the_callers_hands(mimic, small_mimic, tmp_path, capsys):
    work = tmp_path / "work"
    assert set(studies_of(small_mimic, work)["split"]) == {"train", "test"}
    assert set(studies_of(small_mimic, work, "--split", "official")["split"]) == {"train"}
    assert len(studies_of(small_mimic, work, "--eligibility", "finding")) == 3
    draws = [studies_of(small_mimic, work, "--validation-share", "0.5", "--seed", str(seed)) for seed in range(8)]
    assert len({tuple(studies["split"]) for studies in draws}) > 1
    capsys.readouterr()
    assert main(["cohort", "--source", str(small_mimic), "--work", str(work), "--labels", "negbio"]) == 2
    assert "negbio" in capsys.readouterr().err
    assert studies_of(small_mimic, work, "--labels", "report")["Pleural Effusion"].sum() == 2


def test_what_is_in_doubt_or_unknown_is_decided_by_the_caller(mimic, tmp_path):
    mimic.add_patient(10000001)
    mimic.add_study(10000001, 50000001, labels={"Edema": -1.0, "Pneumothorax": 1.0})
    mimic.add_study(10000001, 50000002, date="21500201", view="", code="")
    mimic.add_study(10000001, 50000003, date="21500301", image=False)
    source, work = mimic.write(), tmp_path / "work"
    assert studies_of(source, work)["Edema"].tolist() == [-1]
    assert studies_of(source, work, "--uncertain", "zeros")["Edema"].tolist() == [0]
    assert studies_of(source, work, "--uncertain", "ones")["Edema"].tolist() == [1]
    frontal = studies_of(source, work, "--unknown-view", "image", "--check-views")
    assert frontal["view_position"].tolist() == ["PA", "FRONTAL"]
    assert len(studies_of(source, work, "--without-images")) == 2


def test_two_studies_at_one_instant_are_kept_single_but_not_paired(mimic, tmp_path):
    mimic.add_patient(10000001)
    for number, (date, time) in enumerate([("21500101", "80000"), ("21500101", "80000.0"), ("21500201", "80000")]):
        mimic.add_study(10000001, 50000009 - number, date=date, time=time)
    work = tmp_path / "work"
    assert len(studies_of(mimic.write(), work)) == 3
    assert main(["journeys", "--work", str(work)]) == 0
    assert json.loads((work / "journeys_drops.json").read_text())["dropped"] == {"studies at the same instant": 1}
    assert pd.read_parquet(work / "journeys.parquet")["days_between"].tolist() == [31.0]


def test_no_patient_is_in_two_splits_of_either_kind(small_mimic, tmp_path):
    for split in ("paper", "official"):
        studies = studies_of(small_mimic, tmp_path / split, "--split", split, "--validation-share", "0.5")
        assert (studies.groupby("subject_id")["split"].nunique() == 1).all()


@pytest.mark.parametrize(("kind", "steps"), [("source", 2), ("dicom", 3)])
def test_an_existing_scheduler_does_every_step_and_gives_the_same_bytes(tmp_path, monkeypatch, kind, steps):
    from distributed import LocalCluster

    from biomedjourney_monai.preparation import parallel

    form = "jpg" if kind == "source" else "dicom"
    line = f"phantom --out {tmp_path}/phantom --patients 4 --seed 3 --size 64 --format {form} --processes 1"
    assert main(line.split()) == 0
    reports = [{"accession_number": f"A{p.stem[1:]}", "text": p.read_text()} for p in tmp_path.rglob("s*.txt")]
    pd.DataFrame(reports).to_csv(tmp_path / "reports.csv", index=False)
    arguments = ["cohort", f"--{kind}", "phantom" if kind == "source" else "phantom/files", "--labels", "report"]
    arguments += ["--check-views", "--reports", "phantom" if kind == "source" else "reports.csv"]
    opened, open_cluster = [], parallel._open_cluster

    def note(*given, **named):
        opened.append(given[1])
        return open_cluster(*given, **named)

    monkeypatch.setattr(parallel, "_open_cluster", note)
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None, "host": "127.0.0.1"}
    with LocalCluster(**options, silence_logs=logging.CRITICAL, local_directory=str(tmp_path)) as cluster:
        monkeypatch.chdir(tmp_path)  # the worker stays where it was
        assert main([*arguments, "--scheduler", cluster.scheduler_address]) == 0
    assert opened == [cluster.scheduler_address] * steps
    (tmp_path / "work").rename(tmp_path / "before")
    assert main([*arguments, "--processes", "1"]) == 0
    for name in ("studies.parquet", "rejected.csv", "cohort_drops.json", "view_checks.jsonl"):
        assert (tmp_path / "work" / name).read_bytes() == (tmp_path / "before" / name).read_bytes()
