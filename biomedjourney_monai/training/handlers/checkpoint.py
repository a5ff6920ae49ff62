"""Checkpoints that a training continues from, and the model file at its end."""

import logging
import random
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ignite.engine import Engine, Events

from biomedjourney_monai.errors import ConfigError, WeightsError
from biomedjourney_monai.files import written_atomically
from biomedjourney_monai.training.processes import this_process

logger = logging.getLogger(__name__)


class StageCheckpoint:
    """Save the whole state of a stage, and load it before the first iteration.

    A resumed training has the same noise, the same order of the data and the same random numbers: on a CPU its final
    weights are those of an uninterrupted training, bit for bit.

    Args:
        path: the checkpoint file.
        states: objects with `state_dict` and `load_state_dict`, by name.
        generators: random generators, by name.
        every_epochs: epochs between checkpoints.
        every_iterations: iterations between checkpoints within an epoch; 0 for none.
        resume: load the checkpoint if there is one.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        states: Mapping[str, Any],
        generators: Mapping[str, torch.Generator],
        every_epochs: int = 1,
        every_iterations: int = 0,
        resume: bool = True,
    ) -> None:
        self.path = Path(path)
        self.states = dict(states)
        self.generators = dict(generators)
        self.every_epochs, self.every_iterations = every_epochs, every_iterations
        self.resume = resume

    def attach(self, engine: Engine) -> None:
        """Load the checkpoint into the engine's state, and register saving."""
        if this_process() == 0:
            remove_unfinished(self.path)
        if self.resume and self.path.is_file():
            self._load(engine)
            if engine.state.epoch >= (engine.state.max_epochs or 0):  # Ignite would start again from 0
                progress = (engine.state.epoch, engine.state.iteration)
                engine.add_event_handler(Events.STARTED, self._stop, progress)
        if self.every_iterations:
            engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every_iterations), self.save)
        engine.add_event_handler(Events.EPOCH_COMPLETED(every=self.every_epochs), self.save)

    def save(self, engine: Engine) -> None:
        """Write the checkpoint, in the first process only; it replaces the previous one when it is complete.

        Raises:
            ConfigError: if it cannot be written, e.g. on a full disk.
        """
        if this_process() != 0:
            return
        content = {name: state.state_dict() for name, state in self.states.items()}
        content["generators"] = {name: generator.get_state() for name, generator in self.generators.items()}
        content["random"] = random_states()
        content["engine"] = {"iteration": engine.state.iteration}
        content["kinds"] = self._kinds()
        action = "Free disk space and run the same command again; the previous checkpoint is intact"
        with _writable(self.path, action), written_atomically(self.path) as temporary:
            torch.save(content, temporary)

    def _kinds(self) -> dict[str, str]:
        """Classes of the states that are not networks: an optimiser accepts another's state, and fails later."""
        kinds = {name: type(state).__name__ for name, state in self.states.items()}
        return {name: kind for name, kind in kinds.items() if not isinstance(self.states[name], torch.nn.Module)}

    def _load(self, engine: Engine) -> None:
        try:
            content = torch.load(self.path, map_location="cpu", weights_only=True)
            own, saved = self._kinds(), content.get("kinds", {})
            for name, state in self.states.items():
                if name in own and saved.get(name, own[name]) != own[name]:
                    raise self._refusal(f"{saved[name]} where {own[name]} is needed")
                self._require_same_tensors(state, content[name])
                state.load_state_dict(content[name])
            for name, generator in self.generators.items():
                generator.set_state(content["generators"][name])
            set_random_states(content["random"])
            engine.state.iteration = content["engine"]["iteration"]
        except WeightsError:
            raise
        except Exception as error:  # unpickling and missing keys raise many kinds
            raise self._refusal(type(error).__name__) from error
        engine.state.epoch = engine.state.iteration // (engine.state.epoch_length or 1)  # completed epochs
        logger.info(f"Continue from epoch {engine.state.epoch}, iteration {engine.state.iteration}.")

    def _require_same_tensors(self, state: Any, saved: Mapping[str, Any]) -> None:
        if isinstance(state, torch.nn.Module):
            differing = differing_tensors(state.state_dict(), saved)
            if differing:
                raise self._refusal(f"{len(differing)} tensors that differ, first {differing[0]}")

    def _refusal(self, found: str) -> WeightsError:
        return WeightsError(
            f"{self.path} must be a checkpoint of this configuration",
            found=found,
            action="Train into another --output_dir, or pass --resume false to start again",
        )

    def _stop(self, engine: Engine, progress: tuple[int, int]) -> None:
        engine.state.epoch, engine.state.iteration = progress
        logger.info(f"Nothing to do: all {engine.state.max_epochs} epochs of {self.path} are done.")
        engine.terminate()


