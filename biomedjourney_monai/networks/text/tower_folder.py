"""The folder of a small text tower: its sizes, its files, its model, its weights."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from biomedjourney_monai.files import write_json, written_atomically
from biomedjourney_monai.networks.text.folder import SMALL_TOWER, quiet_root_logger


@dataclass(frozen=True)
class TowerGeometry:
    """Sizes of the small tower.

    Args:
        width: features of a token state.
        layers: of the text transformer.
        heads: of each of its attentions.
        context_length: token states of a text.
        embed_dim: features of the space that images and texts share.
        image_size: side of the radiographs, in pixels.
        image_width: features of the image transformer.
        image_layers: of the image transformer.
        patch_size: side of its patches, in pixels.
    """

    width: int = 128
    layers: int = 4
    heads: int = 4
    context_length: int = 128
    embed_dim: int = 128
    image_size: int = 128
    image_width: int = 96
    image_layers: int = 3
    patch_size: int = 16

    def open_clip_config(self) -> dict[str, Any]:
        """The content of `open_clip_config.json`."""
        return {
            "model_cfg": {
                "embed_dim": self.embed_dim,
                "vision_cfg": {
                    "layers": self.image_layers,
                    "width": self.image_width,
                    "head_width": self.image_width // 3,
                    "patch_size": self.patch_size,
                    "image_size": self.image_size,
                    "pool_type": "avg",
                },
                "text_cfg": {
                    "hf_model_name": SMALL_TOWER,
                    "hf_tokenizer_name": SMALL_TOWER,
                    "hf_proj_type": "mlp",
                    "hf_pooler_type": "mean_pooler",
                    "context_length": self.context_length,
                },
            },
            "preprocess_cfg": {"mean": [0.5, 0.5, 0.5], "std": [0.5, 0.5, 0.5]},
        }

    def bert_config(self, vocab_size: int) -> dict[str, Any]:
        """The content of BERT's `config.json`."""
        return {
            "model_type": "bert",
            "architectures": ["BertModel"],
            "vocab_size": vocab_size,
            "hidden_size": self.width,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.heads,
            "intermediate_size": 4 * self.width,
            "initializer_range": 0.08,  # about width ** -0.5: BERT's 0.02 suits a width of 768 and learns slowly here
            "max_position_embeddings": self.context_length,
            "type_vocab_size": 1,
            "hidden_dropout_prob": 0.0,
            "attention_probs_dropout_prob": 0.0,
            "pad_token_id": 0,
        }


def write_tower_folder(folder: str | Path, vocabulary: Sequence[str], *, geometry: TowerGeometry) -> None:
    """Write all files of a tower except its weights.

    Args:
        folder: created if absent.
        vocabulary: word pieces by token id.
        geometry: sizes of the tower.
    """
    folder = Path(folder)
    write_json(folder / "open_clip_config.json", geometry.open_clip_config(), public=True)
    write_json(folder / "config.json", geometry.bert_config(len(vocabulary)), public=True)
    tokenizer = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": geometry.context_length}
    write_json(folder / "tokenizer_config.json", tokenizer, public=True)
    with written_atomically(folder / "vocab.txt", public=True) as temporary:
        temporary.write_text("\n".join(vocabulary) + "\n", encoding="utf-8")


def build_tower(folder: Path) -> tuple[Any, Any]:
    """The open_clip model of a folder, with random weights, and its tokenizer. open_clip has no types."""
    import open_clip

    text_cfg = json.loads((folder / "open_clip_config.json").read_text())["model_cfg"]["text_cfg"]
    text_cfg |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    name = f"local-dir:{folder}"
    with quiet_root_logger():
        model = open_clip.create_model(name, text_cfg=text_cfg, load_weights=False)
    return model, open_clip.get_tokenizer(name, local_files_only=True, trust_remote_code=False)


def write_tower_weights(path: Path, model: nn.Module) -> None:
    """Write all weights as float16 safetensors."""
    from safetensors.torch import save_file

    state = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    with written_atomically(path, public=True) as temporary:
        save_file(state, temporary)
