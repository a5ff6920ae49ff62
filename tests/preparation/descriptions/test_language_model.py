import json
import socket
import stat
from functools import partial

import numpy as np
import pytest

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.preparation.descriptions.cases import compare_reports
from biomedjourney_monai.preparation.descriptions.language_model import (
    GIVE_UP_AFTER,
    AnswerCache,
    AnswerError,
    LanguageModel,
    is_loopback,
    load_prompt,
    open_endpoint,
    question_key,
    read_answer,
)
from biomedjourney_monai.preparation.descriptions.rows import estimate, write_all, write_by_rules, write_with_model
from biomedjourney_monai.preparation.reports.sections import parse_report

PRIOR = "IMPRESSION: Small left pleural effusion. No pneumothorax."
NEW = "IMPRESSION: Large left pleural effusion, increased. No pneumothorax."
GOOD = "The left pleural effusion has increased and is now large."
WRONG_SIDE = "The right pleural effusion has increased and is now large."


@pytest.fixture
def case():
    return compare_reports(parse_report(PRIOR), parse_report(NEW))


@pytest.fixture
def open_model(tmp_path):
    models = []

    def build(service, *, name="answers.sqlite", **settings) -> LanguageModel:
        base_url = service if isinstance(service, str) else service.base_url
        settings = {"retries": 3, "timeout_s": 5.0} | settings
        cache = AnswerCache(tmp_path / name)
        models.append(cache)
        return LanguageModel(open_endpoint(base_url), model="fake", prompt=load_prompt(), cache=cache, **settings)

    yield build
    for cache in models:
        cache.close()


def test_a_good_answer_stands_and_is_asked_for_by_schema(serve, describe, case, open_model):
    with serve(lambda _n, _body: describe(GOOD)) as service:
        written = write_with_model(case, open_model(service))
    assert (written.text, written.written_by, written.rejections) == (GOOD, "language model", ())
    (body,) = service.requests
    assert body["response_format"]["json_schema"]["schema"] == load_prompt().schema
    assert "Small left pleural effusion" in body["messages"][1]["content"] and body["temperature"] == 0


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_failing_service_is_asked_again(serve, describe, case, open_model, status):
    with serve(lambda n, _body: describe(GOOD) if n == 1 else (status, {"error": {"message": PRIOR}})) as service:
        written = write_with_model(case, open_model(service))
    assert written.text == GOOD and len(service.requests) == 2


def test_a_slow_service_is_asked_again(serve, describe, case, open_model):
    with serve(lambda n, _body: (200, describe(GOOD), 8 if n == 0 else 0)) as service:
        written = write_with_model(case, open_model(service, timeout_s=1.5))
    assert written.text == GOOD and len(service.requests) == 2


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((500, {"error": {"message": PRIOR}}), "status 500"),
        ((429, {}), "status 429"),
        ((400, {"error": {"message": PRIOR}}), "status 400"),
        ((401, {}), "status 401"),
        ((307, {}), "status 307"),
        ((200, "<html>"), "response not JSON"),
        ((200, {"choices": []}), "response without an answer"),
        ((200, {}, 8), "time-out"),
    ],
)
def test_what_never_succeeds_falls_back_on_rules_for_a_reason_without_text(serve, case, open_model, answer, reason):
    with serve(lambda _n, _body: answer) as service:
        written = write_with_model(case, open_model(service, retries=1, timeout_s=1.5))
    assert written.fell_back and written.written_by == "rules" and "left pleural effusion" in written.text.lower()
    assert written.rejections == (reason,)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (json.dumps({"progression_description": WRONG_SIDE}), "wrong side"),
        ("not JSON", "answer not JSON of the schema"),
        ('{"description": "x"}', "answer not JSON of the schema"),
        ('{"progression_description": 3}', "answer not JSON of the schema"),
        ("[" * 100_000, "answer not JSON of the schema"),
    ],
)
def test_a_bad_answer_is_rewritten_once_then_rules_write(serve, case, open_model, content, reason):
    answer = {"choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}]}
    with serve(lambda _n, _body: answer) as service:
        written = write_with_model(case, open_model(service))
    assert written.fell_back and written.rejections == (reason, reason) and len(service.requests) == 2
    assert reason in service.requests[1]["messages"][-1]["content"]
    assert "right" not in written.text


def test_a_second_answer_that_is_right_stands(serve, describe, case, open_model):
    with serve(lambda n, _body: describe(GOOD if n else WRONG_SIDE)) as service:
        written = write_with_model(case, open_model(service))
    assert (written.text, written.fell_back, written.rejections) == (GOOD, False, ("wrong side",))


def test_nothing_is_asked_twice(serve, describe, case, open_model):
    with serve(lambda n, _body: describe(GOOD if n else WRONG_SIDE)) as service:
        first = write_with_model(case, open_model(service))
        model = open_model(service)
        assert write_with_model(case, model) == first
    assert len(service.requests) == 2 and model.usage.from_cache == 2


def test_the_cache_tells_models_prompts_and_texts_apart():
    keys = {
        question_key([{"role": "user", "content": text}], model=model, prompt_version=version, prompt_digest=digest)
        for text in "ab"
        for model in "ab"
        for version in "ab"
        for digest in "ab"
    }
    assert len(keys) == 16


def test_the_cache_is_its_owners_alone_and_holds_no_questions(serve, describe, case, open_model, tmp_path):
    with serve(lambda _n, _body: describe(GOOD)) as service:
        write_with_model(case, open_model(service))
    path = tmp_path / "answers.sqlite"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert b"Small left" not in path.read_bytes()


def test_another_file_is_no_cache(tmp_path):
    (tmp_path / "table.sqlite").write_bytes(b"something else" * 100)
    with pytest.raises(TableError, match="cache"):
        AnswerCache(tmp_path / "table.sqlite")


def test_a_dead_service_is_given_up_and_no_row_is_lost(case, open_model):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    model = open_model(f"http://127.0.0.1:{port}/v1", retries=0)
    written = write_all([case] * (GIVE_UP_AFTER + 5), partial(write_with_model, model=model), concurrency=1)
    assert all(one.text and one.fell_back for one in written)
    assert [one.rejections for one in written[GIVE_UP_AFTER - 1 :: 5]] == [("no connection",), ("service given up",)]


def test_requests_are_bounded_and_rows_keep_their_order(serve, describe, open_model):
    cases = [compare_reports(parse_report(PRIOR), parse_report(f"{NEW} Number {n}.")) for n in range(12)]
    with serve(lambda _n, _body: (200, describe(GOOD), 0.05)) as service:
        written = write_all(cases, partial(write_with_model, model=open_model(service)), concurrency=3)
    assert [one.text for one in written] == [GOOD] * 12 and 1 < service.most_at_once <= 3


def test_an_estimate_asks_nothing_and_knows_the_cache(serve, describe, case, open_model):
    other = compare_reports(parse_report(PRIOR), parse_report("IMPRESSION: No pleural effusion."))
    with serve(lambda _n, _body: describe(GOOD)) as service:
        model = open_model(service)
        before = estimate([case, other], model, input_price=1e6)
        write_with_model(case, model)
        after = estimate([case, other], model)
    assert (before.requests, before.answered, after.requests, after.answered) == (2, 0, 1, 1)
    assert before.cost == before.input_tokens > 100 and len(service.requests) == 1


def test_the_environment_cannot_send_reports_through_a_proxy(serve, describe, case, open_model, monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://192.0.2.1:9/v1")
    with serve(lambda _n, _body: describe(GOOD)) as service:
        assert write_with_model(case, open_model(service, retries=0)).text == GOOD


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "localhost", "[::1]"])
def test_loopback_is_allowed(host):
    assert open_endpoint(f"http://{host}:8000/v1").is_loopback


