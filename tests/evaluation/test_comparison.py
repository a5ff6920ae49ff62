import json
from dataclasses import replace

import numpy as np
import pandas
import pytest
import torch
from sklearn.metrics import roc_auc_score

from biomedjourney_monai.errors import TableError
from biomedjourney_monai.evaluation.comparison import compare_systems, subgroups_of
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.systems.sources import FolderOfImages
from biomedjourney_monai.files import write_json
from biomedjourney_monai.radiographs import save_png
from biomedjourney_monai.schema import FINDINGS

SETTINGS = EvaluationSettings(bootstrap=20)


@pytest.fixture(scope="module")
def judges(models):
    return load_judges(models)


def _system(content, name):
    return next(system for system in content["systems"] if system["name"] == name)


def test_scores_the_model_between_its_baselines(work, judges):
    content, scores = compare_systems(work, judges, settings=SETTINGS)
    assert [system["name"] for system in content["systems"]] == ["copy-prior", "counterfactual", "real reference"]
    assert content["counts"] == {"journeys": 12, "dropped": {"low score": 2}, "scored": 10, "patients": 6}
    assert len(scores) == 30
    assert content["model"] == {"model": "abc"}


def test_without_samples_only_the_baselines_are_scored(baseline_work, judges):
    content, _ = compare_systems(baseline_work, judges, settings=SETTINGS)
    assert [system["name"] for system in content["systems"]] == ["copy-prior", "real reference"]
    assert content["differences"] == []
    assert [(pair["one"], pair["other"]) for pair in content["comparisons"]] == [("copy-prior", "real reference")]


def test_numbers_follow_from_the_scores(work, judges):
    content, scores = compare_systems(work, judges, settings=SETTINGS)
    pairs = pandas.read_parquet(work / "pairs.parquet").set_index("journey_id")
    mine = scores[scores["system"] == "counterfactual"].set_index("journey_id")
    metrics = _system(content, "counterfactual")["metrics"]
    expected = roc_auc_score(pairs.loc[mine.index, f"new_{FINDINGS[2]}"], mine[f"pathology {FINDINGS[2]}"])
    assert metrics["pathology_auroc"][FINDINGS[2]]["value"] == pytest.approx(expected)
    r = np.corrcoef(mine["age"], pairs.loc[mine.index, "anchor_age"])[0, 1]
    assert metrics["age_r"]["overall"]["value"] == pytest.approx(r)
    terms = [metrics[name]["overall"]["value"] for name in ("pathology_auroc", "race_auroc", "age_r")]
    retention = np.sqrt(max(terms[1], 0) * max(terms[2], 0))
    assert metrics["cmig"]["overall"]["value"] == pytest.approx(np.sqrt(terms[0] * retention))


class JudgesOfSex:
    """The judges, but they tell the sex, by the picture's mean grey, and no group."""

    def __init__(self, judges):
        self.judges, self.provenance, self.features = judges, judges.provenance, judges.features

    def score(self, images):
        scores = self.judges.score(images)
        sex = images.mean(dim=(1, 2, 3))
        return replace(scores, race=torch.full_like(scores.race, torch.nan), sex=sex)


def test_cmig_goes_by_sex_where_no_group_is_known(work, judges):
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["sex"] = ["M" if n % 3 else "F" for n in range(len(pairs))]
    pairs["race"] = ""
    pairs.to_parquet(work / "pairs.parquet")
    content, scores = compare_systems(work, JudgesOfSex(judges), settings=SETTINGS)
    system = _system(content, "counterfactual")
    assert system["failures"] == {}, "judges without groups do not fail"
    mine = scores[scores["system"] == "counterfactual"].set_index("journey_id")
    male = (pairs.set_index("journey_id").loc[mine.index, "sex"] == "M").astype(float)
    sex = system["further"]["sex_auroc"]["overall"]["value"]
    assert sex == pytest.approx(roc_auc_score(male, mine["sex male"]))
    metrics = {name: parts["overall"] for name, parts in system["metrics"].items()}
    assert np.isnan(metrics["race_auroc"]["value"])
    retention = np.sqrt(sex * max(metrics["age_r"]["value"], 0))
    assert metrics["cmig"]["value"] == pytest.approx(np.sqrt(metrics["pathology_auroc"]["value"] * retention))
    assert "by sex" in metrics["cmig"]["note"]


def test_judges_that_do_not_tell_the_sex_leave_it_unknown(work, judges):
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    sex = _system(content, "counterfactual")["further"]["sex_auroc"]["overall"]
    assert np.isnan(sex["value"])
    assert "do not tell the sex" in sex["note"]


def test_copying_the_prior_keeps_its_anatomy_and_the_reference_its_findings(work, judges):
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    assert _system(content, "copy-prior")["metrics"]["dice_prior"]["overall"]["value"] == pytest.approx(1)
    reference = _system(content, "real reference")["metrics"]
    assert reference["kl"]["overall"]["value"] == pytest.approx(0)
    assert reference["dice_reference"]["overall"]["value"] == pytest.approx(1)


