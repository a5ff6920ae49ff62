import gc
import json

import pytest

from biomedjourney_monai.cli.main import main
from biomedjourney_monai.files import read_json_lines


@pytest.fixture
def work(small_mimic, tmp_path):
    work = str(tmp_path / "work")
    main(["cohort", "--source", str(small_mimic), "--work", work])
    main(["journeys", "--work", work])
    main(["register", "--work", work, "--size", "64", "--processes", "1"])
    return tmp_path / "work"


def test_triples_and_singles(work, capsys):
    capsys.readouterr()
    assert main(["describe", "--work", str(work)]) == 0
    triples = read_json_lines(work / "triples.jsonl", made_by="describe")
    singles = read_json_lines(work / "singles.jsonl", made_by="describe")
    assert len(triples) == 3 and len(singles) == 6
    for triple in triples:
        for key in ("prior_image", "new_image", "valid_mask"):
            assert (work / triple[key]).is_file()
        assert triple["progression_description"].endswith(".")
    counts = json.loads((work / "describe_drops.json").read_text())
    assert counts["triples_dropped"] == {"pair not kept by register": 1} and counts["triples_from_labels"] == 1
    captured = capsys.readouterr()
    assert "3 triples" in captured.out and "effusion" not in captured.out + captured.err


def test_the_same_seed_gives_the_same_file(work):
    contents = []
    for seed in (0, 0, 1):
        main(["describe", "--work", str(work), "--seed", str(seed)])
        contents.append((work / "triples.jsonl").read_bytes())
    assert contents[0] == contents[1] != contents[2]


def test_the_impression_instead(work):
    assert main(["describe", "--work", str(work), "--text", "impression"]) == 0
    triples = read_json_lines(work / "triples.jsonl", made_by="describe")
    assert triples[0]["progression_description"] == triples[0]["new_impression"]


def test_some_descriptions_may_leave_out_what_is_unchanged(work):
    lengths = []
    for share in ("0", "1"):
        assert main(["describe", "--work", str(work), "--only-changes", share]) == 0
        triples = read_json_lines(work / "triples.jsonl", made_by="describe")
        lengths.append([len(triple["progression_description"]) for triple in triples])
    assert sum(lengths[1]) < sum(lengths[0])
    assert json.loads((work / "describe_provenance.json").read_text())["only_changes"] == 1


@pytest.mark.parametrize(
    "arguments", [[], ["--seed", "-1"], ["--only-changes", "1.5"], ["--only-changes", "1", "--text", "impression"]]
)
def test_mistakes_are_one_line(tmp_path, capsys, arguments):
    assert main(["describe", "--work", str(tmp_path), *arguments]) == 2
    assert capsys.readouterr().err.count("\n") == 1 and list(tmp_path.iterdir()) == []


def test_the_collector_runs_again_after_a_run_and_after_an_error(work, tmp_path):
    main(["describe", "--work", str(work)])
    main(["describe", "--work", str(tmp_path)])
    assert gc.isenabled()
