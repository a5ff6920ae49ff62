"""Read the small text tower by PyTorch alone: open_clip and transformers take three seconds to import."""

import html
import json
from pathlib import Path

import torch
from torch import Tensor, nn

LAYER = "text.transformer.encoder.layer"
EMBEDDINGS = "text.transformer.embeddings"


class WordPieces:
    """Texts and a length to token ids of shape (B, length), padded and cut, as open_clip's tokenizer of a BERT does.

    Args:
        vocabulary: file of the word pieces, one a line.
        lowercase: whether the pieces are.
    """

    def __init__(self, vocabulary: Path, *, lowercase: bool) -> None:
        from tokenizers import BertWordPieceTokenizer

        self.tokenizer = BertWordPieceTokenizer(str(vocabulary), lowercase=lowercase)

    def __call__(self, texts: list[str], length: int) -> Tensor:
        import ftfy

        cleaned = [" ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split()) for text in texts]
        self.tokenizer.enable_truncation(length)
        self.tokenizer.enable_padding(length=length)
        return torch.tensor([encoding.ids for encoding in self.tokenizer.encode_batch(cleaned)])


class SmallBert(nn.Module):
    """Last hidden states of a BERT with PyTorch's encoder layers.

    Args:
        config: content of BERT's `config.json`.
    """

    def __init__(self, config: dict[str, int]) -> None:
        super().__init__()
        width = config["hidden_size"]
        self.words = nn.Embedding(config["vocab_size"], width)
        self.positions = nn.Embedding(config["max_position_embeddings"], width)
        self.norm = nn.LayerNorm(width, eps=1e-12)
        layer = nn.TransformerEncoderLayer(
            width,
            config["num_attention_heads"],
            config["intermediate_size"],
            dropout=0.0,
            activation="gelu",
            layer_norm_eps=1e-12,
            batch_first=True,
        )
        self.layers = nn.TransformerEncoder(layer, config["num_hidden_layers"], enable_nested_tensor=False)

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask, shape (B, N), to states, shape (B, N, W)."""
        states = self.norm(self.words(ids) + self.positions.weight[: ids.shape[1]])
        return self.layers(states, src_key_padding_mask=mask == 0)

    def load(self, weights: dict[str, Tensor]) -> None:
        """Take the tensors of an open_clip model whose text tower is Hugging Face's BERT.

        Raises:
            KeyError: if one is missing.
            RuntimeError: if one has another shape.
        """
        state = {
            "words.weight": weights[f"{EMBEDDINGS}.word_embeddings.weight"],
            # every text is of the first type
            "positions.weight": weights[f"{EMBEDDINGS}.position_embeddings.weight"]
            + weights[f"{EMBEDDINGS}.token_type_embeddings.weight"][:1],
        }
        parts = {"self_attn.out_proj": "attention.output.dense", "norm1": "attention.output.LayerNorm"}
        parts |= {"linear1": "intermediate.dense", "linear2": "output.dense", "norm2": "output.LayerNorm"}
        for kind in ("weight", "bias"):
            state[f"norm.{kind}"] = weights[f"{EMBEDDINGS}.LayerNorm.{kind}"]
            for number in range(len(self.layers.layers)):
                own, theirs = f"layers.layers.{number}", f"{LAYER}.{number}"
                joined = [weights[f"{theirs}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
                state[f"{own}.self_attn.in_proj_{kind}"] = torch.cat(joined)
                state |= {f"{own}.{part}.{kind}": weights[f"{theirs}.{name}.{kind}"] for part, name in parts.items()}
        self.load_state_dict(state)


def read_small_tower(folder: Path, weights: Path) -> tuple[SmallBert, WordPieces, dict[str, int]]:
    """Read the tower (float32), its tokenizer and the content of `config.json`, as tensors only.

    Args:
        folder: holds `config.json`, `tokenizer_config.json` and `vocab.txt`.
        weights: safetensors of the whole open_clip model.
    """
    from safetensors.torch import load_file

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    bert = SmallBert(config)
    bert.load({name: value.float() for name, value in load_file(weights).items()})
    lowercase = bool(json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))["do_lower_case"])
    return bert, WordPieces(folder / "vocab.txt", lowercase=lowercase), config