def test_same_seed_same_numbers(work, judges):
    one, two = (json.dumps(compare_systems(work, judges, settings=SETTINGS)[0], sort_keys=True) for _ in range(2))
    assert one == two


def test_an_unfinite_sample_is_counted_and_left_out(work, judges):
    path = work / "samples" / "counterfactuals.npy"
    pixels = np.load(path)
    pixels[0, 3, 3] = np.nan
    np.save(path, pixels)
    content, scores = compare_systems(work, judges, settings=SETTINGS)
    system = _system(content, "counterfactual")
    assert sum(system["failures"].values()) == 1
    assert system["metrics"]["kl"]["overall"]["count"] == 9
    assert scores[scores["system"] == "counterfactual"]["age"].isna().sum() == 1


def test_a_missing_reference_leaves_only_its_comparisons_unknown(work, judges):
    (work / "images" / "j000000_new.png").unlink()
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    metrics = _system(content, "counterfactual")["metrics"]
    assert metrics["kl"]["overall"]["count"] == 9
    assert metrics["age_r"]["overall"]["count"] == 10
    assert sum(_system(content, "real reference")["failures"].values()) == 1


def test_a_label_with_one_class_is_unknown_and_named(work, judges):
    pairs = pandas.read_parquet(work / "pairs.parquet")
    pairs["new_Edema"] = 0.0
    pairs.to_parquet(work / "pairs.parquet")
    metrics = _system(compare_systems(work, judges, settings=SETTINGS)[0], "counterfactual")["metrics"][
        "pathology_auroc"
    ]
    assert np.isnan(metrics["Edema"]["value"])
    assert metrics["Edema"]["note"] == "only one class"
    assert metrics["overall"]["note"] == "without Edema"
    assert np.isfinite(metrics["overall"]["value"])


def test_unknown_numbers_become_null_in_the_file(work, judges, tmp_path):
    pairs = pandas.read_parquet(work / "pairs.parquet").assign(anchor_age=np.nan)
    pairs.to_parquet(work / "pairs.parquet")
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    write_json(tmp_path / "metrics.json", content)
    metrics = _system(json.loads((tmp_path / "metrics.json").read_text()), "counterfactual")["metrics"]
    assert metrics["cmig"]["overall"]["value"] is None
    assert metrics["cmig"]["overall"]["note"]


def test_another_systems_folder_is_scored_like_the_rest(work, judges):
    content, _ = compare_systems(
        work, judges, settings=SETTINGS, others=[FolderOfImages("rival", work / "samples", size=32)]
    )
    rival = _system(content, "rival")
    assert sum(rival["failures"].values()) == 10  # the fixture writes no PNG files there
    assert rival["metrics"]["cmig"]["overall"]["note"]


def test_journeys_without_a_sample_are_counted(work, judges):
    lines = (work / "samples" / "samples.jsonl").read_text().splitlines()
    (work / "samples" / "samples.jsonl").write_text("\n".join(lines[:-3]))
    counts = compare_systems(work, judges, settings=SETTINGS)[0]["counts"]
    assert counts["scored"] == 7
    assert counts["dropped"] == {"low score": 2, "no counterfactual was sampled": 3}


def test_an_empty_split_is_refused_with_the_counts(work, judges):
    with pytest.raises(TableError, match="split 'validate'"):
        compare_systems(work, judges, settings=EvaluationSettings(split="validate"))


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY junk"])
def test_a_damaged_array_is_refused(work, judges, content):
    (work / "samples" / "counterfactuals.npy").write_bytes(content)
    with pytest.raises(TableError, match="must be an array of images"):
        compare_systems(work, judges, settings=SETTINGS)


def test_an_array_of_another_shape_is_refused(work, judges):
    np.save(work / "samples" / "counterfactuals.npy", np.zeros((2, 3, 4, 4), np.float32))
    with pytest.raises(TableError, match=r"floats of shape \(N, H, W\)"):
        compare_systems(work, judges, settings=SETTINGS)


def test_paired_difference_is_the_difference_of_the_numbers(work, judges):
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    difference = content["differences"][0]["metrics"]["kl"]
    mine, theirs = (
        _system(content, name)["metrics"]["kl"]["overall"]["value"] for name in ("counterfactual", "copy-prior")
    )
    assert difference["value"] == pytest.approx(mine - theirs)
    assert 0 < difference["p"] <= 1


def test_every_two_systems_are_compared_on_every_metric(work, judges):
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    assert len(content["comparisons"]) == 3
    for pair in content["comparisons"]:
        cmig = pair["metrics"]["cmig"]
        one, two = (_system(content, pair[side])["metrics"]["cmig"]["overall"]["value"] for side in ("one", "other"))
        assert cmig["value"] == pytest.approx(one - two, nan_ok=True)
        assert set(pair["metrics"]) == set(_system(content, "copy-prior")["metrics"])


