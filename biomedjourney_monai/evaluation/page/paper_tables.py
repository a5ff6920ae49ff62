"""The paper's Tables 1 to 5 next to the numbers of an evaluation and of an ablation.

The paper measured MIMIC-CXR's p19 subset with other judges, so its figures are for orientation only. Its printed CMIG
does not follow from its printed definition; shown is what the definition gives for the printed inputs.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from biomedjourney_monai.evaluation.metrics.cmig import compute_cmig
from biomedjourney_monai.evaluation.metrics.registry import MEASURES
from biomedjourney_monai.schema import FINDINGS, STRUCTURES

TABLE_1 = {
    "Stable Diffusion": (49.90, 77.13, 2.73),
    "InstructPix2Pix": (58.10, 78.25, 17.82),
    "RoentGen": (79.61, 84.71, 28.91),
    "BiomedJourney": (80.54, 97.22, 79.38),
}
"""Model -> pathology AUROC, race AUROC, age r, in percent."""

TABLE_2 = {
    ("impression", False, 1): (79.83, 94.23, 75.39),
    ("progression", False, 1): (80.71, 94.76, 76.78),
    ("impression", False, 2): (82.80, 87.81, 47.13),
    ("progression", False, 2): (81.35, 88.58, 55.12),
    ("impression", True, 1): (78.06, 98.67, 82.73),
    ("progression", True, 1): (78.22, 98.70, 82.96),
    ("impression", True, 2): (80.46, 96.37, 79.16),
    ("progression", True, 2): (80.54, 97.22, 79.38),
}
"""(text, registration, stages) -> the same three."""

TABLE_3 = {
    "Stable Diffusion": (49.65, 50.79, 54.48, 45.31, 49.28, 49.90),
    "InstructPix2Pix": (57.38, 53.70, 62.59, 58.85, 57.97, 58.10),
    "RoentGen": (70.05, 77.85, 78.66, 86.20, 85.26, 79.61),
    "BiomedJourney": (72.08, 73.76, 88.64, 88.11, 80.12, 80.54),
}
"""Model -> AUROC of the five findings and their mean, in percent."""

TABLE_3_KL = {"Stable Diffusion": 92.65, "InstructPix2Pix": 60.15, "RoentGen": 40.74, "BiomedJourney": 10.9}
"""As printed; the paper does not say in which unit, nor how it normalises the scores."""

TABLE_4 = {
    "Stable Diffusion": 1.37,
    "InstructPix2Pix": 38.33,
    "RoentGen": 67.38,
    "reference image": 74.04,
    "BiomedJourney": 81.05,
}
"""Model -> Dice in percent."""

TABLE_5 = {
    ("impression", "PubMedBERT"): (74.93, 98.75, 83.48),
    ("progression", "PubMedBERT"): (74.54, 98.90, 83.90),
    ("impression", "CLIP"): (76.37, 98.82, 83.28),
    ("progression", "CLIP"): (76.67, 98.75, 83.05),
    ("impression", "BiomedCLIP"): (78.06, 98.67, 82.73),
    ("progression", "BiomedCLIP"): (78.22, 98.70, 82.96),
}
"""(text, encoder) -> as in Table 2; one stage, with registration."""

TABLE_5_PRINTED = (81.17, 81.08, 81.88, 82.02, 82.70, 82.83)
"""The printed column "Avg" of Table 5, in its order; the last two are Table 2's printed CMIG."""

SHARED = {measure.key: measure.paper for measure in MEASURES if measure.paper}
"""Measures of Tables 1, 2 and 5 -> their headings."""


@dataclass(frozen=True)
class Line:
    """A row: a name and a number for each column, as in metrics.json; a number of the paper's has no interval."""

    name: str
    numbers: Sequence[Mapping[str, Any] | None]


@dataclass(frozen=True)
class ResultTable:
    """One table of the paper's, with rows measured here and rows of the paper's, and a note for the reader."""

    number: int
    title: str
    columns: Sequence[str]
    here: Sequence[Line]
    paper: Sequence[Line]
    remark: str = ""
    lower_is_better: frozenset[str] = field(default_factory=frozenset)


def result_tables(metrics: Mapping[str, Any], ablation: Mapping[str, Any] | None = None) -> list[ResultTable]:
    """The tables: 1, 3 and 4 of an evaluation, 2 and 5 of an ablation if there is one.

    Args:
        metrics: content of metrics.json.
        ablation: content of ablation.json.
    """
    systems = metrics["systems"]
    tables = [_table_1(systems), *_ablation_tables(ablation), _table_3(systems), _table_4(systems)]
    return sorted(tables, key=lambda table: table.number)


