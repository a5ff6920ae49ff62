from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from biomedjourney_monai.errors import ConfigError, TableError
from biomedjourney_monai.training.data.examples import open_examples, order_of, sample_pairs
from biomedjourney_monai.training.data.folders import as_folders, first_folder, latent_caches
from biomedjourney_monai.training.data.latents import LatentCache, LatentRow
from biomedjourney_monai.training.data.mixture import MixedExamples, count_scored, read_encoding, scored_folder

FILMS, TRIPLES = 6, 10
UNCHANGED_TEXTS = [2, 3, 4]


@pytest.fixture
def write(tmp_path):
    """Writes a latent cache whose films are filled with `first`, `first + 1` …; the first triples change a finding."""

    def write_cache(name, *, first=0, changed=4, stages=("pretrain", "finetune"), size=2, **encoding):
        rows = [LatentRow("pretrain", "train", film, -1, -1, 0) for film in range(FILMS)]
        rows += [
            LatentRow("finetune", split, n % FILMS, (n + 1) % FILMS, -1, 1, f"j{n:06d}", changed=n < changed)
            for split, count in (("train", TRIPLES), ("validate", 2))
            for n in range(count)
        ]
        values = np.arange(first, first + FILMS, dtype=np.float16)[:, None, None, None]
        facts = {"autoencoder": "a" * 64, "text_encoder": "b" * 64, "precision": "float16", "image_size": 16}
        facts |= {"scale_factor": 0.5, "dummy_prior": [0.0], "unchanged_texts": UNCHANGED_TEXTS}
        folder = tmp_path / name
        LatentCache.write(
            folder / "latents",
            mean=np.broadcast_to(values, (FILMS, 1, size, size)),
            log_variance=np.broadcast_to(-values, (FILMS, 1, size, size)),
            valid=np.zeros((1, size, size), bool),
            text_states=np.arange(5, dtype=np.float16)[:, None, None] * np.ones((1, 3, 2), np.float16),
            rows=[row for row in rows if row.stage in stages],
            encoding={**facts, **encoding},
        )
        return str(folder)

    return write_cache


def open_mixture(folders, stage="finetune", split="train", **more):
    return open_examples(latent_caches(folders), stage=stage, split=split, **more)


