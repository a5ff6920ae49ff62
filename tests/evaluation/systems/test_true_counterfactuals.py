import numpy as np
import pandas
import pytest
import torch
from monai.metrics import DiceMetric
from skimage.metrics import peak_signal_noise_ratio

from biomedjourney_monai.errors import ImageError, TableError
from biomedjourney_monai.evaluation.comparison import compare_systems
from biomedjourney_monai.evaluation.journeys import EvaluationSettings
from biomedjourney_monai.evaluation.judges.loading import load_judges
from biomedjourney_monai.evaluation.metrics.truth_error import changed_region
from biomedjourney_monai.evaluation.systems.true_counterfactuals import TrueCounterfactuals
from biomedjourney_monai.phantom.findings import FindingState
from biomedjourney_monai.phantom.patients import draw_patient
from biomedjourney_monai.phantom.truth import anatomy_of, render_counterfactual
from biomedjourney_monai.radiographs import load_radiograph, save_png

SIZE = 96


@pytest.fixture(scope="module")
def renderings():
    """One patient without and with a large left effusion."""
    patient = draw_patient(5, 0, stream="truth test")
    visit, anatomy = patient.visits[0], anatomy_of(patient)
    states = (FindingState(), FindingState(effusion_left=3))
    return [
        render_counterfactual(
            patient, visit, state, size=2 * SIZE, with_masks=True, view_position="PA", anatomy=anatomy
        )
        for state in states
    ]


@pytest.fixture
def rendered_work(baseline_work, renderings):
    """A working folder whose first test journey is that patient's, with truth/ in it."""
    before, after = renderings
    truth = baseline_work / "truth"
    save_png(truth / "p0-n0.png", after.image)
    np.savez_compressed(truth / "p0-n0.npz", masks=after.masks)
    save_png(baseline_work / "raw.png", before.image)
    pairs = pandas.read_parquet(baseline_work / "pairs.parquet")
    pairs["prior_dicom_id"], pairs["new_study_id"] = [f"p{n}" for n in range(24)], [f"n{n}" for n in range(24)]
    pairs.to_parquet(baseline_work / "pairs.parquet")
    save_png(baseline_work / pairs["prior_image"][0], load_radiograph(baseline_work / "raw.png", size=SIZE))
    (truth / "truth.csv").write_text("prior_dicom_id,new_study_id,file\np0,n0,p0-n0.png\n")
    return baseline_work


def _evaluate(work, models, **material):
    truth = TrueCounterfactuals(work / "truth", size=SIZE)
    settings = EvaluationSettings(bootstrap=5, limit=2)
    return compare_systems(work, load_judges(models), settings=settings, truth=truth, **material)


def test_the_changed_region_of_a_left_effusion_is_on_image_right(renderings):
    before, after = (torch.from_numpy(rendering.image)[None, None] for rendering in renderings)
    changed = changed_region(before, after)[0, 0]
    middle = changed.shape[1] // 2
    assert changed[:, middle:].float().mean() > 0.05
    assert changed[:, : middle // 2].sum() == 0


def test_errors_are_those_of_scikit_image_and_monai_and_the_truth_has_none(rendered_work, models, renderings):
    content, scores = _evaluate(rendered_work, models)
    by_name = {system["name"]: system["further"] for system in content["systems"]}
    prior, truth = (load_radiograph(rendered_work / name, size=SIZE) for name in ("raw.png", "truth/p0-n0.png"))
    prior = np.rint(prior * 255) / 255
    found = by_name["copy-prior"]["truth_psnr"]
    assert found["overall"]["value"] == pytest.approx(peak_signal_noise_ratio(truth, prior, data_range=1), rel=1e-4)
    assert found["overall"]["count"] == 1  # the other journey has no truth
    assert found["inside"]["value"] < found["overall"]["value"] < found["outside"]["value"]
    ideal = by_name["true counterfactual"]
    assert ideal["truth_ssim"]["overall"]["value"] == pytest.approx(1)
    assert ideal["truth_psnr"]["overall"]["value"] == pytest.approx(58.923, abs=1e-3)
    assert ideal["truth_agreement"]["overall"]["value"] == 1
    masks = load_judges(models).score(torch.from_numpy(truth)[None, None]).structures
    exact = torch.from_numpy(renderings[1].masks[:, ::2, ::2] > 0)[None]  # the nearest pixels, not the mean of four
    theirs = DiceMetric(reduction="none")(masks.float(), exact.float())[0]
    mine = [
        scores.set_index("system").loc["true counterfactual", f"truth_dice {s}"].iloc[0] for s in ("heart", "spine")
    ]
    assert mine == pytest.approx([theirs[2].item(), theirs[5].item()], abs=0.05, nan_ok=True)


def test_a_journey_without_a_truth_is_a_counted_failure_of_the_true_system(rendered_work, models):
    content, _ = _evaluate(rendered_work, models)
    truth = next(system for system in content["systems"] if system["name"] == "true counterfactual")
    assert truth["failures"] == {"a journey must have a true counterfactual; found none in truth.csv.": 1}


def test_without_the_folder_the_numbers_are_null_with_the_reason(baseline_work, models):
    content, _ = compare_systems(baseline_work, load_judges(models), settings=EvaluationSettings(bootstrap=5))
    number = content["systems"][0]["further"]["truth_psnr"]["overall"]
    assert np.isnan(number["value"])
    assert "--truth" in number["note"]
    group = next(iter(content["systems"][0]["subgroups"]["race"].values()))
    assert "--truth" in group["further"]["truth_ssim"]["note"]


@pytest.mark.parametrize("content", [None, "prior,new\n1,2\n", b"\xff\xfe\x00"])
def test_an_unusable_table_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "truth.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(TableError, match="phantom --truth"):
        _ = TrueCounterfactuals(tmp_path).files


def test_a_file_outside_the_folder_is_not_followed(tmp_path):
    (tmp_path / "truth.csv").write_text("prior_dicom_id,new_study_id,file\np,n,../../secret.png\n")
    path = TrueCounterfactuals(tmp_path).path({"prior_dicom_id": "p", "new_study_id": "n"})
    assert path == tmp_path / "secret.png"


def test_unusable_masks_are_an_error_of_that_image(tmp_path):
    (tmp_path / "truth.csv").write_text("prior_dicom_id,new_study_id,file\np,n,x.png\n")
    journey = {"prior_dicom_id": "p", "new_study_id": "n"}
    for content in (b"", b"junk", b"PK\x03\x04junk"):
        (tmp_path / "x.npz").write_bytes(content)
        with pytest.raises(ImageError, match="masks"):
            TrueCounterfactuals(tmp_path).masks(journey)
    np.savez(tmp_path / "x.npz", masks=np.zeros((2, 4, 4), np.uint8))
    with pytest.raises(ImageError, match="shape"):
        TrueCounterfactuals(tmp_path).masks(journey)
