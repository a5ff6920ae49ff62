import hashlib
from dataclasses import dataclass

import pytest
import torch

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.files import file_hash
from biomedjourney_monai.training.data.stage_examples import StageExamples


@dataclass
class Row:
    name: str
    split: str


ROWS = {3: Row("a", "train"), 4: Row("b", "test"), 6: Row("c", "train"), 7: Row("d", "train")}
ENCODING = {"variants": 2, "dummy_prior": [1.0, 2.0]}


def examples(**changes):
    facts = {"encoding": ENCODING, "mirrored": False, "held_by": "the cache", "stage": "pretrain", "split": "train"}
    return StageExamples(ROWS, **{**facts, **changes})


def test_the_examples_of_a_split_keep_their_places_and_processes_share_them():
    assert [row.name for row in examples().rows] == ["a", "c", "d"]
    assert examples().places == [3, 6, 7]
    shares = [examples(process=process, processes=2).places for process in (0, 1)]
    assert shares == [[3, 7], [6]]


def test_an_index_past_the_examples_is_a_further_variant_and_past_those_is_an_error():
    dataset = examples()
    assert [dataset.locate(index) for index in (0, 2, 3, 5)] == [(0, 0), (2, 0), (0, 1), (2, 1)]
    for index in (-1, 6):
        with pytest.raises(IndexError, match=r"\[0, 6\)"):
            dataset.locate(index)
    assert examples(encoding={"dummy_prior": [0.0]}).variants == 1


def test_no_examples_and_unwanted_mirrors_are_refused():
    with pytest.raises(TableError, match="the cache must hold pretrain examples of split validate"):
        examples(split="validate")
    with pytest.raises(ConfigError, match="must not be mirrored"):
        examples(mirrored=True)
    assert examples(mirrored=True, reproduce_paper_flip=True).mirrored


def test_the_dummy_prior_has_one_number_for_each_channel():
    latent = torch.zeros(2, 3, 4)
    dummy = examples().dummy_like(latent)
    assert torch.equal(dummy, torch.tensor([1.0, 2.0])[:, None, None].expand(2, 3, 4))
    dummy.zero_()  # a tensor of its own
    assert torch.equal(examples().dummy_prior, torch.tensor([1.0, 2.0]))


def test_the_fingerprint_is_of_the_files_and_the_facts(tmp_path):
    (tmp_path / "a").write_text("a"), (tmp_path / "b").write_text("b")
    digest = hashlib.sha256(file_hash(tmp_path / "a").encode() + file_hash(tmp_path / "b").encode() + b"([3], (1, 2))")
    files = [tmp_path / "a", tmp_path / "b"]
    assert examples().fingerprint(files, ([3], (1, 2))) == {"fingerprint": digest.hexdigest(), "examples": 3}
    (tmp_path / "b").write_text("c")
    assert examples().fingerprint(files, ([3], (1, 2)))["fingerprint"] != digest.hexdigest()
