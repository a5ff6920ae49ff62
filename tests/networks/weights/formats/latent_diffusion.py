"""The module tree of the original latent-diffusion code, without its computation: only names and shapes matter.

Written after the papers' published `openaimodel.py` and `model.py`: what sits at which place of which list.
"""

from __future__ import annotations

from torch import nn


class _ResBlock(nn.Module):
    def __init__(self, inside, outside, time, groups):
        super().__init__()
        self.in_layers = nn.Sequential(nn.GroupNorm(groups, inside), nn.SiLU(), nn.Conv2d(inside, outside, 3))
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(time, outside))
        last = nn.Conv2d(outside, outside, 3)
        self.out_layers = nn.Sequential(nn.GroupNorm(groups, outside), nn.SiLU(), nn.Dropout(), last)
        self.skip_connection = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1)


class _Attention(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.to_q = nn.Linear(width, width, bias=False)
        self.to_k, self.to_v = nn.Linear(context, width, bias=False), nn.Linear(context, width, bias=False)
        self.to_out = nn.Sequential(nn.Linear(width, width), nn.Dropout())


class _Gate(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.proj = nn.Linear(width, 8 * width)


class _FeedForward(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.net = nn.Sequential(_Gate(width), nn.Dropout(), nn.Linear(4 * width, width))


class _TransformerBlock(nn.Module):
    def __init__(self, width, context):
        super().__init__()
        self.attn1, self.ff, self.attn2 = _Attention(width, width), _FeedForward(width), _Attention(width, context)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))


class _SpatialTransformer(nn.Module):
    def __init__(self, width, context, groups):
        super().__init__()
        self.norm, self.proj_in = nn.GroupNorm(groups, width), nn.Conv2d(width, width, 1)
        self.transformer_blocks = nn.ModuleList([_TransformerBlock(width, context)])
        self.proj_out = nn.Conv2d(width, width, 1)


class _Down(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.op = nn.Conv2d(width, width, 3, stride=2)


class _Up(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3)


class LatentDiffusionUNet(nn.Module):
    """`UNetModel` of `openaimodel.py`."""

    def __init__(self, *, in_channels, out_channels, channels, blocks, attention, context, groups):
        super().__init__()
        time, width = 4 * channels[0], channels[0]
        self.time_embed = nn.Sequential(nn.Linear(width, time), nn.SiLU(), nn.Linear(time, time))
        inputs, widths = [nn.Sequential(nn.Conv2d(in_channels, width, 3))], [width]
        for level, outside in enumerate(channels):
            for _ in range(blocks):
                layers = [_ResBlock(width, outside, time, groups)]
                width = outside
                layers += [_SpatialTransformer(width, context, groups)] if attention[level] else []
                inputs.append(nn.Sequential(*layers))
                widths.append(width)
            if level < len(channels) - 1:
                inputs.append(nn.Sequential(_Down(width)))
                widths.append(width)
        self.input_blocks = nn.ModuleList(inputs)
        self.middle_block = nn.Sequential(
            _ResBlock(width, width, time, groups),
            _SpatialTransformer(width, context, groups),
            _ResBlock(width, width, time, groups),
        )
        outputs = []
        for level, outside in reversed(list(enumerate(channels))):
            for block in range(blocks + 1):
                layers = [_ResBlock(width + widths.pop(), outside, time, groups)]
                width = outside
                layers += [_SpatialTransformer(width, context, groups)] if attention[level] else []
                layers += [_Up(width)] if level and block == blocks else []
                outputs.append(nn.Sequential(*layers))
        self.output_blocks = nn.ModuleList(outputs)
        self.out = nn.Sequential(nn.GroupNorm(groups, width), nn.SiLU(), nn.Conv2d(width, out_channels, 3))


class _ResnetBlock(nn.Module):
    def __init__(self, inside, outside, groups):
        super().__init__()
        self.norm1, self.conv1 = nn.GroupNorm(groups, inside), nn.Conv2d(inside, outside, 3)
        self.norm2, self.conv2 = nn.GroupNorm(groups, outside), nn.Conv2d(outside, outside, 3)
        if inside != outside:
            self.nin_shortcut = nn.Conv2d(inside, outside, 1)


class _AttnBlock(nn.Module):
    def __init__(self, width, groups):
        super().__init__()
        self.norm = nn.GroupNorm(groups, width)
        self.q, self.k, self.v, self.proj_out = (nn.Conv2d(width, width, 1) for _ in range(4))


def _named(**children):
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def _middle(width, groups):
    blocks = [_ResnetBlock(width, width, groups) for _ in range(2)]
    return _named(block_1=blocks[0], attn_1=_AttnBlock(width, groups), block_2=blocks[1])


class LatentDiffusionAutoencoder(nn.Module):
    """`AutoencoderKL` of `autoencoder.py`, with encoder and decoder of `model.py`."""

    def __init__(self, *, channels, blocks, latent, groups):
        super().__init__()
        width, levels = channels[0], len(channels)
        down = []
        for level, outside in enumerate(channels):
            resnets = []
            for _ in range(blocks):
                resnets.append(_ResnetBlock(width, outside, groups))
                width = outside
            sampler = {"downsample": _Up(width)} if level < levels - 1 else {}
            down.append(_named(block=nn.ModuleList(resnets), attn=nn.ModuleList(), **sampler))
        self.encoder = _named(
            conv_in=nn.Conv2d(3, channels[0], 3),
            down=nn.ModuleList(down),
            mid=_middle(width, groups),
            norm_out=nn.GroupNorm(groups, width),
            conv_out=nn.Conv2d(width, 2 * latent, 3),
        )
        first, middle = nn.Conv2d(latent, width, 3), _middle(width, groups)
        up = []
        for level, outside in reversed(list(enumerate(channels))):
            resnets = []
            for _ in range(blocks + 1):
                resnets.append(_ResnetBlock(width, outside, groups))
                width = outside
            sampler = {"upsample": _Up(width)} if level else {}
            up.insert(0, _named(block=nn.ModuleList(resnets), attn=nn.ModuleList(), **sampler))
        self.decoder = _named(
            conv_in=first,
            mid=middle,
            up=nn.ModuleList(up),
            norm_out=nn.GroupNorm(groups, width),
            conv_out=nn.Conv2d(width, 3, 3),
        )
        self.quant_conv = nn.Conv2d(2 * latent, 2 * latent, 1)
        self.post_quant_conv = nn.Conv2d(latent, latent, 1)
