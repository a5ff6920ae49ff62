from biomedjourney_monai.preparation.quality.attrition import count_losses, count_steps

COHORT = {
    "images": 100,
    "studies": 60,
    "pa_images": 50,
    "kept": 40,
    "kept_by_split": {"train": 30, "validate": 4, "test": 6},
    "images_dropped": {"view unknown": 2, "view not PA": 48, "another image of the study chosen": 2},
    "studies_dropped": {},
    "images_flagged": {"burned-in annotation": 1},
}
JOURNEYS = {"kept": 20, "dropped": {"interval too long": 3}}
PAIRS = {"journeys": 20, "kept": 12, "kept_by_split": {"train": 10, "test": 2}, "dropped": {"score below threshold": 8}}


def test_steps_stand_beside_the_papers_numbers():
    steps = {step.name: (step.here, step.paper) for step in count_steps(COHORT, JOURNEYS, PAIRS)}
    assert steps["images in the source"] == (100, 377_110)
    assert steps["images that are PA"] == (50, 157_148)
    assert steps["of these in train and validate, for pretraining"] == (34, 69_846)
    assert steps["journeys: two consecutive studies"] == (20, None)
    assert steps["pairs kept"] == (12, 9_354 + 1_056 + 1_214)
    assert steps["pairs kept: validate"] == (0, 1_056)  # none is a number too


def test_steps_that_were_not_run_have_no_number():
    steps = {step.name: step.here for step in count_steps(None, None, PAIRS)}
    assert steps["images in the source"] is None and steps["journeys: two consecutive studies"] == 20
    assert not any("pairs" in step.name for step in count_steps(COHORT, None, None))


def test_reasons_come_by_frequency_and_steps_that_lost_nothing_stay():
    losses = {loss.name: loss for loss in count_losses(COHORT, JOURNEYS, PAIRS)}
    images = losses["images left out by cohort"]
    assert next(iter(images.reasons.items())) == ("view not PA", 48) and images.total == 52
    assert losses["studies left out by cohort"].total == 0
    assert losses["journeys left out by register"].reasons == {"score below threshold": 8}
    assert [loss.name for loss in count_losses(None, None, PAIRS)] == ["journeys left out by register"]
