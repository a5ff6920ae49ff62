"""The evidence of a study for its findings: labels and report together, as the check of descriptions needs it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from biomedjourney_monai.preparation.reports.statements import WHOLE, Statement, read_statements
from biomedjourney_monai.preparation.reports.states import State, StudyState


@dataclass(frozen=True)
class Evidence:
    """Labels and text of one study.

    Args:
        state: read from its labels and text.
        text: the whole text that the state was read from; may be empty.
    """

    state: StudyState
    text: str = ""
    _nothing: Statement = field(default_factory=Statement, repr=False)

    @cached_property
    def statements(self) -> Mapping[str, Statement]:
        return read_statements(self.text)

    def shows(self, label: str) -> bool:
        """Whether the finding is present or uncertain."""
        return label in self.state.findings or self._statement(label).is_present

    def denies(self, label: str) -> bool:
        """Whether labels or text deny the finding."""
        return not self.shows(label) and (label in self.state.denied or bool(self._statement(label).denied))

    def is_in_doubt(self, label: str) -> bool:
        """Whether the finding is uncertain in labels or text."""
        statement = self._statement(label)
        return self._state(label).uncertain or (statement.is_present and statement.uncertain)

    def sides(self, label: str) -> set[str]:
        """Sides on which the finding is present or uncertain; empty if none is known."""
        return {side for side in {*self._state(label).severities, *self._statement(label).severities} if side != WHOLE}

    def severities(self, label: str, side: str) -> set[int]:
        """Known severities on a side, or of the finding as a whole."""
        found = set()
        for severities in (self._state(label).severities, self._statement(label).severities):
            sides = severities if side == WHOLE else {side, WHOLE}
            found |= {severities.get(where, 0) for where in sides}
        return found - {0}

    def trends(self, label: str, sides: set[str]) -> set[str]:
        """The trends that the report states for these sides, "" for all: "worse", "better", "same"."""
        found = (*self._state(label).trends.items(), *self._statement(label).trends.items())
        return {trend for side, trend in found if side == WHOLE or WHOLE in sides or side in sides}

    def _statement(self, label: str) -> Statement:
        return self.statements.get(label, self._nothing)

    def _state(self, label: str) -> State:
        return self.state.findings.get(label, State({}))
