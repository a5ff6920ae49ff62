"""Networks of one geometry in two layouts, and a small working folder, for scripts/benchmarks/training.py."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch

CONFIGS = Path(__file__).resolve().parents[2] / "bundle" / "configs"
IMAGES, SIZE, TOKENS = 16, 256, 77


def widths(divisor: int) -> dict[str, Any]:
    """diffusers' settings of UNet, autoencoder and text tower, their widths divided; and ours of the same geometry."""
    unet = [width // divisor for width in (320, 640, 1280, 1280)]
    autoencoder = [width // divisor for width in (128, 256, 512, 512)]
    text, groups = 768 // divisor, 32 if divisor <= 4 else 8
    return {
        "unet": {
            "in_channels": 8,
            "block_out_channels": unet,
            "cross_attention_dim": text,
            "attention_head_dim": 8,  # which is the number of heads
            "norm_num_groups": groups,
        },
        "vae": {
            "block_out_channels": autoencoder,
            "down_block_types": ("DownEncoderBlock2D",) * 4,
            "up_block_types": ("UpDecoderBlock2D",) * 4,
            "layers_per_block": 2,
            "latent_channels": 4,
            "norm_num_groups": groups,
        },
        "text": {
            "hidden_size": text,
            "intermediate_size": 4 * text,
            "num_attention_heads": max(1, 12 // divisor),
            "num_hidden_layers": 12,
            "max_position_embeddings": TOKENS,
        },
        "denoiser": {
            "channels": unet,
            "num_head_channels": [width // 8 for width in unet],
            "cross_attention_dim": text,
            "norm_num_groups": groups,
        },
        "autoencoder": {"channels": autoencoder, "norm_num_groups": groups},
    }


def write_networks(folder: Path, sizes: dict[str, Any]) -> None:
    """Random weights in diffusers' layout, and the same in ours."""
    import yaml
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextConfig, CLIPTextModel

    from biomedjourney_monai.networks.weights.formats.channels import to_grey
    from biomedjourney_monai.networks.weights.formats.diffusers import (
        autoencoder_from_diffusers,
        denoiser_from_diffusers,
    )
    from biomedjourney_monai.networks.weights.model_file import save_tensors

    torch.manual_seed(0)
    unet, vae = UNet2DConditionModel(**sizes["unet"]), AutoencoderKL(**sizes["vae"])
    unet.half().float().save_pretrained(folder / "unet")  # a model file holds float16
    vae.save_pretrained(folder / "vae")
    autoencoder = to_grey(autoencoder_from_diffusers(vae.state_dict()))
    save_tensors(folder / "work" / "runs" / "autoencoder.pt", autoencoder, info={})
    denoiser = denoiser_from_diffusers(unet.state_dict())
    width = sizes["text"]["hidden_size"]
    denoiser |= {"text_projection.weight": torch.eye(width), "text_projection.bias": torch.zeros(width)}
    denoiser["scale_factor"] = torch.tensor(0.18215)
    state = {f"denoiser.{key}": value for key, value in denoiser.items()}
    state |= {f"autoencoder.{key}": value for key, value in autoencoder.items()}
    save_tensors(folder / "start.pt", state, info={}, half=True)
    vocabulary = write_tokenizer(folder / "text")
    tokens = {"vocab_size": vocabulary, "bos_token_id": vocabulary - 2, "eos_token_id": vocabulary - 1}
    CLIPTextModel(CLIPTextConfig(**sizes["text"], **tokens)).save_pretrained(folder / "text")
    overlay = yaml.safe_load((CONFIGS / "sd15.yaml").read_text(encoding="utf-8"))
    for section in ("denoiser", "autoencoder"):
        overlay[section] |= sizes[section]
    overlay["text_encoder_dir"] = str(folder / "text")
    (folder / "overlay.yaml").write_text(yaml.safe_dump(overlay), encoding="utf-8")
    inputs = {"noisy": torch.randn(1, 4, 32, 32), "prior": torch.randn(1, 4, 32, 32)}
    torch.save(inputs | {"text": torch.randn(1, TOKENS, width)}, folder / "inputs.pt")


def write_tokenizer(folder: Path) -> int:
    """CLIP's tokenizer with an alphabet and no merges, as vocab.json and merges.txt; the size of its vocabulary."""
    folder.mkdir(parents=True)
    letters = [*"abcdefghijklmnopqrstuvwxyz0123456789.,"]
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: place for place, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TOKENS, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return len(tokens)


def write_examples(folder: Path) -> None:
    """A working folder of soft random images, as `describe` leaves one."""
    from PIL import Image

    from biomedjourney_monai.files import write_json_lines

    work = folder / "work"
    (work / "images").mkdir()
    coarse = torch.rand(IMAGES, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    pixels = torch.nn.functional.interpolate(coarse, size=SIZE, mode="bicubic").clamp(0, 1)[:, 0]
    for number, image in enumerate(pixels):
        Image.fromarray((image * 255).byte().numpy()).save(work / "images" / f"{number}.png")
    Image.new("L", (SIZE, SIZE), 255).save(work / "images" / "valid.png")
    names = [f"images/{number}.png" for number in range(IMAGES)]
    write_json_lines(
        work / "singles.jsonl", [{"image": name, "split": "train", "impression": "Clear."} for name in names]
    )
    rows = [
        {"prior_image": prior, "new_image": new, "split": split, "valid_mask": "images/valid.png"}
        | {"progression_description": f"new pleural effusion {number}.", "journey_id": f"j{number:06d}"}
        for number, (prior, new) in enumerate(itertools.pairwise(names))
        for split in ("train", "validate")
    ]
    write_json_lines(work / "triples.jsonl", rows)


def encode_once(folder: Path) -> float:
    """`biomedjourney encode`; images a second, loading the networks included."""
    command = [sys.executable, "-m", "biomedjourney_monai.cli.main", "encode", "--work", str(folder / "work")]
    start = time.perf_counter()
    subprocess.run([*command, "--overlay", str(folder / "overlay.yaml")], check=True, stdout=subprocess.DEVNULL)
    return IMAGES / (time.perf_counter() - start)