class FailsOn:
    """Judges that raise when they see a certain image, alone or in a batch, or answer NaN."""

    def __init__(self, judges, image, *, nan=False):
        self.judges, self.image, self.nan = judges, torch.as_tensor(image), nan

    def score(self, images):
        hit = [bool(torch.allclose(one[0], self.image)) for one in images]
        if any(hit) and not self.nan:
            raise RuntimeError("CUDA error of patient p12345678")
        scores = self.judges.score(images)
        return replace(scores, age=torch.where(torch.tensor(hit), torch.nan, scores.age))

    def provenance(self):
        return self.judges.provenance()


@pytest.mark.parametrize("nan, reason", [(False, "the judges failed (RuntimeError)"), (True, "not finite")])
def test_a_judge_that_fails_on_one_image_loses_that_image_only(work, judges, nan, reason):
    whole, _ = compare_systems(work, judges, settings=SETTINGS)
    image = np.load(work / "samples" / "counterfactuals.npy")[2].astype(np.float32)
    content, _ = compare_systems(work, FailsOn(judges, image, nan=nan), settings=SETTINGS)
    system = _system(content, "counterfactual")
    assert sum(system["failures"].values()) == 1
    assert reason in next(iter(system["failures"]))
    assert "p12345678" not in json.dumps(content)
    assert system["metrics"]["age_r"]["overall"]["count"] == 9
    kept = _system(content, "copy-prior")["metrics"], _system(whole, "copy-prior")["metrics"]
    assert kept[0]["cmig"]["overall"]["value"] == pytest.approx(kept[1]["cmig"]["overall"]["value"], nan_ok=True)


def test_samples_of_no_journey_are_counted(work, judges):
    lines = (work / "samples" / "samples.jsonl").read_text()
    (work / "samples" / "samples.jsonl").write_text(lines + '\n{"journey_id": "stranger", "index": 0}')
    system = _system(compare_systems(work, judges, settings=SETTINGS)[0], "counterfactual")
    assert system["unmatched"] == 1


def test_images_of_mixed_sizes_are_scored_and_counted(work, judges):
    save_png(work / "images" / "j000001_prior.png", np.random.default_rng(5).random((48, 48)))
    content, _ = compare_systems(work, judges, settings=SETTINGS)
    prior = _system(content, "copy-prior")
    assert prior["resized"] == 1
    assert prior["metrics"]["age_r"]["overall"]["count"] == 10


def test_every_journey_is_in_one_group_of_each_attribute():
    journeys = pandas.DataFrame(
        {
            "sex": ["F", "M", "", "f"],
            "anchor_age": [39.9, 40.0, 75.0, np.nan],
            "race": ["WHITE - RUSSIAN", "UNKNOWN", "ASIAN", "BLACK/AFRICAN AMERICAN"],
        }
    )
    groups = subgroups_of(journeys)
    rows = {
        attribute: {name: np.flatnonzero(rows).tolist() for name, rows in g.items()} for attribute, g in groups.items()
    }
    assert rows["sex"] == {"F": [0, 3], "M": [1], "unknown": [2]}
    assert rows["age"] == {"under 40": [0], "40 to 59": [1], "75 and over": [2], "unknown": [3]}
    assert rows["race"] == {"White": [0], "Black": [3], "Asian": [2], "unknown": [1]}


def test_a_subgroups_number_is_that_of_its_journeys_alone(baseline_work, models):
    pairs = pandas.read_parquet(baseline_work / "pairs.parquet")
    pairs["sex"] = ["F" if n % 4 < 2 else "M" for n in range(len(pairs))]
    pairs.to_parquet(baseline_work / "pairs.parquet")
    content, scores = compare_systems(baseline_work, load_judges(models), settings=EvaluationSettings(bootstrap=10))
    women = pairs[pairs["kept"] & (pairs["split"] == "test") & (pairs["sex"] == "F")].set_index("journey_id")
    mine = scores[scores["system"] == "copy-prior"].set_index("journey_id").loc[women.index]
    group = content["systems"][0]["subgroups"]["sex"]["F"]
    known = [f for f in FINDINGS if women[f"new_{f}"].nunique() == 2]
    expected = np.mean([roc_auc_score(women[f"new_{f}"], mine[f"pathology {f}"]) for f in known])
    assert group["metrics"]["pathology_auroc"]["value"] == pytest.approx(expected)
    assert group["journeys"] == len(women)
    assert group["patients"] == women["subject_id"].nunique()
    assert group["metrics"]["race_auroc"]["low"] <= group["metrics"]["race_auroc"]["high"]


def test_what_a_small_subgroup_cannot_tell_is_null_with_a_reason(baseline_work, models):
    content, _ = compare_systems(baseline_work, load_judges(models), settings=EvaluationSettings(bootstrap=5))
    white = content["systems"][0]["subgroups"]["race"]["White"]["metrics"]
    assert np.isnan(white["race_auroc"]["value"])
    assert white["race_auroc"]["note"]
    assert white["cmig"]["note"]
