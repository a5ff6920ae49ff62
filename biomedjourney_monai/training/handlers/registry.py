"""Register a stage's model in MLflow's registry, with the shapes of its input and output."""

import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from biomedjourney_monai.files import write_json

logger = logging.getLogger(__name__)
SERVED_MODEL = Path(__file__).with_name("served_model.py")


class RegisterModel:
    """Log a model with its signature and register a new version of it.

    The registered model is a folder with the weights, the text tower and the configuration. MLflow loads it with
    `mlflow.pyfunc.load_model`; `predict(images, params={"description": "…", "seed": 0})` makes counterfactuals.

    Args:
        name: in the registry; None registers nothing.
        model: the model file, written before this is called.
        common_file: `common.yaml` of the bundle.
        sections: what the training laid over it.
        text_encoder_dir: folder of the text encoder.
        image_size: side of the images in pixels.
    """

    def __init__(
        self,
        *,
        name: str | None,
        model: str | Path,
        common_file: str | Path,
        sections: Mapping[str, Any],
        text_encoder_dir: str | Path,
        image_size: int,
    ) -> None:
        self.name, self.image_size = name, image_size
        self.sections = {
            key: value for key, value in sections.items() if key not in ("bundle_root", "text_encoder_dir")
        }
        self.artifacts = {"model": str(model), "text_tower": str(text_encoder_dir), "common": str(common_file)}

    def __call__(self, tracking_uri: str, run_id: str) -> None:
        """Register the model as a result of this run."""
        import mlflow

        if self.name is None:
            return
        with tempfile.TemporaryDirectory() as folder, tracking_at(tracking_uri), mlflow.start_run(run_id=run_id):
            sections = Path(folder) / "sections.json"
            write_json(sections, self.sections)
            logged = mlflow.pyfunc.log_model(
                name="model",
                python_model=str(SERVED_MODEL),
                artifacts={**self.artifacts, "sections": str(sections)},
                signature=make_signature(self.image_size),
                pip_requirements=["biomedjourney_monai"],
                registered_model_name=self.name,
            )
        logger.info(f"Registered {self.name}, version {logged.registered_model_version}.")


@contextmanager
def tracking_at(uri: str) -> Iterator[None]:
    """Let MLflow's functions use an address inside the block only.

    `mlflow.set_tracking_uri` also sets MLFLOW_TRACKING_URI, which has precedence over the `tracking_uri` of MONAI's
    handler: later trainings of the same Python process would be recorded in the wrong place.
    """
    import mlflow

    before = os.environ.get("MLFLOW_TRACKING_URI")
    mlflow.set_tracking_uri(uri)
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)  # type: ignore[arg-type]  # removes the variable from the environment
        if before is not None:
            os.environ["MLFLOW_TRACKING_URI"] = before


def make_signature(image_size: int) -> Any:
    """One channel in and out, values in [0, 1]; description and seed are parameters. MLflow's `ModelSignature`."""
    from mlflow.models import ModelSignature
    from mlflow.types import ParamSchema, ParamSpec, Schema, TensorSpec

    images = TensorSpec(np.dtype(np.float32), (-1, 1, image_size, image_size))
    parameters = [ParamSpec("description", "string", "No acute cardiopulmonary process."), ParamSpec("seed", "long", 0)]
    return ModelSignature(inputs=Schema([images]), outputs=Schema([images]), params=ParamSchema(parameters))