def _table_1(systems: Sequence[Mapping[str, Any]]) -> ResultTable:
    return ResultTable(
        1,
        "Accuracy and retention",
        tuple(SHARED.values()),
        [Line(system["name"], [system["metrics"][key]["overall"] for key in SHARED]) for system in systems],
        [Line(name, _with_cmig(values)) for name, values in TABLE_1.items()],
        "The paper prints CMIGs of .181, .421, .661 and .832, which its definition does not give.",
    )


def _table_3(systems: Sequence[Mapping[str, Any]]) -> ResultTable:
    parts = (*FINDINGS, "overall")
    return ResultTable(
        3,
        "Findings one by one",
        (*FINDINGS, "mean", "KL"),
        [
            Line(
                system["name"],
                [system["metrics"]["pathology_auroc"][part] for part in parts] + [system["metrics"]["kl"]["overall"]],
            )
            for system in systems
        ],
        [Line(name, [*map(_percent, values), _plain(TABLE_3_KL[name])]) for name, values in TABLE_3.items()],
        "The paper does not say in which unit its KL is, nor how it normalises scores: the columns share a name only.",
        frozenset({"KL"}),
    )


def _table_4(systems: Sequence[Mapping[str, Any]]) -> ResultTable:
    parts = ("overall", *STRUCTURES)
    return ResultTable(
        4,
        "Anatomy: Dice with the reference",
        ("mean", *STRUCTURES),
        [Line(system["name"], [system["metrics"]["dice_reference"][part] for part in parts]) for system in systems],
        [Line(name, [_percent(value), *[None] * len(STRUCTURES)]) for name, value in TABLE_4.items()],
        "The paper gives means only.",
    )


def _ablation_tables(ablation: Mapping[str, Any] | None) -> list[ResultTable]:
    """Table 2, the cells of the text encoder with the whole grid; and 5, cells that another text encoder has too."""
    cells = [cell for cell in ablation["cells"] if cell["metrics"]] if ablation else []
    if not ablation or not cells:
        return []
    cells = [cell for cell in cells if cell["factors"].get("variant") == cells[0]["factors"].get("variant")]
    encoders = [cell["factors"]["text_encoder"] for cell in cells]
    main = max(dict.fromkeys(encoders), key=encoders.count)
    grid = [cell for cell in cells if cell["factors"]["text_encoder"] == main]
    budget = ablation["settings"]["training"]["iterations"]
    remark = (
        f"Every cell measured here was trained for {budget} iterations and scored on {ablation['journeys']} journeys."
    )
    tables = [
        ResultTable(
            2,
            "Description, registration, stages",
            tuple(SHARED.values()),
            [Line(_switches(**_three(cell)), _cell_numbers(cell)) for cell in grid],
            [Line(_switches(*key), _with_cmig(values)) for key, values in TABLE_2.items()],
            remark,
        )
    ]
    settings = {_settings(cell) for cell in cells if cell["factors"]["text_encoder"] != main}
    if settings:
        compared = sorted((cell for cell in cells if _settings(cell) in settings), key=_settings)
        tables.append(
            ResultTable(
                5,
                "Text encoders",
                (*SHARED.values(), "average"),
                [
                    Line(f"{cell['factors']['text_encoder']} · {_switches(**_three(cell))}", _with_average(cell))
                    for cell in compared
                ],
                [
                    Line(f"{name} · {_switches(text, True, 1)}", [*_with_cmig(values), _percent(sum(values) / 3)])
                    for (text, name), values in TABLE_5.items()
                ],
                f"{remark} The average is the mean of the three scores, without CMIG. The paper prints averages of"
                f" {', '.join(f'{value / 100:.3f}' for value in TABLE_5_PRINTED)}, which no mean of its numbers gives.",
            )
        )
    return tables


def _three(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {key: cell["factors"][key] for key in ("text", "registration", "stages")}


def _settings(cell: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_three(cell).values())


def _cell_numbers(cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [cell["metrics"][key] for key in SHARED]


def _with_average(cell: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The numbers of `SHARED`, and the mean of those that are not combined of others; unknown if one is."""
    numbers = _cell_numbers(cell)
    values = [number["value"] for key, number in zip(SHARED, numbers) if key != "cmig"]
    mean = None if None in values else sum(values) / len(values)
    return [*numbers, {"value": mean, "low": None, "high": None, "count": None, "note": ""}]


def _switches(text: str, registration: bool, stages: int) -> str:
    return (
        f"{text}, {'registered' if registration else 'not registered'}, {'two stages' if stages == 2 else 'one stage'}"
    )


def _with_cmig(values: Sequence[float]) -> list[dict[str, Any]]:
    pathology, race, age = (value / 100 for value in values)
    return [*map(_percent, values), _plain(float(compute_cmig([pathology], [race, age])))]


def _percent(value: float) -> dict[str, Any]:
    return _plain(value / 100)


def _plain(value: float) -> dict[str, Any]:
    return {"value": value, "low": None, "high": None, "count": None, "note": ""}
