"""A request to the model, before and after its checks."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from biomedjourney_monai.diffusion.settings import check_seed
from biomedjourney_monai.errors import SettingError
from biomedjourney_monai.generation.prior import Prior
from biomedjourney_monai.preparation.descriptions.request import NO_CHANGE, read_request


@dataclass(frozen=True)
class Request:
    """One request. Its representation shows nothing of the patient.

    Attributes:
        prior: a file, pixels of shape (H, W), or a `Prior`.
        description: the progression description.
        seed: of the first sample's noise.
        samples: how many to draw, with the seeds from `seed` on.
        region: where change is allowed: None for everywhere, "auto" for where the description acts, or a mask of the
            prior's height and width, bright where change is allowed, as a file or an array.
        force: overrule refusals of the prior or the description.
        verbatim: give the text encoder the description as it is; None takes the model's default.

    Raises:
        SettingError: naming the attribute that has another type or is out of range.
    """

    prior: Prior | str | Path | np.ndarray = field(repr=False)
    description: str = field(repr=False)
    seed: int = 0
    samples: int = 1
    region: str | Path | np.ndarray | None = field(default=None, repr=False)
    force: bool = False
    verbatim: bool | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.description, str):
            raise SettingError("description", "must be a text", found=type(self.description).__name__)
        check_seed(self.seed)
        if isinstance(self.samples, bool) or not isinstance(self.samples, int):
            raise SettingError("samples", "must be an integer", found=type(self.samples).__name__)
        if self.samples < 1:
            raise SettingError("samples", "must be >= 1", found=str(self.samples))
        if not isinstance(self.region, (str, Path, np.ndarray, type(None))):
            raise SettingError("region", 'must be None, "auto", a path or an array', found=type(self.region).__name__)


@dataclass(frozen=True)
class Checked:
    """A request that passed every check.

    Attributes:
        prior: the prior radiograph.
        description: the progression description.
        seeds: one for each sample.
        region: None, "auto", or a mask of the model's square, bool, shape (S, S).
        overruled: reason codes of overruled refusals.
        warnings: sentences for the user, without the description's text.
        prompt: what the text encoder gets; "" for the description itself.
        understood: one line that says what was understood of the description and what was not; it quotes it.
    """

    prior: Prior = field(repr=False)
    description: str = field(repr=False)
    seeds: tuple[int, ...]
    region: np.ndarray | str | None = field(default=None, repr=False)
    overruled: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    prompt: str = ""
    understood: str = ""

    @property
    def text(self) -> str:
        """What the text encoder gets."""
        return self.prompt or self.description

    @property
    def draws_nothing(self) -> bool:
        """Whether nothing that the description asks for can be drawn: the picture stays the prior's."""
        return self.prompt == NO_CHANGE and bool(read_request(self.description).undrawable)

    @property
    def asks_for_change(self) -> bool:
        """Whether the description asks for more than denials and what stays."""
        if self.prompt == NO_CHANGE:
            return False
        changes = read_request(self.description).changes
        return not changes or any(change.kind not in ("same", "absent") for change in changes)
