"""Names that cross a stage: findings, labels, structures, table columns, file names.

A stage meets the next one in a file inside one working folder:

    studies.parquet  journeys.parquet  pairs.parquet + images/  triples.jsonl + singles.jsonl
    latents/  runs/  samples/  metrics.json  report/
"""

FINDINGS = ("Atelectasis", "Cardiomegaly", "Edema", "Pleural Effusion", "Pneumothorax")
"""The five findings that the paper scores, in its order."""

SIZES = ("small", "moderate", "large")
DEGREES = ("mild", "moderate", "severe")
SEVERITY_WORDS = {
    "Atelectasis": DEGREES,
    "Cardiomegaly": DEGREES,
    "Edema": DEGREES,
    "Pleural Effusion": SIZES,
    "Pneumothorax": SIZES,
}
"""Finding -> the words of its severities 1, 2 and 3 in a description."""

CHEXPERT_LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""The 14 CheXpert labels, in the order of MIMIC-CXR-JPG's table: 1 present, 0 absent, -1 uncertain, NaN unmentioned."""

STRUCTURES = ("left lung", "right lung", "heart", "facies diaphragmatica", "mediastinum", "spine")
"""The six structures of the anatomy Dice. Left and right are the patient's; the patient's left is image right."""

DUMMY_GREY = 128 / 255
"""The constant image that stands for the prior in stage 1."""

SPLITS = ("train", "validate", "test")

STUDIES_FILE = "studies.parquet"
JOURNEYS_FILE = "journeys.parquet"
PAIRS_FILE = "pairs.parquet"
IMAGES_FOLDER = "images"
TRIPLES_FILE = "triples.jsonl"
SINGLES_FILE = "singles.jsonl"
LATENTS_FOLDER = "latents"
SAMPLES_FOLDER = "samples"
BASELINES_FOLDER = "baselines"
METRICS_FILE = "metrics.json"
REPORT_FOLDER = "report"

STUDY_COLUMNS = (
    "subject_id",  # str
    "study_id",  # str
    "dicom_id",  # str, the image chosen for the study
    "study_datetime",  # datetime64[ns]; only differences mean anything
    "view_position",  # "PA", or as asked for "AP"; "FRONTAL" where only the image tells
    "image_path",  # str, absolute
    "report_path",  # str, absolute; "" where there is no report
    "sex",  # "F", "M" or ""
    "anchor_age",  # float, years; NaN if unknown
    "age_at_study",  # float, years; NaN if unknown
    "race",  # str, upper case; "" if unknown
    "split",  # one of SPLITS
    *CHEXPERT_LABELS,  # float32
)
"""One row per eligible study, in order of subject and time."""

DATED = "date"
ORDER_FROM = "order_from"
"""Further column of studies.parquet and journeys.parquet where a source lacks dates: what the order of the studies
rests on, such as "follow-up number", or `DATED`. Without dates `study_datetime` only carries the order, and the days
between two studies are NaN."""

JOURNEY_COLUMNS = (
    "journey_id",  # str, "j000000": a running number, no identifier in it
    "subject_id",
    "split",
    "days_between",  # float, > 0 (or >= 0 for studies on the same day at different times); NaN without dates
    "sex",
    "anchor_age",
    "race",
    "prior_study_id",
    "new_study_id",
    "prior_dicom_id",
    "new_dicom_id",
    "prior_image_path",
    "new_image_path",
    "prior_report_path",
    "new_report_path",
    "prior_age",
    "new_age",
    *(f"prior_{label}" for label in CHEXPERT_LABELS),
    *(f"new_{label}" for label in CHEXPERT_LABELS),
)
"""One row per two consecutive studies of one patient."""

PAIR_COLUMNS = (
    *JOURNEY_COLUMNS,
    "prior_image",  # str, PNG relative to the working folder
    "new_image",  # str, PNG of the new image on the prior's grid, relative to the working folder
    "valid_mask",  # str, PNG: 255 where the registered new image has content
    "transform_file",  # str, SimpleITK's transform from the prior's points to the new image's, in px
    "gradient_correlation",  # float, the registration score
    "scale",
    "rotation_degrees",
    "shift_x_px",
    "shift_y_px",
    "overlap",  # float, the share of the frame that the moved image covers
    "mirrored_correlation",  # float, the score of the new image mirrored; NaN if not looked for
    "kept",  # bool
    "drop_reason",  # str; "" where kept
)
"""One row per journey with its registration; rows with kept = False stay, with their reason."""
