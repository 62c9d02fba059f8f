"""ChatGLM2's and 3's tokenizer by SentencePiece itself, for a model that no fast tokenizer splits alike."""

from collections.abc import Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizer


class ChatGLM2Tokenizer(PreTrainedTokenizer):
    """Text to ids and back, padded on the left; every text begins with the marks of `prefix`.

    marks: names of the tokens behind the pieces. No text becomes one of them.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    model_input_names = ["input_ids", "attention_mask"]
    padding_side = "left"
    # AutoTokenizer takes a class that is registered for GLM only where tokenizer_config.json names a program too.
    _auto_map = {"AutoTokenizer": ["chatglm2_slow_tokenizer.ChatGLM2Tokenizer", None]}

    def __init__(self, vocab_file: str | Path, marks: Sequence[str], prefix: Sequence[str], **settings) -> None:
        self.vocab_file = vocab_file
        self.marks, self.prefix = list(marks), list(prefix)
        self.pieces = SentencePieceProcessor(model_file=str(vocab_file))
        unknown, end = (self.pieces.id_to_piece(index) for index in (self.pieces.unk_id(), self.pieces.eos_id()))
        settings.pop("auto_map", None)
        settings |= {"unk_token": unknown, "pad_token": unknown, "eos_token": end}
        super().__init__(marks=self.marks, prefix=self.prefix, **settings)

    @property
    def vocab_size(self) -> int:
        """Pieces and marks."""
        return self.pieces.get_piece_size() + len(self.marks)

    def get_vocab(self) -> dict[str, int]:
        """Token -> id."""
        vocabulary = {self._convert_id_to_token(index): index for index in range(self.vocab_size)}
        return vocabulary | self._added_tokens_encoder

    def _tokenize(self, text: str, **kwargs) -> list[str]:
        return self.pieces.encode(text, out_type=str)

    def _convert_token_to_id(self, token: str) -> int:
        size = self.pieces.get_piece_size()
        return size + self.marks.index(token) if token in self.marks else self.pieces.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        size = self.pieces.get_piece_size()
        if index < size:
            return self.pieces.id_to_piece(index)
        # The model's vocabulary is padded: ids beyond the marks stand for nothing.
        return self.marks[index - size] if index < self.vocab_size else ""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens; marks have none."""
        return self.pieces.decode([token for token in tokens if token and token not in self.marks])

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """The prefix and a text; with a second one also that and EOS."""
        second = [] if token_ids_1 is None else [*token_ids_1, self.eos_token_id]
        return [*self.convert_tokens_to_ids(self.prefix), *token_ids_0, *second]

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Writes `tokenizer.model` to a folder; returns its path."""
        name = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / f"{name}{self.vocab_files_names['vocab_file']}"
        path.write_bytes(self.pieces.serialized_model_proto())
        return (str(path),)
