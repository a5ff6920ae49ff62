import copy
import json
import logging
import pickle
import shutil
import socket
import string
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from biomedjourney_monai.errors import WeightsError
from biomedjourney_monai.networks.text.encoder import TextEncoder

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
WORDS = ["left", "right", "effusion", "small", "large", "new", "resolved", "."]
TEXT = "New small left effusion."


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)


def write_tokenizer(folder: Path) -> int:
    letters = [*string.ascii_lowercase, *string.digits]
    vocabulary = [*SPECIAL, *letters, *(f"##{letter}" for letter in letters), *WORDS]
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "do_lower_case": True})
    )
    return len(vocabulary)


def write_bert_config(folder: Path, *, vocab_size: int, width: int, layers: int, positions: int) -> None:
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": vocab_size,
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": 4,
        "intermediate_size": 4 * width,
        "max_position_embeddings": positions,
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config))


def biomedclip_config(vision: dict, *, context_length: int) -> dict:
    """The keys and names of BiomedCLIP's own open_clip_config.json."""
    bert = "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract"
    return {
        "model_cfg": {
            "embed_dim": 32,
            "vision_cfg": vision,
            "text_cfg": {
                "hf_model_name": bert,
                "hf_tokenizer_name": bert,
                "hf_proj_type": "mlp",
                "hf_pooler_type": "cls_last_hidden_state_pooler",
                "context_length": context_length,
            },
        },
        "preprocess_cfg": {"mean": [0.48, 0.46, 0.41], "std": [0.27, 0.26, 0.28]},
    }


def build_open_clip(folder: Path, config: dict) -> torch.nn.Module:
    """A randomly initialised model of the folder, built without the code under test."""
    import open_clip

    text_cfg = {**config["model_cfg"]["text_cfg"]}
    if "hf_model_name" in text_cfg:
        text_cfg |= {"hf_model_name": str(folder), "hf_model_pretrained": False}
    torch.manual_seed(0)
    return open_clip.model.CustomTextCLIP(**{**config["model_cfg"], "text_cfg": text_cfg}).eval()


@pytest.fixture(scope="module")
def biomedclip(tmp_path_factory) -> Path:
    """BiomedCLIP's layout with random weights: 2 BERT layers 32 wide, context 24."""
    folder = tmp_path_factory.mktemp("biomedclip")
    vocab_size = write_tokenizer(folder)
    write_bert_config(folder, vocab_size=vocab_size, width=32, layers=2, positions=64)
    config = biomedclip_config(
        {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32}, context_length=24
    )
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    save_file(build_open_clip(folder, config).state_dict(), folder / "open_clip_model.safetensors")
    return folder


@pytest.fixture
def copied(biomedclip, tmp_path) -> Path:
    return Path(shutil.copytree(biomedclip, tmp_path / "tower"))


@pytest.fixture(scope="module")
def encoder(biomedclip) -> TextEncoder:
    return TextEncoder.from_folder(biomedclip)


def test_states_equal_open_clip_at_full_context_and_are_zero_past_the_text(biomedclip, encoder):
    config = json.loads((biomedclip / "open_clip_config.json").read_text())
    model = build_open_clip(biomedclip, config)
    model.load_state_dict(load_file(biomedclip / "open_clip_model.safetensors"))
    model.text.output_tokens = True
    # [CLS] new small left effusion . [SEP]
    ids = torch.zeros(1, 24, dtype=torch.long)
    vocabulary = (biomedclip / "vocab.txt").read_text().split()
    for position, word in enumerate(["[CLS]", "new", "small", "left", "effusion", ".", "[SEP]"]):
        ids[0, position] = vocabulary.index(word)
    with torch.no_grad():
        expected = model.text(ids)[1]
    states = encoder.encode([TEXT])
    assert states.shape == (1, 24, 32) and states.dtype == torch.float32
    torch.testing.assert_close(states[0, :7], expected[0, :7], atol=1e-5, rtol=1e-4)
    assert expected[0, 7:].abs().min() > 0 and torch.equal(states[0, 7:], torch.zeros(17, 32))


def test_attributes_come_from_the_folder(encoder):
    assert (encoder.width, encoder.context_length) == (32, 24)
    assert len(encoder.weights_hash) == 64


