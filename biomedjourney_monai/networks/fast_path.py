"""Networks prepared for fast inference: reduced precision, weights packed once, text projected once per image."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from monai.networks.nets import AutoencoderKL
from torch import Tensor, nn

from biomedjourney_monai.errors import ConfigError
from biomedjourney_monai.memory import large_blocks_apart
from biomedjourney_monai.networks.denoiser import Denoiser, add_prior, class_labels
from biomedjourney_monai.networks.winograd import WinogradConvolution, can_use_winograd, pays_off

PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def choose_precision(device: torch.device | str) -> str:
    """The fastest precision of a device. Intel's bfloat16 takes twice as long as float32 without AMX, AMD's half."""
    if torch.device(device).type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()  # not before torch 2.9
    slow = "Intel" in str(known.get("cpu_name")) and not known.get("amx_bf16")
    return "bfloat16" if cpu_multiplies_bfloat16() and not slow else "float32"


def cpu_multiplies_bfloat16() -> bool:
    """Whether this CPU has instructions for bfloat16 products."""
    known: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    if "avx512_bf16" in known:
        return bool(known.get("amx_bf16") or known["avx512_bf16"])
    return bool(torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported())


def speed_up(denoiser: Denoiser, *, precision: str = "auto", pack: bool = True, compiled: bool = False) -> FastDenoiser:
    """Prepare a denoiser for inference; it cannot be used for anything else afterwards.

    Args:
        denoiser: with its weights loaded, which are reused, not copied, where that is possible.
        precision: "float32", "bfloat16", "float16", or "auto" for `choose_precision` of its device.
        pack: on a CPU, convert each weight to oneDNN's layout at its first use.
        compiled: run through torch.compile: fastest on a GPU, after minutes of compiling.

    Raises:
        ConfigError: for an unknown precision.
    """
    device = next(denoiser.parameters()).device
    dtype = dtype_of(precision, device)
    return FastDenoiser(denoiser, dtype=dtype, pack=pack and device.type == "cpu", compiled=compiled)


def dtype_of(precision: str, device: torch.device | str) -> torch.dtype:
    """PyTorch's type of a precision: "float32", "bfloat16", "float16", or "auto" for the fastest.

    Raises:
        ConfigError: for any other name.
    """
    chosen = choose_precision(device) if precision == "auto" else precision
    if chosen not in PRECISIONS:
        raise ConfigError(f"the precision must be auto or one of {', '.join(PRECISIONS)}", found=str(precision))
    return PRECISIONS[chosen]


class FastDenoiser(nn.Module):
    """A `Denoiser` for sampling: same arguments, float32 in and out.

    Args:
        denoiser: its weights are reused.
        dtype: of weights and activations.
        pack: pack the weights for oneDNN (CPU only).
        compiled: run through torch.compile.
    """

    scale_factor: Tensor
    unet: nn.Module

    def __init__(self, denoiser: Denoiser, *, dtype: torch.dtype, pack: bool, compiled: bool = False) -> None:
        super().__init__()
        self.dtype = dtype
        self.precision = str(dtype).removeprefix("torch.")
        self.latent_channels, self.distilled = denoiser.latent_channels, denoiser.distilled
        self.residual_to_prior, self.prior_expectation = denoiser.residual_to_prior, denoiser.prior_expectation
        self.register_buffer("scale_factor", denoiser.scale_factor.detach().clone())
        unet = denoiser.unet.requires_grad_(False).eval()
        self.unet = unet.to(dtype).to(memory_format=torch.channels_last)
        _use_flash_attention(self.unet)
        self.text_projection = KeptLinear(denoiser.text_projection.requires_grad_(False).to(dtype))
        _replace(self.unet, pack=pack)
        self._packing = Packing()
        if compiled:
            self.unet = torch.compile(self.unet)  # type: ignore[assignment]

    @torch.inference_mode()
    def forward(
        self,
        noisy_latent: Tensor,
        timesteps: Tensor,
        prior_latent: Tensor,
        text_states: Tensor,
        scales: Tensor | None = None,
    ) -> Tensor:
        """As `Denoiser.forward`, float32. Pass the same `text_states` object in every step: it is projected once."""
        both = torch.cat([noisy_latent, prior_latent], dim=1).to(self.dtype, memory_format=torch.channels_last)
        labels = class_labels(self.distilled, both, None if scales is None else scales.to(both))
        with self._packing("unet"):
            context = self.text_projection(text_states)
            prediction = self.unet(both, timesteps, context=context, class_labels=labels).float()
        return add_prior(self, prediction, noisy_latent, timesteps, prior_latent.float())


class FastAutoencoder(nn.Module):
    """An autoencoder for inference: `encode` and `decode` in another precision, float32 in and out.

    Args:
        autoencoder: its weights are reused, channels last and packed like the denoiser's.
        dtype: of weights and activations.
    """

    def __init__(self, autoencoder: AutoencoderKL, *, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        autoencoder = autoencoder.requires_grad_(False).eval().to(dtype)
        self.autoencoder: AutoencoderKL = autoencoder.to(memory_format=torch.channels_last)
        _replace(self.autoencoder, pack=True)
        self._packing = Packing()

    @torch.inference_mode()
    def encode(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Posterior mean and standard deviation, float32; see MONAI's AutoencoderKL."""
        with self._packing("encode"):
            mean, deviation = self.autoencoder.encode(self._shorten(image))
        return mean.float(), deviation.float()

    @torch.inference_mode()
    def decode(self, latent: Tensor) -> Tensor:
        """The image, float32."""
        with self._packing("decode"):
            return self.autoencoder.decode(self._shorten(latent)).float()

    def _shorten(self, x: Tensor) -> Tensor:
        return x.to(self.dtype, memory_format=torch.channels_last)


