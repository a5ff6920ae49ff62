"""Training settings for the memory of one GPU, at the paper's batch of 32 examples per optimiser step."""

from dataclasses import dataclass

from biomedjourney_monai.errors import SettingError


@dataclass(frozen=True)
class GpuPreset:
    """What fits into a GPU.

    Attributes:
        batch_size: examples per batch.
        accumulate: batches per optimiser step.
        num_workers: processes that read the data.
        gradient_checkpointing: compute activations twice instead of keeping them.
    """

    batch_size: int
    accumulate: int
    num_workers: int
    gradient_checkpointing: bool

    @classmethod
    def for_memory(cls, gigabytes: float) -> "GpuPreset":
        """The preset of the largest GPU in `PRESETS` that has at most this memory.

        Raises:
            SettingError: if none is that small.
        """
        fitting = [size for size in PRESETS if size <= gigabytes]
        if not fitting:
            raise SettingError(
                "gpu_memory",
                f"must be >= {min(PRESETS)}, in GB",
                found=f"{gigabytes:g}",
                action="Lay gpu12.yaml over sd15.yaml instead",
            )
        return PRESETS[max(fitting)]


PRESETS = {
    24: GpuPreset(batch_size=8, accumulate=4, num_workers=0, gradient_checkpointing=True),
    40: GpuPreset(batch_size=16, accumulate=2, num_workers=4, gradient_checkpointing=False),
    80: GpuPreset(batch_size=32, accumulate=1, num_workers=8, gradient_checkpointing=False),
}
"""By the memory of the GPU in GB."""