def test_only_the_text_transformer_is_kept_frozen_and_in_evaluation(encoder):
    assert not any("visual" in name or "proj" in name or "logit" in name for name, _ in encoder.named_parameters())
    assert not any(parameter.requires_grad for parameter in encoder.parameters())
    outer = torch.nn.Sequential(encoder).train()
    assert outer.training and not any(module.training for module in encoder.modules())


def test_null_text_is_two_special_tokens(encoder):
    null = encoder.encode(["", "  \n"])
    assert torch.equal(null[0], null[1])
    assert null[0, :2].abs().sum() > 0 and not null[0, 2:].any()
    assert not torch.equal(null[0], encoder.encode([TEXT])[0])


def test_states_do_not_depend_on_the_neighbours_to_the_last_bit(biomedclip):
    alone = TextEncoder.from_folder(biomedclip).encode([TEXT])[0]
    among = TextEncoder.from_folder(biomedclip).encode(["Resolved.", "right " * 50, TEXT, ""])[2]
    assert torch.equal(alone, among)


def test_no_text_gives_an_empty_batch(encoder):
    assert encoder.encode([]).shape == (0, 24, 32)


@pytest.mark.parametrize("wrong", ["left effusion", [None], [TEXT, 3]])
def test_anything_but_a_list_of_strings_is_refused(encoder, wrong):
    with pytest.raises(TypeError, match="list of strings"):
        encoder.encode(wrong)


def test_long_texts_are_cut_and_counted_without_their_words(biomedclip, caplog):
    encoder = TextEncoder.from_folder(biomedclip)
    fits, too_long = "left " * 22, "left " * 23  # 22 words and two special tokens are 24
    with caplog.at_level(logging.WARNING):
        states = encoder.encode([fits, too_long, TEXT])
    assert encoder.truncated == 1
    assert "1 of 3 texts" in caplog.text and "left" not in caplog.text
    assert torch.equal(states[0], states[1])


def test_cache_keeps_the_last_used_texts_and_returns_the_same_states(biomedclip):
    encoder = TextEncoder.from_folder(biomedclip, cache_size=2)
    calls = []
    encoder.transformer.register_forward_hook(lambda *_: calls.append(1))
    first = encoder.encode(["left", "right", "left"])
    assert len(calls) == 2 and torch.equal(first[0], first[2])
    first.zero_()  # a caller that changes the result must not change the cache
    again = encoder.encode(["left", "new", "left", "right"])  # "new" drops "right"
    assert len(calls) == 4 and again[0].any() and torch.equal(again[0], again[2])


def test_copies_and_pickles_work_and_carry_no_texts(encoder):
    states = encoder.encode(["right large"])
    for twin in (copy.deepcopy(encoder), pickle.loads(pickle.dumps(encoder))):
        assert twin._cache == {}
        assert torch.equal(twin.encode(["right large"]), states)
    assert b"right large" not in pickle.dumps(encoder)


def test_autocast_around_it_changes_nothing(biomedclip):
    plain = TextEncoder.from_folder(biomedclip).encode([TEXT])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(TextEncoder.from_folder(biomedclip).encode([TEXT]), plain)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(st.characters(), max_size=200) | st.sampled_from(["[PAD] left", "[MASK]", "[SEP][SEP]", "\ud800"]))
def test_any_text_gives_finite_states_of_one_shape_twice_the_same(encoder, text):
    encoder._cache.clear()
    first = encoder.encode([text])
    encoder._cache.clear()
    assert first.shape == (1, 24, 32) and bool(first.isfinite().all()) and bool(first[0, 0].any())
    assert torch.equal(encoder.encode([text]), first)


def test_the_hash_follows_weights_and_vocabulary(copied, encoder):
    assert TextEncoder.from_folder(copied).weights_hash == encoder.weights_hash
    words = (copied / "vocab.txt").read_text()
    (copied / "vocab.txt").write_text(words.replace("left\nright", "right\nleft"))
    assert TextEncoder.from_folder(copied).weights_hash != encoder.weights_hash


def test_half_precision_weights_load_as_float32(copied, encoder):
    path = copied / "open_clip_model.safetensors"
    save_file({name: value.half() for name, value in load_file(path).items()}, path)
    states = TextEncoder.from_folder(copied).encode([TEXT])
    assert states.dtype == torch.float32
    torch.testing.assert_close(states, encoder.encode([TEXT]), atol=2e-2, rtol=2e-2)


