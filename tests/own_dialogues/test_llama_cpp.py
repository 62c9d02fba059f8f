"""What export.py writes for llama.cpp, in llama.cpp: the same tokens, log p within rounding, the same labels.

Skipped without tests/requirements-llama-cpp.txt.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from commands import REPOSITORY
from data_utils.dialogues import load_dialogues
from gguf_checkpoints import exported, train
from own_dialogues.recognizer import EmotionRecognizer

llama_cpp = pytest.importorskip("llama_cpp")

pytestmark = pytest.mark.numeric

TEXT = 'Speaker_0:"Oh,   no. 42 \U0001f600!\n\n I\'m\tlate"'
LLAMA3 = {"rope_type": "llama3", "rope_theta": 100.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
KINDS = {
    "llama": ("llama", {}),
    "own head": ("llama", {"tie_word_embeddings": False, "rope_parameters": {"rope_theta": 500.0}}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3 | {"original_max_position_embeddings": 64}}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", {"head_dim": 16}),
}
FP32 = 0  # of ggml's types; keys and values would be kept in fp16


def open_file(path: Path, length: int):
    return llama_cpp.Llama(
        str(path), n_ctx=length, n_threads=1, logits_all=True, type_k=FP32, type_v=FP32, verbose=False
    )


@pytest.mark.parametrize("kind", KINDS)
def test_logits_and_tokens_of_each_architecture(tmp_path: Path, kind: str) -> None:
    architecture, changes = KINDS[kind]
    checkpoint = train(tmp_path, architecture, **changes)
    merged = exported(checkpoint, tmp_path / "merged", "fp32", "merged")
    file = exported(checkpoint, tmp_path / "file", "fp32") / "model-fp32.gguf"
    ids = AutoTokenizer.from_pretrained(merged)(TEXT * 3)["input_ids"]
    model = AutoModelForCausalLM.from_pretrained(merged, dtype=torch.float32).eval()
    with torch.inference_mode():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    theirs = open_file(file, 512)
    assert theirs.tokenize((TEXT * 3).encode(), add_bos=True, special=True) == ids
    theirs.eval(ids)
    np.testing.assert_allclose(theirs.scores[: len(ids)], expected, rtol=1e-3, atol=1e-3)


def label_scores(theirs, prompt: list[int], labels: list[list[int]]) -> list[float]:
    """log p of each label, its end token too, under a prompt that is read once."""
    theirs.reset()
    theirs.eval(prompt)
    found = []
    for label in labels:
        theirs.n_tokens = len(prompt)  # the next call forgets what follows
        theirs.eval(label)
        rows = torch.from_numpy(theirs.scores[len(prompt) - 1 : len(prompt) - 1 + len(label)].copy())
        found.append(float(rows.log_softmax(-1).gather(-1, torch.tensor(label)[:, None]).sum()))
    return found


@pytest.mark.slow
def test_the_sample_gets_the_same_labels(shipped_adapter: Path, tmp_path: Path) -> None:
    file = exported(shipped_adapter, tmp_path / "file", "fp32") / "model-fp32.gguf"
    ours = EmotionRecognizer.from_pretrained(shipped_adapter, precision="fp32", decode="score")
    labels = [ours.encoder.encode_label(label) for label in ours.config.labels]
    theirs = open_file(file, ours.config.max_length + 8)
    dialogues = load_dialogues("sample", REPOSITORY / "original_data")["test"]
    apart = 0.0
    for dialogue in dialogues:
        spoken = [(f"Speaker {turn.speaker}", turn.text) for turn in dialogue.utterances]
        answers = zip(ours.predict(spoken), ours.seen_prompts(spoken), strict=True)
        for answer, prompt in answers:
            ids = theirs.tokenize(prompt.encode(), add_bos=True, special=True)
            scores = torch.tensor(label_scores(theirs, ids, labels))
            assert ours.config.labels[int(scores.argmax())] == answer.emotion
            expected = torch.tensor(list(answer.probabilities.values())).log()
            apart = max(apart, float((scores.log_softmax(-1) - expected).abs().max()))
    assert apart < 1e-3
    assert len(dialogues) > 3
