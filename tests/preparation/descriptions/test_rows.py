import numpy as np
import pandas as pd
import pytest

from biomedjourney_monai.preparation.cohort.mimic import read_mimic
from biomedjourney_monai.preparation.cohort.selection import select_studies
from biomedjourney_monai.preparation.descriptions.rows import build_singles, build_triples
from biomedjourney_monai.preparation.journeys import build_journeys
from biomedjourney_monai.schema import CHEXPERT_LABELS


@pytest.fixture
def studies(small_mimic) -> pd.DataFrame:
    return select_studies(read_mimic(small_mimic)).studies


@pytest.fixture
def pairs(studies) -> pd.DataFrame:
    """Journeys as if they were registered."""
    journeys, _drops = build_journeys(studies)
    return journeys.assign(prior_image="images/a.png", new_image="images/b.png", valid_mask="images/c.png", kept=True)


def test_triples_say_what_changed(pairs):
    built = build_triples(pairs)
    triples = built.rows
    assert built.drops == built.rejections == {} and len(triples) == len(pairs)
    first, second, third, _fourth = triples
    assert "left pleural effusion" in first["progression_description"] and "large" in first["progression_description"]
    assert first["prior_impression"] == "Small left pleural effusion." and first["source"] == "reports"
    assert "left pleural effusion" in second["progression_description"].lower()
    assert third["source"] == "labels" and "edema" in third["progression_description"].lower()
    assert first["days_between"] == 10.0 and first["new_image"] == "images/b.png"


def test_pairs_that_were_dropped_are_counted(pairs):
    pairs.loc[0, "kept"] = False
    built = build_triples(pairs)
    assert len(built.rows) == len(pairs) - 1 and built.drops == {"pair not kept by register": 1}


def test_wording_depends_on_the_seed_and_the_pair_alone(pairs):
    assert build_triples(pairs.iloc[1:]).rows == build_triples(pairs).rows[1:]
    texts = {build_triples(pairs, seed=seed).rows[0]["progression_description"] for seed in range(12)}
    assert len(texts) > 3


def test_the_impression_alone_for_the_ablation(pairs):
    triples = build_triples(pairs, text="impression").rows
    assert triples[0]["progression_description"] == "Large left pleural effusion, increased."
    assert {triple["written_by"] for triple in triples} == {"report"}


def test_the_impression_of_studies_that_only_have_labels_names_their_findings(pairs):
    labels_only = pairs.assign(prior_report_path="", new_report_path="")
    found = {"prior_Edema": 1.0, "new_Edema": 1.0, "new_Cardiomegaly": 1.0}
    triples = build_triples(labels_only.assign(**found), text="impression").rows
    assert triples and {triple["written_by"] for triple in triples} == {"rules"}
    for triple in triples:
        words = triple["progression_description"].lower()
        assert "edema" in words and "cardiomegaly" in words
        assert not any(word in words for word in ("new", "unchanged", "persist", "stable", "increase"))


def test_neither_report_nor_labels(pairs):
    nothing = {f"{which}_{label}": np.nan for which in ("prior", "new") for label in CHEXPERT_LABELS}
    pairs = pairs.assign(**nothing, new_report_path="")
    built = build_triples(pairs)
    assert built.rows == [] and built.drops == {"neither reports nor labels": len(pairs)}


def test_singles_are_studies_with_an_image(studies, tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for dicom_id in studies["dicom_id"][:4]:
        (folder / f"{dicom_id}.png").write_bytes(b"")
    singles, drops = build_singles(studies, tmp_path)
    assert drops == {"no image": 3}
    assert [single["source"] for single in singles] == ["reports"] * 3 + ["labels"]
    assert singles[3]["impression"] == "Pulmonary edema."
    assert singles[0] == {
        "subject_id": "10000001",
        "study_id": "50000009",
        "dicom_id": studies["dicom_id"][0],
        "split": studies["split"][0],
        "image": f"images/{studies['dicom_id'][0]}.png",
        "impression": "Small left pleural effusion.",
        "source": "reports",
    }


def labelled_pair(pairs, prior: tuple[str, ...], new: tuple[str, ...]) -> pd.DataFrame:
    """A pair without reports whose labels name these findings alone; eleven labels are known, as in ChestX-ray14."""
    values = {"prior_report_path": "", "new_report_path": ""}
    for which, present in (("prior", prior), ("new", new)):
        for label in CHEXPERT_LABELS:
            unknown = label in ("Enlarged Cardiomediastinum", "Fracture", "Support Devices")
            values[f"{which}_{label}"] = np.nan if unknown else float(label in present)
    return pairs.head(1).assign(**values)


def describe_labels(pairs, prior: tuple[str, ...], new: tuple[str, ...], **views) -> set[str]:
    pair = labelled_pair(pairs, prior, new)
    return {build_triples(pair, seed=seed, **views).rows[0]["progression_description"] for seed in range(40)}


@pytest.mark.parametrize(
    ("prior", "new", "expected"),
    [
        ((), ("Pleural Effusion",), "New pleural effusion."),
        (("Atelectasis",), (), "The atelectasis has resolved."),
        (("Cardiomegaly",), ("Cardiomegaly",), "Cardiomegaly is unchanged."),
        ((), ("Lung Lesion",), "New lung lesion."),
        (("Pleural Other",), ("Pleural Other",), "Stable pleural thickening."),
        ((), (), "No interval change."),
    ],
)
def test_labels_alone_state_the_change_without_side_or_severity(pairs, prior, new, expected):
    texts = describe_labels(pairs, prior, new)
    assert any(text.startswith(expected) for text in texts)
    guessed = "left right bilateral small moderate large mild severe".split()
    assert not any(word in text.lower() for text in texts for word in guessed)


def test_only_labels_that_say_no_finding_call_a_chest_clear(pairs):
    clear = ("clear", "No acute")
    assert not any(word in text for text in describe_labels(pairs, ("Edema",), ()) for word in clear)
    assert any(word in text for text in describe_labels(pairs, ("No Finding",), ("No Finding",)) for word in clear)
    assert any(word in text for text in describe_labels(pairs, ("Edema",), ("No Finding",)) for word in clear)


@pytest.mark.parametrize(
    ("prior", "new", "end"),
    [("PA", "PA", ""), ("PA", "AP", " AP view."), ("AP", "AP", " AP view."), ("AP", "PA", " PA view.")],
)
def test_the_view_is_stated_where_one_of_the_films_is_ap(pairs, prior, new, end):
    first = pairs.head(1)
    plain = build_triples(first).rows[0]["progression_description"]
    views = {first["prior_study_id"].iloc[0]: prior, first["new_study_id"].iloc[0]: new}
    assert build_triples(first, views=views).rows[0]["progression_description"] == plain + end


def test_a_single_ap_film_says_so(studies, tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / f"{studies['dicom_id'][0]}.png").write_bytes(b"")
    singles, _ = build_singles(studies.assign(view_position="AP"), tmp_path)
    assert singles[0]["impression"] == "Small left pleural effusion. AP view."