def test_pytorch_weights_load_as_tensors_only(copied, encoder):
    path = copied / "open_clip_model.safetensors"
    torch.save(load_file(path), copied / "open_clip_pytorch_model.bin")
    path.unlink()
    assert torch.equal(TextEncoder.from_folder(copied).encode([TEXT]), encoder.encode([TEXT]))


class _Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (Path.write_text, (self.target, "boom"))


def test_code_in_pytorch_weights_is_refused_and_not_run(copied):
    (copied / "open_clip_model.safetensors").unlink()
    torch.save({"state_dict": _Bomb(copied / "boom")}, copied / "open_clip_pytorch_model.bin")
    with pytest.raises(WeightsError, match="whole and fit"):
        TextEncoder.from_folder(copied)
    assert not (copied / "boom").exists()


def test_code_beside_the_tokenizer_is_not_run(copied):
    (copied / "evil.py").write_text(f"open({str(copied / 'boom')!r}, 'w')\nclass Evil: pass\n")
    config = json.loads((copied / "tokenizer_config.json").read_text())
    config |= {"auto_map": {"AutoTokenizer": ["evil.Evil", None]}, "tokenizer_class": "Evil"}
    (copied / "tokenizer_config.json").write_text(json.dumps(config))
    clip = json.loads((copied / "open_clip_config.json").read_text())
    clip["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    (copied / "open_clip_config.json").write_text(json.dumps(clip))
    with pytest.raises(WeightsError):
        TextEncoder.from_folder(copied)
    assert not (copied / "boom").exists()


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("open_clip_config.json", "BiomedCLIP"),
        ("open_clip_model.safetensors", "BiomedCLIP"),
        ("config.json", "BiomedBERT"),
        ("vocab.txt", "BiomedBERT"),
        ("tokenizer_config.json", "BiomedBERT"),
    ],
)
def test_a_missing_file_is_named_with_its_source(copied, name, source):
    (copied / name).unlink()
    with pytest.raises(WeightsError) as error:
        TextEncoder.from_folder(copied)
    assert name in str(error.value) and source in str(error.value)


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(WeightsError, match="no such folder"):
        TextEncoder.from_folder(tmp_path / "absent")


def test_a_pointer_of_git_lfs_is_called_one(copied):
    weights = next(copied.glob("*.safetensors"))
    weights.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:1a\nsize 783000000\n")
    with pytest.raises(WeightsError, match="git lfs pull"):
        TextEncoder.from_folder(copied)


def test_weights_that_lack_a_tensor_or_are_cut_short_are_refused(copied):
    path = copied / "open_clip_model.safetensors"
    tensors = load_file(path)
    name = "text.transformer.embeddings.word_embeddings.weight"
    save_file({key: value for key, value in tensors.items() if key != name}, path)
    with pytest.raises(WeightsError, match="word_embeddings"):
        TextEncoder.from_folder(copied)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="whole"):
        TextEncoder.from_folder(copied)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"model_cfg": {"text_cfg": 3}}', "\x00"])
def test_a_broken_configuration_is_refused(copied, content):
    (copied / "open_clip_config.json").write_text(content)
    with pytest.raises(WeightsError, match="open_clip"):
        TextEncoder.from_folder(copied)