def remove_unfinished(path: Path) -> None:
    """Remove incomplete files of a killed process, which have a temporary name of `files.written_atomically`."""
    for unfinished in path.parent.glob(f".{path.stem}-????????{path.suffix}"):
        unfinished.unlink(missing_ok=True)


@contextmanager
def _writable(path: Path, action: str) -> Iterator[None]:
    """Report a full disk in one line."""
    try:
        yield
    except (OSError, RuntimeError) as error:  # torch's writer raises RuntimeError where the disk is full
        found = getattr(error, "strerror", None) or type(error).__name__
        raise ConfigError(f"{path} must be writable", found=found, action=action) from error


def differing_tensors(own: Mapping[str, torch.Tensor], saved: Mapping[str, Any]) -> list[str]:
    """Names of the tensors that are missing on one side or differ in shape, with both shapes."""

    def shape(tensors: Mapping[str, Any], name: str) -> str:
        return str(tuple(tensors[name].shape)) if name in tensors else "none"

    names = [*own, *(name for name in saved if name not in own)]
    shapes = [(name, shape(own, name), shape(saved, name)) for name in names]
    return [f"{name} {there} where {here} is needed" for name, here, there in shapes if here != there]


def random_states() -> dict[str, Any]:
    """The states of the global generators of Python, NumPy and torch (CPU and GPUs), as tensors and plain numbers."""
    state: Any = np.random.get_state()
    algorithm, keys, position, has_gauss, cached = state
    return {
        "python": random.getstate(),
        "numpy": (algorithm, torch.from_numpy(keys.astype(np.int64)), position, has_gauss, cached),
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all(),
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Restore `random_states`; those of GPUs only if there are as many."""
    random.setstate(states["python"])
    algorithm, keys, *rest = states["numpy"]
    np.random.set_state((algorithm, keys.numpy().astype(np.uint32), *rest))
    torch.set_rng_state(states["torch"])
    if len(states["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states["cuda"])


class ExportModel:
    """Write the model file at the end of a stage, and the best model so far when `keep_best` is called.

    Of several processes only the first writes.

    Args:
        save: called with the path and the info, e.g. `CounterfactualGenerator.save`.
        path: the model file.
        info: facts about the training, saved with the weights.
        averaged: the averaged network (EMA), whose weights are written instead of those of `network`.
        network: the network that is trained.
        keep: "last" writes the final weights, "best" the best so far if there are any.
    """

    def __init__(
        self,
        *,
        save: Callable[..., None],
        path: str | Path,
        info: Mapping[str, Any],
        averaged: torch.nn.Module | None = None,
        network: torch.nn.Module | None = None,
        keep: str = "last",
    ) -> None:
        if keep not in ("last", "best"):
            raise ConfigError("--keep must be last or best", found=str(keep))
        self.save, self.path, self.info = save, Path(path), dict(info)
        self.averaged, self.network, self.keep = averaged, network, keep

    @property
    def best_path(self) -> Path:
        """The file of the best model so far."""
        return self.path.with_name(f"best_{self.path.name}")

    def attach(self, engine: Engine) -> None:
        """Register at the end of the run."""
        engine.add_event_handler(Events.COMPLETED, self)

    def __call__(self, engine: Engine) -> None:
        """Write the model. The network then has the averaged weights."""
        if self.keep == "best" and self.best_path.is_file():
            with written_atomically(self.path) as temporary:
                shutil.copyfile(self.best_path, temporary)
            logger.info(f"Wrote {self.path}, the best so far.")
        else:
            self._write(engine, self.path)

    def keep_best(self, engine: Engine) -> None:
        """Write the model as the best so far, without changing the network that is trained."""
        if self.network is None:
            return self._write(engine, self.best_path)
        own = {name: value.clone() for name, value in self.network.state_dict().items()}
        self._write(engine, self.best_path)
        self.network.load_state_dict(own)

    def _write(self, engine: Engine, path: Path) -> None:
        if self.averaged is not None and self.network is not None:
            self.network.load_state_dict(self.averaged.state_dict())
        if this_process() != 0:
            return
        with _writable(path, "Free disk space and run the same command again; it continues from the last checkpoint"):
            self.save(path, info={**self.info, "iterations": engine.state.iteration})
        logger.info(f"Wrote {path}.")
