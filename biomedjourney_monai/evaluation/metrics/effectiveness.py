"""Effectiveness: do the findings that were asked for appear or resolve, and do the others stay unchanged?"""

import numpy as np

from biomedjourney_monai.evaluation.judges.judged import Batch, Judged
from biomedjourney_monai.evaluation.metrics.measure import ASKED, KEPT, Measure
from biomedjourney_monai.evaluation.systems.asked_findings import (
    NO_DESCRIPTIONS,
    AskedScorer,
    is_absent,
    prior_labels_of,
    targets_of,
)
from biomedjourney_monai.schema import FINDINGS

SEEN = 0.5


class Effectiveness(AskedScorer):
    """Whether each finding that must appear is seen, and each that must resolve is not; and how far the others move."""

    columns = (*(f"effectiveness {finding}" for finding in FINDINGS), "others_moved overall")

    def begin(self, batch: Batch) -> None:
        """Find what is asked for: 1 to be seen, 0 not to be seen, NaN for neither; and the findings not mentioned."""
        self._asked = np.full((len(batch.rows), len(FINDINGS)), np.nan)
        self._others = np.zeros((len(batch.rows), len(FINDINGS)), bool)
        for place, row in enumerate(batch.rows):
            requests = self.asked.get(row["journey_id"])
            if not requests:
                continue
            labels = prior_labels_of(row)
            targets = {finding for finding, _ in targets_of(requests, prior_labels=labels)}
            for column, finding in enumerate(FINDINGS):
                self._others[place, column] = finding not in targets and batch.prior.good[place]
                if finding not in targets or requests[finding].uncertain:
                    continue
                if not requests[finding].severities:
                    self._asked[place, column] = 0
                elif is_absent(labels[finding]):
                    self._asked[place, column] = 1

    def measure(self, judged: Judged, batch: Batch) -> np.ndarray:
        """1 or 0 for each finding that was asked for, and the mean change of probability of those that were not."""
        seen = judged.scores.pathology.numpy()
        fulfilled = np.where(np.isfinite(self._asked), (seen > SEEN) == (self._asked == 1), np.nan)
        moved = np.abs(seen - batch.prior.scores.pathology.numpy())
        count = self._others.sum(axis=1)
        with np.errstate(invalid="ignore"):
            mean = np.where(count > 0, np.where(self._others, moved, 0).sum(axis=1) / count, np.nan)
        return np.column_stack([fulfilled, mean])


EFFECTIVENESS = Measure(
    key="effectiveness",
    title="Shows what was asked",
    meaning="Of the findings that must appear or resolve: the share that the judge then sees, or no longer sees.",
    parts=FINDINGS,
    without=NO_DESCRIPTIONS,
    nothing="no journey asks for it",
    topic=ASKED,
    terminal="effective",
)
OTHERS_MOVED = Measure(
    key="others_moved",
    title="Other findings moved",
    meaning="By how much the judge's probability of findings that must not change differs from the prior's.",
    without=NO_DESCRIPTIONS,
    nothing="every journey's description mentions all findings",
    topic=KEPT,
    lower_is_better=True,
    terminal="others moved",
)