def drawn(dataset, count, **more):
    """The first items of a training's order, one by one."""
    order = order_of(dataset, seed=more.pop("seed", 0), batch_size=4, **more)
    return [dataset[draw] for batch in islice(order, count // 4) for draw in batch]


def test_folders_are_drawn_with_their_weights(write):
    dataset = open_mixture([write("a"), write("b", first=100)], weights=[3, 1])
    items = drawn(dataset, 1000)
    assert sum(float(item["new_mean"].mean()) < 100 for item in items) == 750
    rows = {int(item["row"]) for item in items}
    assert rows == {*range(FILMS, FILMS + TRIPLES), *range(2 * FILMS + 12, 2 * FILMS + 12 + TRIPLES)}


def test_without_weights_every_example_is_drawn_alike(write):
    items = drawn(open_mixture([write("a"), write("b")], split="train"), 1000)
    assert set(Counter(int(item["row"]) for item in items).values()) == {50}


def test_pairs_with_a_change_take_their_share_and_come_in_shuffles(write):
    items = drawn(open_mixture(write("a"), changed_share=0.6), 1000)
    counts = Counter(int(item["row"]) - FILMS for item in items)
    assert [counts[n] for n in range(TRIPLES)] == [150] * 4 + [66 + (counts[n] == 67) for n in range(4, TRIPLES)]
    assert sum(counts[n] for n in range(4, TRIPLES)) == 400


def test_a_folder_of_one_kind_keeps_its_weight(write):
    dataset = open_mixture([write("a"), write("b", first=100, changed=TRIPLES)], weights=[0.5, 0.5], changed_share=0.6)
    assert [round(source.share, 6) for source in dataset.sources] == [0.3, 0.2, 0.5]


def test_identity_pairs_have_the_prior_as_new_image_and_a_sentence_without_change(write):
    items = drawn(open_mixture([write("a"), write("b", first=100)], identity_share=0.1), 1000)
    same = [item for item in items if int(item["row"]) == -1]
    assert len(same) == 100
    for item in same:
        assert torch.equal(item["new_mean"], item["prior_latent"])
        assert torch.equal(item["new_log_variance"], -item["new_mean"])
        assert item["valid"].min() == 1
    assert Counter(int(item["text_states"].mean()) for item in same).keys() == set(UNCHANGED_TEXTS)
    assert {float(item["new_mean"].mean()) for item in same} == {float(n) for n in [*range(6), *range(100, 106)]}
    assert all(int(item["text_states"].mean()) == 1 for item in items if int(item["row"]) >= 0)


def test_the_first_stage_has_neither_changed_nor_identity_pairs(write):
    items = drawn(open_mixture([write("a"), write("b")], stage="pretrain", changed_share=0.6, identity_share=0.5), 100)
    assert all(not item["prior_latent"].any() and int(item["row"]) >= 0 for item in items)


def test_the_order_depends_on_seed_and_iteration_and_processes_share_it(write):
    dataset = open_mixture([write("a"), write("b")], changed_share=0.6, identity_share=0.08)

    def draws(start=0, batch_size=6, **more):
        order = order_of(dataset, seed=more.pop("seed", 3), batch_size=batch_size, **more)
        order.first_batch = start
        return list(islice(order, 400 - start))

    whole = draws()
    assert draws(start=333) == whole[333:]  # also in the third block of 1000 draws
    assert draws(seed=4) != whole
    shares = [draws(batch_size=3, process=process, processes=2) for process in (0, 1)]
    assert whole == [[draw for pair in zip(*batches) for draw in pair] for batches in zip(*shares)]


def test_the_loader_reads_a_mixture(write):
    dataset = open_mixture([write("a"), write("b")], identity_share=0.2)
    loader = DataLoader(dataset, batch_sampler=order_of(dataset, seed=0, batch_size=5))
    batch = next(iter(loader))
    assert batch["new_mean"].shape == (5, 1, 2, 2)
    assert len(loader) == 2 * TRIPLES // 5


def test_variants_take_turns_in_a_mixture(write):
    dataset = open_mixture(write("a", variants=2, size=1), identity_share=0.5)
    part = dataset.parts[0]
    assert part.variants == 2
    turns = {draw.turn % 2 for batch in islice(order_of(dataset, seed=0, batch_size=4), 50) for draw in batch}
    assert turns == {0, 1}


def test_validation_goes_through_all_folders_and_scores_the_first(write):
    folders = [write("a"), write("b", first=100)]
    dataset = open_mixture(folders, split="validate")
    assert [float(dataset[n]["new_mean"].mean()) for n in range(len(dataset))] == [0, 1, 100, 101]
    with pytest.raises(IndexError):
        dataset[4]
    assert scored_folder(dataset, folders) == folders[0]
    assert count_scored(dataset, 64) == 2
    single = open_mixture(folders[0], split="validate")
    assert (scored_folder(single, folders[0]), count_scored(single, 64)) == (folders[0], 64)


def test_a_folder_without_examples_of_the_stage_is_left_out_and_named(write, caplog):
    folders = [write("films", stages=("pretrain",)), write("b", first=100)]
    with caplog.at_level("INFO"):
        dataset = open_mixture(folders, weights=[0.9, 0.1])
    assert dataset.weights == [1.0]
    assert f"Left out, without examples of this stage and split: {folders[0]}." in caplog.text
    with pytest.raises(TableError, match="must contain examples of the stage"):
        open_mixture([folders[0], write("c", stages=("pretrain",))])


def test_a_single_folder_without_shares_is_as_before(write):
    dataset = open_mixture(write("a"))
    assert not isinstance(dataset, MixedExamples)
    order = order_of(dataset, seed=0, batch_size=4)
    assert sorted(place for batch in islice(order, 5) for place in batch) == sorted([*range(TRIPLES)] * 2)


def test_the_fingerprint_tells_how_examples_are_drawn(write):
    folders = [write("a"), write("b")]
    facts = [open_mixture(folders, weights=weights).describe() for weights in ([1, 1], [2, 2], [1, 2])]
    assert facts[0] == facts[1] != facts[2]
    assert facts[0]["examples"] == 2 * TRIPLES


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"autoencoder": "c" * 64}, "autoencoder"),
        ({"text_encoder": "c" * 64}, "text encoder"),
        ({"precision": "float32"}, "precision"),
        ({"image_size": 32}, "image size"),
        ({"cached": False}, "--no-cache"),
        ({"mirrored": True}, "--reproduce-paper-flip"),
    ],
)
def test_folders_that_were_encoded_differently_are_refused(write, changes, name):
    folders = [write("a"), write("b", **changes)]
    with pytest.raises(TableError, match=rf"same .*{name}.*found .*b/latents.*encode --work .*a --work .*b"):
        read_encoding(latent_caches(folders))


