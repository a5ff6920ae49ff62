"""A metric as every table knows it: how it is computed from a system's scores, and how it is named and explained."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from biomedjourney_monai.evaluation.metrics.labels import Truth
from biomedjourney_monai.evaluation.metrics.statistic import OVERALL, Statistics, mean_of, mean_of_parts, unknown

if TYPE_CHECKING:
    import pandas

PAPER, FURTHER, PROBES = "metrics", "further", "probes"
"""Sections of metrics.json: the paper's metrics, others of the same images, and those that need further sampling."""

ASKED = "Does it follow the description?"
KEPT = "Does it keep the rest unchanged?"
TRUE = "Against the true counterfactual"
REAL = "Does it look real?"
COPIED = "Does it copy training images?"
OTHER = "Further"
TOPICS = (ASKED, KEPT, TRUE, REAL, COPIED, OTHER)
"""Headings of the report page over the charts of metrics that are not in its main tables."""


@dataclass(frozen=True)
class Scored:
    """One system's scores on N journeys, which measures are computed from.

    Attributes:
        scores: columns of `score_systems`, rows in the order of `truth`.
        truth: of the same journeys; None where no measure needs it.
        weights: of `draw_patient_weights`, shape (1 + R, N).
        features: suffix of a set measure's key -> features of the images and of the real references, (N, D) each;
            a network that is missing has no entry.
    """

    scores: pandas.DataFrame
    truth: Truth | None
    weights: np.ndarray
    features: Mapping[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    _computed: dict[str, Statistics] = field(default_factory=dict, repr=False)

    def statistics(self, measure: Measure) -> Statistics:
        """The measure's statistics by part; each measure is computed once."""
        if measure.key not in self._computed:
            self._computed[measure.key] = measure.compute(self) if measure.compute else self._column_means(measure)
        return self._computed[measure.key]

    def _column_means(self, measure: Measure) -> Statistics:
        """The means of the measure's columns, named by its key and, after a space, the part: "truth_psnr inside"."""
        names = {part: f"{measure.key} {part}" for part in (OVERALL, *measure.parts)}
        present = {part: self.scores[name].to_numpy() for part, name in names.items() if name in self.scores}
        means = {part: mean_of(values, self.weights, measure.nothing) for part, values in present.items()}
        if not means:
            return {OVERALL: unknown(len(self.weights), measure.without or measure.nothing)}
        return means if OVERALL in means else {OVERALL: mean_of_parts(means, measure.nothing), **means}

    def columns(self, names: Sequence[str]) -> np.ndarray:
        """Columns of the scores, shape (N, len(names))."""
        return self.scores[list(names)].to_numpy()

    def labels(self) -> Truth:
        """The truth, which the paper's measures need."""
        assert self.truth is not None
        return self.truth


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A metric.

    Attributes:
        key: its name in metrics.json.
        title: its name on the report page.
        meaning: for the page's readers.
        compute: its statistics by part, from a system's scores; None averages the columns of its key over journeys:
            the overall one and those of `parts`, or the mean of the parts where no column holds the overall number.
        parts: of the columns.
        without: why it is unknown where the columns are missing; "" for `nothing`.
        nothing: why it is unknown where the columns are empty.
        section: of metrics.json that holds it.
        topic: heading of the page that its chart stands under; "" for the page's main tables.
        lower_is_better: the direction.
        has_best: False where neither end of its scale is better.
        chance: its value for pure chance, if it has one.
        unit: "dB", or "" for a plain number.
        of_sets: whether it is a number of a whole set of images, which subgroups do not have.
        headline: whether it compares the cells of an ablation, the points of a tuning and the epochs of a training,
            and has a card on the page.
        combined: whether it combines other measures; tables put it after them.
        in_differences: whether the model is compared with the baselines by it.
        terminal: heading in the table that `evaluate` prints; "" leaves it out of this and of the next two tables.
        ablation: heading in the ablation's tables.
        paper: heading in the paper's tables 1, 2 and 5.
        tuning: part -> heading in the tuning's table.
    """

    key: str
    title: str
    meaning: str = ""
    compute: Callable[[Scored], Statistics] | None = None
    parts: Sequence[str] = ()
    without: str = ""
    nothing: str = "no journey could be measured"
    section: str = FURTHER
    topic: str = ""
    lower_is_better: bool = False
    has_best: bool = True
    chance: float | None = None
    unit: str = ""
    of_sets: bool = False
    headline: bool = False
    combined: bool = False
    in_differences: bool = False
    terminal: str = ""
    ablation: str = ""
    paper: str = ""
    tuning: Mapping[str, str] = field(default_factory=dict)
