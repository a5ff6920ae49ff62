from biomedjourney_monai.evaluation.tuning.tune import format_points, format_tuning

POINT = {"text_guidance_scale": 3.0, "image_guidance_scale": 1.5, "keep_unchanged": 0.0, "cmig": 0.9554, "age_r": -0.05}
SETTINGS = {
    "journeys": 16,
    "split": "validate",
    "seed": 0,
    "model": "0123456789abcdef",
    "sampler": {"steps": 5, "solver": "ddim", "guidance_interval": [0.0, 0.5], "average": 1},
    "truth": {"journeys": 9, "hash": ""},
}


def test_numbers_are_written_as_in_the_results_and_the_best_is_bold():
    kept = {**POINT, "keep_unchanged": 0.05, "cmig": 1.0, "truth_psnr outside": 27.06, "age_r": None}
    lines = format_points([POINT, kept], frontier=[1], best=1)
    assert lines == [
        "| kept below | text, image | age r | CMIG | outside, dB |  |",
        "|---|---|---:|---:|---:|---|",
        "| nothing kept | 3, 1.5 | -.050 | .955 | – |  |",
        "| **.05** | **3, 1.5** | – | 1.000 | 27.1 | frontier, best CMIG |",
    ]


def test_the_page_says_how_it_was_made_and_how_many_journeys_have_a_truth():
    page = format_tuning({"settings": SETTINGS, "points": [POINT], "frontier": [0], "best": 0})
    assert "16 journeys of split validate, 5 steps of ddim, guided between the noise levels 0 and 0.5" in page
    assert "model 0123456789ab." in page
    assert "of the 9 of these journeys" in page
    assert "true counterfactual" not in format_tuning(
        {"settings": {**SETTINGS, "truth": None}, "points": [POINT], "frontier": [0], "best": 0}
    )
