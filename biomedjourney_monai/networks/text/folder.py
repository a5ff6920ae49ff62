"""Load a text tower from a local folder, without network access.

Four kinds of folder are read, as they are published:

- an open_clip model with a Hugging Face text tower (BiomedCLIP, and the small tower of this package);
- an open_clip model with CLIP's own text tower;
- a plain BERT, such as PubMedBERT, without `open_clip_config.json`;
- CLIP in the layout of Hugging Face, such as the text_encoder and tokenizer of Stable Diffusion 1.5 in one folder.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.text.clip import NO_TOKEN, OFFLINE, HubClipStates, read_clip_text
from biomedjourney_monai.networks.text.small_tower import read_small_tower
from biomedjourney_monai.networks.weights.model_file import refuse_pointer, weights_hash

CLIP_CONFIG = "open_clip_config.json"
BERT_CONFIG = "config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
VOCABULARIES = ("vocab.txt", "tokenizer.json")
CLIP_VOCABULARY = ("vocab.json", "merges.txt")
CLIP_MODELS = ("clip", "clip_text_model")
"""`model_type` of a whole CLIP and of its text tower alone."""
SMALL_TOWER = "biomedjourney/small-text-tower"
"""`hf_model_name` of the towers that `train-text` writes."""
SMALL_WEIGHTS = "open_clip_model.safetensors"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pth")
PLAIN_BERT_CONTEXT = 256
"""Context length of a plain BERT, whose files state none: BiomedCLIP's."""

_FROM_CLIP = "It is published with the open_clip model, e.g. microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224"
_FROM_HUB_CLIP = (
    "It is published with CLIP, e.g. openai/clip-vit-large-patch14, or in the folders text_encoder and tokenizer of "
    "Stable Diffusion 1.5: copy both into one"
)
_FROM_BERT = (
    "It is published with the BERT that the text tower is made of, "
    "e.g. microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
)


@dataclass(frozen=True)
class LoadedTower:
    """A text tower loaded from its folder.

    Args:
        transformer: (ids, mask), both of shape (B, N), to token states of shape (B, N, W).
        tokenizer: texts and a length to token ids of shape (B, length), padded and cut.
        pad_token_id: id of the padding token.
        width: W, features of a token state.
        context_length: L, the most tokens of a text, including its first and last special token.
        files_hash: SHA-256 of all files that determine the token states.
    """

    transformer: nn.Module
    tokenizer: Callable[[list[str], int], Tensor]
    pad_token_id: int
    width: int
    context_length: int
    files_hash: str


def load_text_tower(folder: str | Path) -> LoadedTower:
    """Load the text tower of a local folder, strictly and as tensors only; nothing is downloaded.

    Args:
        folder: holds `open_clip_config.json`, the weights, BERT's `config.json`, `vocab.txt` (or `tokenizer.json`) and
            `tokenizer_config.json`. CLIP's own text tower needs the first two only, a plain BERT all but the first;
            CLIP in the layout of Hugging Face `config.json`, the weights, `vocab.json` and `merges.txt`.

    Raises:
        WeightsError: naming the missing file and where it comes from, or if the files do not fit each other.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise WeightsError(
            f"{folder} must be the folder of a text tower",
            found="no such folder",
            action="Put BiomedCLIP or another text encoder there, as docs/how-to/text-encoders.md of the bundle "
            "describes, or pass the folder of one",
        )
    for file in _weights(folder):
        refuse_pointer(file)
    is_plain = not (folder / CLIP_CONFIG).is_file() and (folder / BERT_CONFIG).is_file() and bool(_weights(folder))
    if is_plain and not any(file.name.startswith("open_clip") for file in _weights(folder)):
        is_clip = _read_model_type(folder) in CLIP_MODELS
        return _load_plain_clip(folder) if is_clip else _load_plain_bert(folder)
    text_config = _read_text_config(folder)
    is_small = text_config.get("hf_model_name") == SMALL_TOWER and (folder / SMALL_WEIGHTS).is_file()
    return _load_small(folder, text_config) if is_small else _load_clip(folder, text_config)


class BertStates(nn.Module):
    """Last hidden states of a Hugging Face text transformer."""

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids and mask, shape (B, N), to states, shape (B, N, W)."""
        return self.bert(input_ids=ids, attention_mask=mask).last_hidden_state


