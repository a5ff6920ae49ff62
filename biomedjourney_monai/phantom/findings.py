"""The findings and devices of a phantom patient at one visit: five findings with side and severity."""

from dataclasses import asdict, dataclass, fields, replace

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.schema import FINDINGS

SEVERITIES = ("none", "small", "moderate", "large")
"""Words for the severities 0 to 3; cardiomegaly and edema use mild and severe instead of small and large."""

SIDES = ("left", "right")
"""The patient's sides; the patient's left is image right."""

_FIELDS = {
    ("Atelectasis", "left"): "atelectasis_left",
    ("Atelectasis", "right"): "atelectasis_right",
    ("Cardiomegaly", ""): "cardiomegaly",
    ("Edema", ""): "edema",
    ("Pleural Effusion", "left"): "effusion_left",
    ("Pleural Effusion", "right"): "effusion_right",
    ("Pneumothorax", "left"): "pneumothorax_left",
    ("Pneumothorax", "right"): "pneumothorax_right",
}


@dataclass(frozen=True)
class FindingState:
    """Severities of all findings: 0 none, 1 small or mild, 2 moderate, 3 large or severe.

    Example:
        >>> state = FindingState(edema=2, effusion_left=1)
        >>> state.labels()["Edema"], state.severity("Pleural Effusion", "left")
        (1, 1)

    Raises:
        ConfigError: if a severity is not one of 0, 1, 2, 3.
    """

    atelectasis_left: int = 0
    atelectasis_right: int = 0
    cardiomegaly: int = 0
    edema: int = 0
    effusion_left: int = 0
    effusion_right: int = 0
    pneumothorax_left: int = 0
    pneumothorax_right: int = 0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or value not in (0, 1, 2, 3):
                raise ConfigError(
                    f"{field.name} must be 0, 1, 2 or 3", found=repr(value), action="0 is none and 3 is large or severe"
                )
            object.__setattr__(self, field.name, int(value))

    def labels(self) -> dict[str, int]:
        """Return 1 for each finding of `schema.FINDINGS` that is present on any side, else 0."""
        return {finding: int(self.severity(finding) > 0) for finding in FINDINGS}

    def severity(self, finding: str, side: str | None = None) -> int:
        """Return the severity of one finding.

        Args:
            finding: one of `schema.FINDINGS`.
            side: "left" or "right" of the patient; None gives the worse side. A finding without sides ignores it.

        Raises:
            ConfigError: if the finding or the side is unknown.
        """
        if finding not in FINDINGS:
            raise ConfigError(f"finding must be one of {', '.join(FINDINGS)}", found=repr(finding))
        if side not in (None, *SIDES):
            raise ConfigError("side must be left, right or None", found=repr(side))
        if (finding, "") in _FIELDS:
            return getattr(self, _FIELDS[finding, ""])
        return max(getattr(self, _FIELDS[finding, s]) for s in ([side] if side else SIDES))

    def with_severity(self, finding: str, side: str, severity: int) -> "FindingState":
        """Return the state with another severity of one finding.

        Args:
            finding: one of `schema.FINDINGS`.
            side: "left" or "right" of the patient; "" for a finding without sides.
            severity: 0 to 3.

        Raises:
            ConfigError: if finding, side or severity is unknown.
        """
        if (finding, side) not in _FIELDS:
            raise ConfigError("finding and side must exist in the phantom", found=repr((finding, side)))
        return replace(self, **{_FIELDS[finding, side]: severity})

    def as_dict(self) -> dict[str, int]:
        """Return field name → severity."""
        return asdict(self)


@dataclass(frozen=True)
class Devices:
    """Devices of a patient: a pacemaker, a tracheal tube, sternal wires."""

    pacemaker: bool = False
    tube: bool = False
    wires: bool = False

    def __post_init__(self) -> None:
        for field in fields(self):
            object.__setattr__(self, field.name, bool(getattr(self, field.name)))

    def any(self) -> bool:
        """Return whether at least one device is present."""
        return self.pacemaker or self.tube or self.wires
