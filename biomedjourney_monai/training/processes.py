"""Training with several processes that `torchrun` started. Without it, there is one process, with number 0."""

import os
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys
from torch import distributed, nn

from biomedjourney_monai.errors import ConfigError


def this_process() -> int:
    """The number of this process, from 0; only the first logs and saves."""
    return distributed.get_rank() if _joined() else 0


def count_processes() -> int:
    """The number of processes that train together."""
    return distributed.get_world_size() if _joined() else 1


def join(*, backend: str | None = None) -> None:
    """Join the processes that `torchrun` started, unless they are joined or there is only one.

    Args:
        backend: "nccl", "gloo", …; None for nccl if each process has a GPU, else gloo.
    """
    if _joined() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if backend is None:
        backend = "nccl" if torch.cuda.device_count() > local else "gloo"
    distributed.init_process_group(backend)


def wait() -> None:
    """Wait for the others, e.g. until the first process has written a file that all read next."""
    if _joined():
        distributed.barrier()


def leave() -> None:
    """Leave the group, after all stages."""
    if _joined():
        distributed.destroy_process_group()


def require_joined() -> None:
    """Refuse to train the same model several times in parallel.

    Raises:
        ConfigError: if `torchrun` started several processes that were not joined.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > 1 and not _joined():
        raise ConfigError(
            "several processes must train together",
            found=f"{started} processes of torchrun without multi_gpu.yaml",
            action="Add the overlay: --config_file \"['bundle/configs/train.yaml','bundle/configs/multi_gpu.yaml']\"",
        )


def device_of_this_process() -> torch.device:
    """The process's own GPU, or the CPU."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.device_count() <= local:
        return torch.device("cpu")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def together(network: nn.Module) -> nn.Module:
    """The network with gradients averaged over the processes; with one process, the network itself."""
    if count_processes() == 1:
        return network
    device = next(network.parameters()).device
    return nn.parallel.DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def any_process(flag: bool) -> bool:
    """Whether the flag is set in any process. Every process must call this."""
    return sum_over_processes(float(flag)) > 0


def sum_over_processes(value: float) -> float:
    """The sum of the value over all processes. Every process must call this."""
    if count_processes() == 1:
        return value
    device = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total)


class SharedLoss:
    """Keep the loss of the whole batch, over all processes, in `engine.state.loss`.

    Args:
        every: iterations between two exchanges with the other processes.
    """

    def __init__(self, *, every: int) -> None:
        self.every = every

    def attach(self, engine: Engine) -> None:
        """Register for these iterations, before any handler that reads the loss."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self)

    def __call__(self, engine: Engine) -> None:
        state: Any = engine.state
        state.loss = sum_over_processes(float(state.output[CommonKeys.LOSS].detach())) / count_processes()


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