class ClipStates(nn.Module):
    """Token states of CLIP's own causal text transformer, after its last norm."""

    def __init__(self, text: Any) -> None:
        super().__init__()
        text.output_tokens = True
        text.text_projection = None  # only the pooled output needs it
        self.text: Any = text

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Token ids, shape (B, N), to states, shape (B, N, W); a causal tower needs no mask."""
        length = ids.shape[1]
        missing = self.text.context_length - length  # the tower's mask has a fixed size
        whole = nn.functional.pad(ids, (0, missing), value=self.text.pad_id)
        return self.text(whole)[1][:, :length]


def _load_small(folder: Path, text_config: dict[str, Any]) -> LoadedTower:
    _require_files(folder, with_bert=True)
    with _readable_failure(folder):
        bert, tokenizer, config = read_small_tower(folder, folder / SMALL_WEIGHTS)
    return LoadedTower(
        transformer=bert,
        tokenizer=tokenizer,
        pad_token_id=config["pad_token_id"],
        width=config["hidden_size"],
        context_length=int(text_config["context_length"]),
        files_hash=_hash_files(folder),
    )


def _load_clip(folder: Path, text_config: dict[str, Any]) -> LoadedTower:
    is_bert = bool(text_config.get("hf_model_name"))
    _require_files(folder, with_bert=is_bert)
    import open_clip

    name = f"local-dir:{folder}"
    override = {"hf_model_name": str(folder), "hf_model_pretrained": False} if is_bert else {}
    with _readable_failure(folder), quiet_root_logger():
        model = open_clip.create_model(
            name,
            text_cfg={**text_config, **override},
            require_pretrained=True,
            force_custom_text=True,
            weights_only=True,
        )
        tokenizer = open_clip.get_tokenizer(name, **(OFFLINE if is_bert else {}))
    text = model.text
    return LoadedTower(
        transformer=BertStates(text.transformer) if is_bert else ClipStates(text),
        tokenizer=tokenizer,
        pad_token_id=int(text.config.pad_token_id if is_bert else text.pad_id),
        width=int(text.config.hidden_size if is_bert else text.transformer.width),
        context_length=int(text_config.get("context_length", tokenizer.context_length)),
        files_hash=_hash_files(folder),
    )


def _load_plain_bert(folder: Path) -> LoadedTower:
    _require_files(folder, with_bert=True, with_clip=False)
    import transformers
    from open_clip.tokenizer import HFTokenizer

    bert: Any
    with _readable_failure(folder):
        bert, fit = transformers.AutoModel.from_pretrained(
            str(folder), output_loading_info=True, add_pooling_layer=False, dtype=torch.float32, **OFFLINE
        )
        context_length = min(PLAIN_BERT_CONTEXT, int(bert.config.max_position_embeddings))
        tokenizer = HFTokenizer(str(folder), context_length=context_length, **OFFLINE)
    _require_fit(folder, sorted(str(key) for key in [*fit["missing_keys"], *fit["mismatched_keys"]]))
    return LoadedTower(
        transformer=BertStates(bert),
        tokenizer=tokenizer,
        pad_token_id=int(bert.config.pad_token_id),
        width=int(bert.config.hidden_size),
        context_length=context_length,
        files_hash=_hash_files(folder),
    )


def _load_plain_clip(folder: Path) -> LoadedTower:
    for name in CLIP_VOCABULARY:
        _require((folder / name).is_file() or (folder / "tokenizer.json").is_file(), folder, name, _FROM_HUB_CLIP)
    with _readable_failure(folder):
        clip, tokenizer, unfit = read_clip_text(folder)
    _require_fit(folder, unfit)
    return LoadedTower(
        transformer=HubClipStates(clip),
        tokenizer=tokenizer,
        pad_token_id=NO_TOKEN,
        width=int(clip.config.hidden_size),
        context_length=int(clip.config.max_position_embeddings),
        files_hash=_hash_files(folder),
    )


def _require_fit(folder: Path, unfit: list[str]) -> None:
    if unfit:
        raise WeightsError(
            f"weights in {folder} must fit its {BERT_CONFIG}",
            found=f"{len(unfit)} tensors missing or of another shape, first {unfit[0]}",
            action="Take both files from the same model",
        )


def _read_model_type(folder: Path) -> str:
    try:
        return str(json.loads((folder / BERT_CONFIG).read_text(encoding="utf-8"))["model_type"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder / BERT_CONFIG} must be a model's configuration that contains model_type",
            found=type(error).__name__,
            action=_FROM_BERT,
        ) from error


def _read_text_config(folder: Path) -> dict[str, Any]:
    path = folder / CLIP_CONFIG
    _require(path.is_file(), folder, CLIP_CONFIG, _FROM_CLIP)
    try:
        text_config = json.loads(path.read_text(encoding="utf-8"))["model_cfg"]["text_cfg"]
        is_bert, has_tokenizer = (bool(text_config.get(f"hf_{part}_name")) for part in ("model", "tokenizer"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path} must be open_clip's configuration, with model_cfg and text_cfg",
            found=type(error).__name__,
            action=_FROM_CLIP,
        ) from error
    if is_bert and not has_tokenizer:  # open_clip would silently use CLIP's tokenizer with a BERT
        raise WeightsError(
            f"{path} must name hf_tokenizer_name where it names hf_model_name",
            found="no such entry",
            action="Set it to the same name as hf_model_name; the files are read from the folder",
        )
    return text_config


def _require_files(folder: Path, *, with_bert: bool, with_clip: bool = True) -> None:
    source = _FROM_CLIP if with_clip else _FROM_BERT
    weights = "open_clip_model.safetensors or open_clip_pytorch_model.bin" if with_clip else "model.safetensors"
    _require(bool(_weights(folder)), folder, f"weights ({weights})", source)
    if with_bert:
        _require((folder / BERT_CONFIG).is_file(), folder, BERT_CONFIG, _FROM_BERT)
        has_vocabulary = any((folder / name).is_file() for name in VOCABULARIES)
        _require(has_vocabulary, folder, " or ".join(VOCABULARIES), _FROM_BERT)
        _require((folder / TOKENIZER_CONFIG).is_file(), folder, TOKENIZER_CONFIG, _FROM_BERT)


def _require(is_there: bool, folder: Path, name: str, source: str) -> None:
    if not is_there:
        raise WeightsError(f"{folder} must hold {name}", found="no such file", action=source)


def _weights(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix in WEIGHT_SUFFIXES and file.is_file())


@contextmanager
def _readable_failure(folder: Path) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # open_clip, transformers, safetensors and torch each raise their own
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        found = " ".join(lines[:2])[:240] or type(error).__name__
        raise WeightsError(
            f"the files in {folder} must be whole and fit each other",
            found=f"{type(error).__name__}: {found}",
            action="Copy the folder from its source again; weights are read as tensors only",
        ) from error


@contextmanager
def quiet_root_logger() -> Iterator[None]:
    """Silence open_clip's messages on the root logger, where `logging.info` would also install a handler."""
    root = logging.getLogger()
    level = root.level
    keeper = logging.NullHandler()
    root.addHandler(keeper)
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)
        root.removeHandler(keeper)


def _hash_files(folder: Path) -> str:
    digest = hashlib.sha256()
    fixed = {CLIP_CONFIG, BERT_CONFIG, TOKENIZER_CONFIG, *VOCABULARIES, *CLIP_VOCABULARY}
    names = {*fixed, *(file.name for file in _weights(folder))}
    for name in sorted(names):
        if (folder / name).is_file():
            digest.update(f"{name} {weights_hash(folder / name)}\n".encode())
    return digest.hexdigest()
