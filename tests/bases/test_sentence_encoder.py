"""Sentence encoders: unit vectors, kept on disk, and one line for one that is not there; on a tiny random encoder."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import BertConfig, BertModel, BertTokenizer

from bases import encoder as sentence_encoder
from bases.encoder import SentenceEncoder, resolve_encoder
from bases.load import LOADING
from basics.errors import UserError

TEXTS = ["what a day", "a day", "what a day", "oh no"]
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "what", "a", "day", "oh", "no"]


@pytest.fixture(scope="module")
def tiny_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder: a random BERT of two small layers, mean pooling."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer

    folder = tmp_path_factory.mktemp("encoder")
    bert, vocabulary = folder / "bert", folder / "vocab.txt"
    vocabulary.write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16}
    BertModel(BertConfig(vocab_size=len(WORDS), **sizes)).save_pretrained(bert)
    BertTokenizer(str(vocabulary)).save_pretrained(bert)
    layers = Transformer(str(bert))
    SentenceTransformer(modules=[layers, Pooling(16)], device="cpu").save(str(folder / "whole"))
    return folder / "whole"


def test_vectors_have_length_one_and_equal_texts_are_equal(tiny_encoder: Path, tmp_path: Path) -> None:
    vectors = SentenceEncoder(str(tiny_encoder), tmp_path)(TEXTS)
    assert vectors.dtype == np.float32 and vectors.shape == (4, 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert (vectors[0] == vectors[2]).all() and not np.allclose(vectors[0], vectors[1])


def test_texts_are_embedded_once(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = SentenceEncoder(str(tiny_encoder), tmp_path)(TEXTS)
    again = SentenceEncoder(str(tiny_encoder), tmp_path)
    monkeypatch.setattr(SentenceEncoder, "_load", lambda self: pytest.fail("loaded the model again"))
    assert (again(TEXTS) == vectors).all() and (again(TEXTS[::-1]) == vectors[::-1]).all()
    assert len(list(tmp_path.glob("*.npy"))) == 1


def test_without_a_cache_nothing_is_kept(tiny_encoder: Path, tmp_path: Path) -> None:
    vectors = SentenceEncoder(str(tiny_encoder), tmp_path)(TEXTS)
    written = list(tmp_path.iterdir())
    own = SentenceEncoder(str(tiny_encoder), tmp_path)
    own.cache = None
    np.testing.assert_allclose(own(TEXTS), vectors, atol=1e-6)
    assert own(TEXTS[:1]).shape == (1, 16) and list(tmp_path.iterdir()) == written


def test_it_is_loaded_while_no_other_model_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One thread would set back the precision that PyTorch takes by default while the other has its own."""

    def load(*_: object, **__: object) -> None:
        held.append(LOADING.locked())
        raise ValueError("it is none")

    (tmp_path / "modules.json").touch()
    held: list[bool] = []
    monkeypatch.setitem(sys.modules, "sentence_transformers", SimpleNamespace(SentenceTransformer=load))
    with pytest.raises(UserError, match="cannot be loaded: it is none"):
        SentenceEncoder(str(tmp_path), None)(TEXTS)
    assert held == [True] and not LOADING.locked()


DECIDES = {
    "model.safetensors": True,
    "modules.json": True,
    "config.json": True,
    "1_Pooling/config.json": True,
    "tokenizer.json": True,
    "tokenizer_config.json": True,
    "2_Dense/model.safetensors": True,
    "README.md": False,
    "SOURCE.json": False,
    ".cache/download/notes.json": False,
}


@pytest.mark.parametrize("name", DECIDES)
def test_other_files_are_another_encoder(tiny_encoder: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "encoder"
    shutil.copytree(tiny_encoder, folder)
    first = SentenceEncoder(str(folder), tmp_path / "cache").identity
    assert first == SentenceEncoder(str(tiny_encoder), None).identity  # where it lies does not matter
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with open(folder / name, "ab") as stream:
        stream.write(b"\n")
    assert (SentenceEncoder(str(folder), None).identity != first) is DECIDES[name]


@pytest.mark.parametrize("name", ["no-such-encoder", "owner/name", "/nowhere/at/all"])
def test_missing_encoder_is_one_line(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=f"^encoder {name}: neither a folder.*all-MiniLM-L6-v2") as raised:
        resolve_encoder(name)
    assert "\n" not in str(raised.value)


def test_the_default_is_fetched_first(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sentence_encoder, "find_repository", lambda: tmp_path)
    with pytest.raises(UserError, match="python LLM_bases/fetch.py all-MiniLM-L6-v2"):
        resolve_encoder("all-MiniLM-L6-v2")


def test_a_folder_that_is_no_encoder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "modules.json").write_text("[]")
    (tmp_path / "config.json").write_text("not JSON")
    with pytest.raises(UserError, match="cannot be loaded"):
        SentenceEncoder(str(tmp_path), tmp_path / "cache")(TEXTS)
