"""Training by several processes at once, as `torchrun` starts them; without it, one process is the first of one."""

from __future__ import annotations

import os

import torch
from ignite.engine import Engine, Events
from monai.utils.enums import CommonKeys
from torch import distributed, nn

from biomedjourney_monai.errors import ConfigError


def this_process() -> int:
    """The number of this process, from 0; the first one alone logs and saves."""
    return distributed.get_rank() if _joined() else 0


def count_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if _joined() else 1


def join(*, backend: str | None = None) -> None:
    """Join the processes that `torchrun` started; do nothing if they are joined or if there is but one.

    Args:
        backend: "nccl", "gloo", …; None takes nccl where there is a GPU for each process, else gloo.
    """
    if _joined() or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if backend is None:
        backend = "nccl" if torch.cuda.device_count() > local else "gloo"
    distributed.init_process_group(backend)


def wait() -> None:
    """Wait for the others, e.g. until the first process has written what all read next."""
    if _joined():
        distributed.barrier()


def leave() -> None:
    """Leave the group, at the end of all stages."""
    if _joined():
        distributed.destroy_process_group()


def require_joined() -> None:
    """Refuse to train the same model several times side by side.

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
    """Each process its own GPU; the CPU where there is none."""
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if torch.cuda.device_count() <= local:
        return torch.device("cpu")
    torch.cuda.set_device(local)
    return torch.device("cuda", local)


def together(network: nn.Module) -> nn.Module:
    """The network as it trains: with gradients averaged over the processes, or, with one process, as it is."""
    if count_processes() == 1:
        return network
    device = next(network.parameters()).device
    return nn.parallel.DistributedDataParallel(network, device_ids=[device.index] if device.type == "cuda" else None)


def any_process(flag: bool) -> bool:
    """Whether the flag is up in any process. Every process must ask."""
    return sum_over_processes(float(flag)) > 0


def sum_over_processes(value: float) -> float:
    """The sum of every process's value. Every process must ask."""
    if count_processes() == 1:
        return value
    device = torch.device("cuda", torch.cuda.current_device()) if distributed.get_backend() == "nccl" else "cpu"
    total = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total)


class SharedLoss:
    """Keep the loss of the whole batch, over all processes, in `engine.state.loss`.

    Args:
        every: iterations between two looks at the other processes.
    """

    def __init__(self, *, every: int) -> None:
        self.every = every

    def attach(self, engine: Engine) -> None:
        """Register after each such iteration; it must come before whatever reads the loss."""
        engine.add_event_handler(Events.ITERATION_COMPLETED(every=self.every), self)

    def __call__(self, engine: Engine) -> None:
        own = float(engine.state.output[CommonKeys.LOSS].detach())
        engine.state.loss = sum_over_processes(own) / count_processes()


def _joined() -> bool:
    return distributed.is_available() and distributed.is_initialized()
