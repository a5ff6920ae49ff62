"""Checkpoints that a training goes on from, and the model that it leaves behind."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.files import written_atomically

logger = logging.getLogger(__name__)


class StageCheckpoint:
    """Save everything a stage needs to go on at the end of an epoch; load it before the first.

    The same command therefore resumes where it stopped, with the same noise and, where an epoch goes once through the
    data, the same order of the data.

    Args:
        path: the checkpoint file.
        states: objects with `state_dict` and `load_state_dict`, by name.
        generators: random generators whose states are part of the checkpoint, by name.
        every_epochs: epochs between checkpoints.
        resume: load the checkpoint if there is one.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        states: Mapping[str, Any],
        generators: Mapping[str, torch.Generator],
        every_epochs: int = 1,
        resume: bool = True,
    ) -> None:
        self.path = Path(path)
        self.states = dict(states)
        self.generators = dict(generators)
        self.every_epochs = every_epochs
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Load the checkpoint into the engine's state, and register saving."""
        if self.resume and self.path.is_file():
            self._load(engine)
            if engine.state.epoch >= engine.state.max_epochs:  # Ignite would start over, counting from 0
                progress = (engine.state.epoch, engine.state.iteration)
                engine.add_event_handler(Events.STARTED, self._stop, progress)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every_epochs), self._save)

    def _save(self, engine: Engine) -> None:
        content = {name: state.state_dict() for name, state in self.states.items()}
        content["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}
        content["engine"] = {"epoch": engine.state.epoch, "iteration": engine.state.iteration}
        with written_atomically(self.path) as temporary:
            torch.save(content, temporary)

    def _load(self, engine: Engine) -> None:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            for name, state in self.states.items():
                state.load_state_dict(content[name])
            for name, generator in self.generators.items():
                generator.set_state(content["generators"][name])
            engine.state.epoch = content["engine"]["epoch"]
            engine.state.iteration = content["engine"]["iteration"]
        except Exception as error:  # unpickling, missing keys and shapes raise many kinds
            raise WeightsError(
                f"{self.path} must be a checkpoint of this configuration",
                found=type(error).__name__,
                action="Train into another --output_dir, or pass --resume false to start afresh",
            ) from error
        logger.info(f"Go on from epoch {engine.state.epoch}, iteration {engine.state.iteration}.")

    def _stop(self, engine: Engine, progress: tuple[int, int]) -> None:
        engine.state.epoch, engine.state.iteration = progress
        logger.info(f"Nothing to do: all {engine.state.max_epochs} epochs of {self.path} are done.")
        engine.terminate()


class ExportModel:
    """When a stage ends, write the model that it leaves behind.

    Args:
        save: called with the path and the info, e.g. `CounterfactualGenerator.save`.
        path: the model file.
        info: what made these weights, saved with them.
        averaged: the averaged network (EMA); its weights are put into `network` first.
        network: the network that was trained.
    """

    def __init__(
        self,
        *,
        save: Callable[..., None],
        path: str | Path,
        info: Mapping[str, Any],
        averaged: torch.nn.Module | None = None,
        network: torch.nn.Module | None = None,
    ) -> None:
        self.save, self.path, self.info = save, Path(path), dict(info)
        self.averaged, self.network = averaged, network

    def attach(self, engine: Engine) -> None:
        """Register at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        if self.averaged is not None and self.network is not None:
            self.network.load_state_dict(self.averaged.state_dict())
        self.save(self.path, info={**self.info, "iterations": engine.state.iteration})
        logger.info(f"Wrote {self.path}.")