def test_a_bert_without_a_named_tokenizer_is_refused(copied):
    config = json.loads((copied / "open_clip_config.json").read_text())
    del config["model_cfg"]["text_cfg"]["hf_tokenizer_name"]
    (copied / "open_clip_config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="hf_tokenizer_name"):
        TextEncoder.from_folder(copied)


def test_clips_own_text_tower_loads_through_the_same_interface(tmp_path):
    config = {
        "model_cfg": {
            "embed_dim": 16,
            "vision_cfg": {"layers": 1, "width": 32, "head_width": 16, "patch_size": 16, "image_size": 32},
            "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
        }
    }
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    model = build_open_clip(tmp_path, config)
    save_file(model.state_dict(), tmp_path / "open_clip_model.safetensors")
    encoder = TextEncoder.from_folder(tmp_path)
    assert (encoder.width, encoder.context_length) == (16, 77)
    from open_clip import SimpleTokenizer

    text = "left! effusion"  # "!" is CLIP's token 0, the padding's too
    model.text.output_tokens = True
    with torch.no_grad():
        expected = model.text(SimpleTokenizer(context_length=77)([text]))[1]
    states = encoder.encode([text])
    torch.testing.assert_close(states[0, :6], expected[0, :6], atol=1e-5, rtol=1e-4)
    assert not states[0, 6:].any()


def test_a_plain_bert_loads_through_the_same_interface(tmp_path):
    from transformers import BertConfig, BertModel

    vocab_size = write_tokenizer(tmp_path)
    write_bert_config(tmp_path, vocab_size=vocab_size, width=32, layers=1, positions=40)
    torch.manual_seed(0)
    bert = BertModel(BertConfig.from_json_file(tmp_path / "config.json"), add_pooling_layer=False).eval()
    save_file(bert.state_dict(), tmp_path / "model.safetensors", metadata={"format": "pt"})
    encoder = TextEncoder.from_folder(tmp_path)
    assert (encoder.width, encoder.context_length) == (32, 40)
    ids = encoder._tokenize("left effusion")[:, :4]
    with torch.no_grad():
        expected = bert(ids).last_hidden_state
    torch.testing.assert_close(encoder.encode(["left effusion"])[0, :4], expected[0])
    tensors = load_file(tmp_path / "model.safetensors")
    tensors.pop("embeddings.word_embeddings.weight")
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="word_embeddings"):
        TextEncoder.from_folder(tmp_path)


def write_clip_tokenizer(folder: Path) -> int:
    """CLIP's byte-level vocabulary with a few merges, as vocab.json and merges.txt."""
    merges = ["l e", "le f", "lef t</w>", "n e", "ne w</w>"]
    characters = [*string.ascii_lowercase, *string.digits, ".", "!"]
    tokens = [*characters, *(f"{letter}</w>" for letter in characters), *(merge.replace(" ", "") for merge in merges)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    (folder / "vocab.json").write_text(json.dumps({token: index for index, token in enumerate(tokens)}))
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(merges) + "\n")
    config = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 12, "pad_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return len(tokens)


@pytest.fixture(params=["text tower alone", "whole CLIP"])
def hub_clip(request, tmp_path):
    """CLIP in Hugging Face's layout, 2 layers 16 wide, context 12: the text tower, and the tensors of its file."""
    from transformers import CLIPConfig, CLIPModel, CLIPTextConfig, CLIPTextModel

    vocab_size = write_clip_tokenizer(tmp_path)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 2}
    text = sizes | {"vocab_size": vocab_size, "max_position_embeddings": 12, "projection_dim": 8}
    text |= {"bos_token_id": vocab_size - 2, "eos_token_id": vocab_size - 1, "pad_token_id": vocab_size - 1}
    torch.manual_seed(0)
    if request.param == "whole CLIP":
        config = CLIPConfig(text_config=text, vision_config=sizes | {"image_size": 32, "patch_size": 16})
        model = CLIPModel(config).eval()
    else:
        config = CLIPTextConfig(**text)
        model = CLIPTextModel(config).eval()
    model.save_pretrained(tmp_path)
    tower = model.text_model if request.param == "whole CLIP" else model
    return tmp_path, tower, vocab_size


def test_clip_of_the_hub_loads_through_the_same_interface(hub_clip):
    folder, tower, vocab_size = hub_clip
    encoder = TextEncoder.from_folder(folder)
    assert (encoder.width, encoder.context_length) == (16, 12)
    vocabulary = json.loads((folder / "vocab.json").read_text())
    # <start> new left . <end>
    ids = torch.tensor(
        [[vocab_size - 2, vocabulary["new</w>"], vocabulary["left</w>"], vocabulary[".</w>"], vocab_size - 1]]
    )
    with torch.no_grad():
        expected = tower(input_ids=ids).last_hidden_state[0]
    states = encoder.encode(["New left.", ""])
    torch.testing.assert_close(states[0, :5], expected)
    assert not states[0, 5:].any()
    assert states[1, :2].any(dim=1).all() and not states[1, 2:].any()  # the end token is not taken for padding


def test_long_texts_for_clip_keep_their_end_token_and_are_counted(hub_clip):
    encoder = TextEncoder.from_folder(hub_clip[0])
    states = encoder.encode(["left " * 10, "left " * 11])
    assert encoder.truncated == 1
    assert torch.equal(states[0], states[1])


