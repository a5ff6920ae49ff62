"""The plot of a search: retention over accuracy, the frontier and the best point."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from biomedjourney_monai.evaluation.tuning.sampling import Point
from biomedjourney_monai.files import written_atomically


def draw_points(path: Path, content: Mapping[str, Any]) -> None:
    """Draw the points of tune.json's content as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    points, across, up = content["points"], content["accuracy"], content["retention"]
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    several = len({point["keep_unchanged"] for point in points}) > 1
    axes.plot([across[n] for n in content["frontier"]], [up[n] for n in content["frontier"]], color="0.7", zorder=1)
    axes.scatter(across, up, color="tab:blue", zorder=2)
    axes.scatter([across[content["best"]]], [up[content["best"]]], color="tab:red", zorder=3, label="best CMIG")
    for x, y, point in zip(across, up, points):
        label = ", ".join(f"{point[name]:g}" for name in (Point._fields if several else Point._fields[:2]))
        if math.isfinite(x) and math.isfinite(y):
            axes.annotate(label, (x, y), textcoords="offset points", xytext=(5, 4), fontsize=8)
    axes.margins(x=0.14)  # room for the last point's label
    axes.set(xlabel="accuracy: pathology AUROC", ylabel="retention: mean of race AUROC and age r")
    axes.set_title("guidance scales (text, image)" + (" and what is kept below" if several else ""))
    axes.legend(loc="lower left")
    with written_atomically(path) as temporary:
        figure.savefig(temporary, dpi=120, metadata={"Software": None})