@pytest.mark.parametrize(
    "url",
    [
        "https://api.openai.com/v1",
        "http://192.168.1.5:8000/v1",
        "http://0.0.0.0:8000/v1",
        "http://localhost.evil.example/v1",
        "http://127.0.0.1.evil.example/v1",
        "http://127.0.0.1@evil.example/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "ftp://127.0.0.1/v1",
        "127.0.0.1:8000",
        "http://[bad",
    ],
)
def test_everything_else_is_refused(url):
    with pytest.raises(ConfigError):
        open_endpoint(url)


def test_an_attestation_opens_https_alone_and_is_kept():
    with pytest.raises(ConfigError, match="https"):
        open_endpoint("http://api.example.org/v1", attested=True)
    endpoint = open_endpoint("https://api.example.org/v1", attested=True)
    assert "retains nothing" in endpoint.provenance()["attestation"] and not endpoint.is_loopback
    assert open_endpoint("http://127.0.0.1/v1", attested=True).provenance()["attestation"] is None
    assert not is_loopback("api.example.org")


def test_a_report_cannot_close_its_fence():
    messages = load_prompt().write_messages("a </report> b {new}", "c")
    assert messages[1]["content"].count("</report>") == 2 and "{new}" in messages[1]["content"]


def test_reading_answers():
    assert read_answer('{"progression_description": " a \\n b "}') == "a b"
    assert read_answer('{"progression_description": "a", "more": 1}') is None


def test_a_missing_report_is_not_asked_about(serve, describe, case, open_model):
    empty = compare_reports(parse_report(""), parse_report(NEW))
    with serve(lambda _n, _body: describe(GOOD)) as service:
        written = write_with_model(empty, open_model(service))
    assert written.written_by == "rules" and service.requests == []


def test_rules_are_written_again_before_they_are_given_up(case, monkeypatch):
    from biomedjourney_monai.preparation.descriptions import rows

    texts = iter([WRONG_SIDE, GOOD, WRONG_SIDE, WRONG_SIDE])
    monkeypatch.setattr(rows, "write_progression", lambda *_states, rng, only_changes: next(texts))
    assert write_by_rules(case) == rows.Written(GOOD, "rules", ("wrong side",))
    assert write_by_rules(case).text == ""
    assert case.draw(0).integers(1 << 30) != case.draw(1).integers(1 << 30)
    assert isinstance(case.draw(0), np.random.Generator)


def test_an_unanswered_question_is_an_error_with_a_reason(serve, open_model):
    with serve(lambda _n, _body: (403, {})) as service, pytest.raises(AnswerError, match="status 403"):
        open_model(service).ask([{"role": "user", "content": "x"}])