def test_clip_of_the_hub_that_is_not_whole_is_refused(hub_clip):
    folder = hub_clip[0]
    path = folder / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("token_embedding.weight"))
    save_file({key: value for key, value in tensors.items() if key != name}, path, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match="token_embedding"):
        TextEncoder.from_folder(folder)
    (folder / "merges.txt").unlink()
    with pytest.raises(WeightsError, match=r"merges\.txt.*Stable Diffusion 1\.5"):
        TextEncoder.from_folder(folder)


def test_pubmedbert_as_the_hub_publishes_it(tmp_path):
    """Weights of a masked language model: `bert.` before every name, a head, and a pickle of tensors."""
    from transformers import BertConfig, BertForMaskedLM

    vocab_size = write_tokenizer(tmp_path)
    write_bert_config(tmp_path, vocab_size=vocab_size, width=32, layers=1, positions=40)
    torch.manual_seed(0)
    model = BertForMaskedLM(BertConfig.from_json_file(tmp_path / "config.json")).eval()
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    encoder = TextEncoder.from_folder(tmp_path)
    ids = encoder._tokenize("left effusion")[:, :4]
    with torch.no_grad():
        expected = model.bert(ids).last_hidden_state
    torch.testing.assert_close(encoder.encode(["left effusion"])[0, :4], expected[0])


def test_the_three_encoders_of_the_papers_ablation_answer_alike(biomedclip, tmp_path):
    """One call for each, states of one shape per encoder, equal texts equal states, different texts different ones."""
    from transformers import BertConfig, BertModel, CLIPTextConfig, CLIPTextModel

    clip, bert = tmp_path / "clip", tmp_path / "pubmedbert"
    for folder in (clip, bert):
        folder.mkdir()
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_attention_heads": 2, "num_hidden_layers": 1}
    CLIPTextModel(
        CLIPTextConfig(**sizes, vocab_size=write_clip_tokenizer(clip), max_position_embeddings=12)
    ).save_pretrained(clip)
    write_bert_config(bert, vocab_size=write_tokenizer(bert), width=32, layers=1, positions=40)
    BertModel(BertConfig.from_json_file(bert / "config.json")).save_pretrained(bert)
    for folder in (biomedclip, clip, bert):
        encoder = TextEncoder.from_folder(folder)
        states = encoder.encode(["left", "right", "left", ""])
        assert states.shape == (4, encoder.context_length, encoder.width)
        assert torch.equal(states[0], states[2]) and not torch.equal(states[0], states[1])
        assert not any(parameter.requires_grad for parameter in encoder.parameters())
        assert copy.deepcopy(encoder).weights_hash == TextEncoder.from_folder(folder).weights_hash


@pytest.mark.parametrize("content", ["", "{}", "[]"])
def test_a_plain_folder_with_a_broken_configuration_is_refused(tmp_path, content):
    (tmp_path / "config.json").write_text(content)
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(WeightsError, match="model_type"):
        TextEncoder.from_folder(tmp_path)


def test_the_shipped_tower_keeps_its_hash_and_loads_with_the_network_blocked():
    folder = Path(__file__).parents[3] / "bundle" / "models"
    encoder = TextEncoder.from_folder(folder / "text_tower")
    trained_with = torch.load(folder / "model.pt", weights_only=True)["info"]["text_encoder"]
    assert encoder.weights_hash == trained_with
    assert encoder.encode(["New edema."]).any()


@pytest.mark.slow
def test_full_biomedclip_geometry_loads_offline(tmp_path):
    write_tokenizer(tmp_path)
    write_bert_config(tmp_path, vocab_size=30522, width=768, layers=12, positions=512)
    vision = {"timm_model_name": "vit_base_patch16_224", "timm_model_pretrained": False, "image_size": 224}
    config = biomedclip_config({**vision, "timm_pool": "", "timm_proj": "linear"}, context_length=256)
    config["model_cfg"]["embed_dim"] = 512
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    state = build_open_clip(tmp_path, config).state_dict()
    state["text.transformer.embeddings.position_ids"] = torch.arange(512)[None]  # as the published file has it
    torch.save(state, tmp_path / "open_clip_pytorch_model.bin")
    encoder = TextEncoder.from_folder(tmp_path)
    states = encoder.encode([TEXT, ""])
    assert states.shape == (2, 256, 768) and states[0, 6].any() and not states[0, 7:].any()
    assert sum(parameter.numel() for parameter in encoder.parameters()) < 110e6  # BERT base, nothing of the image tower