_FIRST_USE = threading.RLock()


class Packing:
    """Wraps each use of a network's parts. The first use packs the part's weights, which moves memory: one thread does
    it, others wait."""

    def __init__(self) -> None:
        self._done: set[str] = set()

    def __call__(self, part: str) -> AbstractContextManager[None]:
        return nullcontext() if part in self._done else self._first(part)

    @contextmanager
    def _first(self, part: str) -> Iterator[None]:
        with _FIRST_USE:
            if part in self._done:  # another thread packed it while this one waited
                yield
                return
            with large_blocks_apart():
                yield
            self._done.add(part)


class KeptLinear(nn.Module):
    """A linear map that keeps its last result, and returns it again for the same tensor unchanged."""

    def __init__(self, linear: nn.Module) -> None:
        super().__init__()
        self.linear = linear
        self._last: tuple[Tensor, int | None, Tensor] | None = None  # input, its version, result

    def forward(self, x: Tensor) -> Tensor:
        version = None if x.is_inference() else x._version  # tensors made under inference_mode have none
        last = self._last  # read and written as one: threads may share the model
        if last is not None and last[0] is x and last[1] == version:
            return last[2]
        weight = getattr(self.linear, "weight", None)
        result: Tensor = self.linear(x if weight is None else x.to(weight.dtype))
        self._last = (x, version, result)
        return result


class PackedConvolution(nn.Module):
    """A 2-D convolution whose weight is packed at its first use, for oneDNN or Winograd's method, and then freed."""

    weight: Tensor | None

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        self.weight, self.bias = convolution.weight, convolution.bias
        self.shape = [list(convolution.padding), list(convolution.stride), list(convolution.dilation)]
        self.groups = convolution.groups
        self.may_be_winograd = can_use_winograd(convolution)
        self.packed: Tensor | None = None
        self.winograd: WinogradConvolution | None = None

    def forward(self, x: Tensor) -> Tensor:
        operations = torch.ops.mkldnn
        if self.weight is not None:
            if self.may_be_winograd and pays_off(x, len(self.weight)):
                self.winograd = WinogradConvolution(self.weight, self.bias, linear=PackedLinear)
            else:
                weight = self.weight.detach()
                self.packed = operations._reorder_convolution_weight(weight, *self.shape, self.groups, list(x.shape))
            self.weight = None
        if self.winograd is not None:
            return self.winograd(x)
        return operations._convolution_pointwise(x, self.packed, self.bias, *self.shape, self.groups, "none", [], "")


class PackedLinear(nn.Module):
    """A linear map whose weight is packed for oneDNN at its first use, and then freed."""

    weight: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias
        self.packed: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        operations = torch.ops.mkldnn
        if self.weight is not None:
            self.packed = operations._reorder_linear_weight(self.weight.detach(), math.prod(x.shape[:-1]))
            self.weight = None
        return operations._linear_pointwise(x, self.packed, self.bias, "none", [], "")


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch packs weights of this type for oneDNN."""
    names = ("_reorder_convolution_weight", "_convolution_pointwise", "_reorder_linear_weight", "_linear_pointwise")
    if not (torch.backends.mkldnn.is_available() and all(hasattr(torch.ops.mkldnn, name) for name in names)):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and cpu_multiplies_bfloat16())


def _use_flash_attention(unet: nn.Module) -> None:
    for module in unet.modules():
        if getattr(module, "use_flash_attention", None) is False and not getattr(module, "save_attn", False):
            module.use_flash_attention = True  # type: ignore[assignment]


def _replace(unet: nn.Module, *, pack: bool) -> None:
    """Pack convolutions and linear maps, and keep the keys and values of the text."""
    cross = {
        f"{name}.{part}"
        for name, module in unet.named_modules()
        if name.endswith("attn2") and hasattr(module, "to_k")
        for part in ("to_k", "to_v")
    }
    pack = pack and can_pack(next(unet.parameters()).dtype)
    for name, module in list(unet.named_modules()):
        new: nn.Module | None = None
        if pack and type(module) is nn.Conv2d and module.padding_mode == "zeros":
            new = PackedConvolution(module)
        elif type(module) is nn.Linear:
            new = PackedLinear(module.weight, module.bias) if pack else module
            new = KeptLinear(new) if name in cross else new
        if new is not None and new is not module:
            parent, _, child = name.rpartition(".")
            setattr(unet.get_submodule(parent) if parent else unet, child, new)
