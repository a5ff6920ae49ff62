import json
import signal
import socket
import subprocess
import sys
import threading

import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.files import read_json_lines

GOOD = "The left pleural effusion has increased and is now large."


@pytest.fixture
def work(small_mimic, tmp_path):
    work = str(tmp_path / "work")
    main(["cohort", "--source", str(small_mimic), "--work", work])
    main(["journeys", "--work", work])
    main(["register", "--work", work, "--size", "64", "--processes", "1"])
    return tmp_path / "work"


@pytest.fixture
def reports(tmp_path):
    """Two reports of one's own, as options."""
    (tmp_path / "a.txt").write_text("Findings: Small left pleural effusion.\nConclusion: Small left effusion.")
    (tmp_path / "b.txt").write_text("IMPRESSION:\r\n1. Large left effusion, increased.\r\n2. New mild cardiomegaly.")
    return ["--prior-report", str(tmp_path / "a.txt"), "--new-report", str(tmp_path / "b.txt")]


@pytest.fixture
def without_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise OSError("the network is cut")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def model_options(service) -> list[str]:
    return ["--writer", "language-model", "--model", "fake", "--base-url", service.base_url, "--concurrency", "1"]


def test_two_reports_of_ones_own(reports, capsys, without_network, tmp_path):
    assert main(["describe", *reports]) == 0
    text = capsys.readouterr().out
    assert "left pleural effusion" in text.lower() and "large" in text and "cardiomegaly" in text.lower()
    assert main(["describe", *reports, "--text", "impression"]) == 0
    assert capsys.readouterr().out == "Large left effusion, increased. New mild cardiomegaly.\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.txt", "b.txt"]


def test_two_reports_and_a_model(reports, serve, describe, capsys):
    with serve(lambda _n, _body: describe(GOOD)) as service:
        assert main(["describe", *reports, *model_options(service)]) == 0
    assert capsys.readouterr().out == GOOD + "\n"


def test_the_default_needs_no_network(work, without_network):
    assert main(["describe", "--work", str(work)]) == 0
    record = json.loads((work / "describe_provenance.json").read_text())
    assert record["writer"] == "rules" and "endpoint" not in record


def test_a_misbehaving_service_loses_no_row_and_lets_no_wrong_side_through(work, serve, describe, capsys):
    answers = [
        (429, {}),
        describe("The right pleural effusion has increased and is now large."),
        (200, "{broken"),
        (500, {"error": {"message": "Small left pleural effusion."}}),
    ]
    with serve(lambda n, _body: answers[n % 4]) as service:
        assert main(["describe", "--work", str(work), *model_options(service), "--retries", "1"]) == 0
    rows = read_json_lines(work / "triples.jsonl", made_by="describe")
    assert len(rows) == 3 and not any("right" in row["progression_description"] for row in rows)
    counts = json.loads((work / "describe_drops.json").read_text())
    assert counts["triples_written_by"] == {"rules": 3} and sum(counts["fell_back_on_rules"].values()) == 3
    assert counts["attempts_rejected"]["wrong side"] >= 1
    captured = capsys.readouterr()
    assert "effusion" not in captured.out + captured.err and "5000" not in captured.out + captured.err


def test_the_record_says_who_wrote_and_where(work, serve, describe):
    with serve(lambda _n, _body: describe(GOOD)) as service:
        main(["describe", "--work", str(work), *model_options(service)])
    rows = read_json_lines(work / "triples.jsonl", made_by="describe")
    assert rows[0]["progression_description"] == GOOD and rows[0]["written_by"] == "language model"
    record = json.loads((work / "describe_provenance.json").read_text())
    assert record["prompt_version"] == "progression-1" and record["model"] == "fake"
    assert record["endpoint"] == {"host": "127.0.0.1", "is_loopback": True, "attestation": None}
    assert record["usage"]["input_tokens"] == 100 * record["usage"]["answers"] > 0


def test_a_dry_run_asks_and_writes_nothing(work, serve, describe, capsys):
    before = {path.name for path in work.iterdir()}
    with serve(lambda _n, _body: describe(GOOD)) as service:
        options = ["--dry-run", "--input-price", "2.5", "--output-price", "10"]
        assert main(["describe", "--work", str(work), *model_options(service), *options]) == 0
    assert "2 requests (0 more are answered in the cache)" in capsys.readouterr().out
    assert service.requests == [] and {path.name for path in work.iterdir()} == before


def test_a_killed_run_resumes(work, serve, describe):
    second_asked, release = threading.Event(), threading.Event()

    def answer(number, _body):
        if number == 1:
            second_asked.set()
            release.wait(30)
        return describe("No change in anything at all.") if number else describe(GOOD)

    with serve(answer) as service:
        arguments = ["describe", "--work", str(work), *model_options(service)]
        process = subprocess.Popen([sys.executable, "-m", "biomedjourney_monai.cli.main", *arguments])
        assert second_asked.wait(60)
        process.send_signal(signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL and not (work / "triples.jsonl").exists()
        release.set()
        assert main(arguments) == 0
    texts = [body["messages"][1]["content"] for body in service.requests if len(body["messages"]) == 2]
    assert texts.count(texts[0]) == 1  # what was answered before the kill was not asked again
    assert len(read_json_lines(work / "triples.jsonl", made_by="describe")) == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--writer", "language-model"], "--model"),
        (["--writer", "language-model", "--model", "m", "--base-url", "https://api.openai.com/v1"], "attest"),
        (["--prior-report", "a.txt"], "together"),
        (["--prior-report", "absent-4711.txt", "--new-report", "b.txt"], "--prior-report"),
        (["--writer", "language-model", "--model", "m"], "must exist"),
        (["--dry-run"], "--writer"),
        (["--concurrency", "0"], "--concurrency"),
    ],
)
def test_mistakes_are_one_line_that_names_no_file(tmp_path, capsys, arguments, words):
    assert main(["describe", "--work", str(tmp_path), *arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and words in error and "4711" not in error and list(tmp_path.iterdir()) == []


def test_an_attested_service_needs_a_key_and_the_record_keeps_the_attestation(reports, monkeypatch, capsys):
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    remote = ["--writer", "language-model", "--model", "m", "--base-url", "https://192.0.2.1/v1"]
    assert main(["describe", *reports, *remote, "--attest-zero-retention"]) == 2
    assert "OPENAI_API_KEY" in capsys.readouterr().err


def test_the_attestation_is_in_the_record_of_a_run(work, monkeypatch, without_network):
    monkeypatch.setenv("OPENAI_API_KEY", "secret-4711")
    remote = ["--writer", "language-model", "--model", "m", "--base-url", "https://192.0.2.1/v1", "--retries", "0"]
    assert main(["describe", "--work", str(work), *remote, "--attest-zero-retention"]) == 0
    record = json.loads((work / "describe_provenance.json").read_text())
    assert "retains nothing" in record["endpoint"]["attestation"] and record["endpoint"]["host"] == "192.0.2.1"
    assert not any(b"secret-4711" in path.read_bytes() for path in work.iterdir() if path.is_file())
