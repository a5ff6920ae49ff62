"""The code with which MLflow serves a registered model. MLflow loads this file itself."""

import json
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import torch

from biomedjourney_monai.configuration import compose
from biomedjourney_monai.networks.generator import CounterfactualGenerator


class ServedGenerator(mlflow.pyfunc.PythonModel):  # type: ignore[name-defined]  # a lazy module
    """The generator, with the configs and weights of the registered folder."""

    def load_context(self, context: Any) -> None:
        """Build the generator."""
        sections = json.loads(Path(context.artifacts["sections"]).read_text(encoding="utf-8"))
        sections["text_encoder_dir"] = context.artifacts["text_tower"]
        parser = compose(context.artifacts["common"], sections)
        self.generator: CounterfactualGenerator = parser.get_parsed_content("generator")
        self.generator.load(context.artifacts["model"])
        self.generator.eval()

    def predict(self, context: Any, model_input: np.ndarray, params: dict[str, Any] | None = None) -> np.ndarray:
        """Counterfactuals of priors, float32 in [0, 1], shape (B, 1, H, W)."""
        params = params or {}
        seeds = [int(params.get("seed", 0))] * len(model_input)
        images = torch.from_numpy(np.asarray(model_input, np.float32))
        made: np.ndarray = self.generator(images, params.get("description"), seeds=seeds).numpy()
        return made


mlflow.models.set_model(ServedGenerator())