def test_latents_of_another_shape_are_refused(write):
    with pytest.raises(TableError, match="one shape"):
        open_mixture([write("a"), write("b", size=4)])


def test_the_scale_factor_of_a_mixture_is_that_of_its_variance(write):
    folders = latent_caches([write("a", scale_factor=0.5), write("b", scale_factor=1.0)])
    assert read_encoding(folders, weights=[3, 1])["scale_factor"] == pytest.approx((0.75 * 4 + 0.25) ** -0.5)
    assert read_encoding(folders)["scale_factor"] == pytest.approx((0.5 * 4 + 0.5) ** -0.5)
    assert read_encoding(folders[0])["scale_factor"] == 0.5
    with pytest.raises(ConfigError, match="2 for 1 folders"):
        read_encoding(folders[0], weights=[0.6, 0.4])


def test_pairs_for_the_expectation_come_from_all_folders(write):
    prior, _ = sample_pairs(latent_caches([write("a"), write("b", first=100)]), count=10, weights=[1, 1])
    assert len(prior) == 10
    assert int((prior[:, 0, 0, 0] >= 100).sum()) == 5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1.0]}, "1 for 2 folders"),
        ({"weights": 0.5}, "1 for 2 folders"),
        ({"weights": [1.0, 0.0]}, "above 0"),
        ({"weights": [1.0, float("nan")]}, "above 0"),
        ({"changed_share": 1.0}, "changed_share"),
        ({"changed_share": 0.0}, "changed_share"),
        ({"identity_share": -0.1}, "identity_share"),
        ({"encoders": object()}, "--no-cache"),
    ],
)
def test_impossible_settings_are_refused(write, settings, message):
    with pytest.raises(ConfigError, match=message):
        open_mixture([write("a"), write("b")], **settings)


def test_an_older_cache_says_what_it_lacks(write, tmp_path):
    folder = write("a", unchanged_texts=[])
    with pytest.raises(TableError, match=r"sentences.*an older cache.*encode` again"):
        open_mixture(folder, identity_share=0.1)
    rows = tmp_path / "a" / "latents" / "rows.jsonl"
    rows.write_text(rows.read_text().replace('"changed": true', '"changed": null'))
    with pytest.raises(TableError, match=r"which triples change a finding.*encode` again"):
        open_mixture(folder, changed_share=0.5)


def test_folders_are_named_once_or_as_a_list():
    assert (first_folder("work"), latent_caches("work")) == ("work", "work/latents")
    assert (first_folder(["a", "b"]), latent_caches(("a", "b"))) == ("a", ["a/latents", "b/latents"])
    for wrong in ([], ["a", "./a"]):
        with pytest.raises(ConfigError, match="list of different folders"):
            as_folders(wrong)
