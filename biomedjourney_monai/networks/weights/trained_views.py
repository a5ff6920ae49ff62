"""The views of the films that weights were trained on."""

from pathlib import Path

from biomedjourney_monai.networks.weights.model_file import load_info

VIEWS_KEY = "views"
"""In the facts of a weights file: a list of "PA" and "AP"."""

DEFAULT_VIEWS = ("PA",)
"""Of weights that do not state theirs."""


def trained_views(model_file: str | Path) -> tuple[str, ...]:
    """The views that weights were trained on, from their file.

    Raises:
        WeightsError: if the file cannot be read.
    """
    views = load_info(model_file).get(VIEWS_KEY) if Path(model_file).is_file() else None
    is_list = isinstance(views, list) and views and all(isinstance(view, str) for view in views)
    return tuple(view.upper() for view in views) if is_list else DEFAULT_VIEWS  # type: ignore[union-attr]
