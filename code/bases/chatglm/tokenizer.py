"""ChatGLM-6B's tokenizer: the SentencePiece model `ice_text.model`, whitespace as pieces, [gMASK] and <sop> last.

Image tokens take the first ids in the oldest checkpoints, 20,000 of them; later ones have none. Text never becomes
[gMASK]: an utterance that spells it is text, as in the published program.
"""

import re
from collections.abc import Sequence
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from transformers import PreTrainedTokenizer

from bases.chatglm.layout import advise_conversion

IMAGE_TOKENS = 20_000  # where tokenizer_config.json does not say
LONGEST_BLANK = 80
LINE_END, TAB, BLANK = "<n>", "<|tab|>", "<|blank_{}|>"
GMASK = "[gMASK]"
_BLANKS = re.compile(rf" {{2,{LONGEST_BLANK}}}")
_BLANK_PIECE = re.compile(r"<\|blank_(\d+)\|>")
_IMAGE_PIECE = re.compile(r"<image_(\d+)>")


class PieceTokenizer(PreTrainedTokenizer):
    """What the tokenizers of ChatGLM-6B and ChatGLM2 share: a SentencePiece model, `pieces`, and further tokens."""

    model_input_names = ["input_ids", "attention_mask"]
    padding_side = "left"

    def get_vocab(self) -> dict[str, int]:
        """Token -> id, further tokens included."""
        vocabulary = {self._convert_id_to_token(index): index for index in range(self.vocab_size)}
        return vocabulary | self._added_tokens_encoder

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str]:
        """Writes the SentencePiece model to a folder; returns its path."""
        name = f"{filename_prefix}-" if filename_prefix else ""
        path = Path(save_directory) / f"{name}{self.vocab_files_names['vocab_file']}"
        path.write_bytes(self.pieces.serialized_model_proto())
        return (str(path),)


class ChatGLMTokenizer(PieceTokenizer):
    """Text to ids and back, padded on the left.

    num_image_tokens: ids before those of the SentencePiece model. do_lower_case, remove_space: what is done to a
    text first.

    Raises:
        ValueError: there is no `ice_text.model`, or it lacks a special token.
    """

    vocab_files_names = {"vocab_file": "ice_text.model"}

    def __init__(
        self,
        vocab_file: str | None = None,
        num_image_tokens: int = IMAGE_TOKENS,
        do_lower_case: bool = False,
        remove_space: bool = False,
        bos_token: str = "<sop>",
        eos_token: str = "<eop>",
        mask_token: str = "[MASK]",
        pad_token: str = "<pad>",
        unk_token: str = "<unk>",
        **settings,
    ) -> None:
        if vocab_file is None:
            raise ValueError(f"no ice_text.model there; if it is ChatGLM2 or 3 as published, {advise_conversion()}")
        self.vocab_file = vocab_file
        self.num_image_tokens = num_image_tokens
        self.do_lower_case, self.remove_space = do_lower_case, remove_space
        self.pieces = SentencePieceProcessor(model_file=str(vocab_file))
        needed = [str(token) for token in (GMASK, bos_token, eos_token, mask_token, pad_token, unk_token)]
        if missing := [token for token in needed if self.pieces.id_to_piece(self.pieces.piece_to_id(token)) != token]:
            raise ValueError(f"{vocab_file} has no {', '.join(missing)}: it is not the one of ChatGLM-6B")
        # As special tokens they would be found in texts; auto_map names the code that came with the checkpoint.
        for name in ("model_specific_special_tokens", "auto_map"):
            settings.pop(name, None)
        super().__init__(
            num_image_tokens=num_image_tokens,
            do_lower_case=do_lower_case,
            remove_space=remove_space,
            bos_token=bos_token,
            eos_token=eos_token,
            mask_token=mask_token,
            pad_token=pad_token,
            unk_token=unk_token,
            **settings,
        )

    @property
    def vocab_size(self) -> int:
        """Image tokens and pieces."""
        return self.num_image_tokens + self.pieces.get_piece_size()

    @property
    def gmask_token_id(self) -> int:
        """The id that ends every prompt, before <sop>."""
        return self._convert_token_to_id(GMASK)

    def _tokenize(self, text: str, **kwargs) -> list[str]:
        if self.remove_space:
            text = " ".join(text.split())
        if self.do_lower_case:
            text = text.lower()
        text = text.replace("\n", LINE_END).replace("\t", TAB)
        return self.pieces.encode(_BLANKS.sub(lambda run: BLANK.format(len(run[0])), text), out_type=str)

    def _convert_token_to_id(self, token: str) -> int:
        if image := _IMAGE_PIECE.fullmatch(token):
            return int(image[1])
        return self.num_image_tokens + self.pieces.piece_to_id(token)

    def _convert_id_to_token(self, index: int) -> str:
        if index < self.num_image_tokens:
            return f"<image_{index}>"
        # The model's vocabulary is padded: ids beyond the pieces stand for nothing.
        return self.pieces.id_to_piece(index - self.num_image_tokens) if index < self.vocab_size else ""

    def convert_tokens_to_string(self, tokens: Sequence[str]) -> str:
        """The text of tokens; image tokens have none."""
        text = self.pieces.decode([token for token in tokens if token and not _IMAGE_PIECE.fullmatch(token)])
        text = text.replace(LINE_END, "\n").replace(TAB, "\t")
        return _BLANK_PIECE.sub(lambda piece: " " * int(piece[1]), text)

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        """A prompt, [gMASK] and <sop>; with an answer also that and <eop>."""
        answer = [] if token_ids_1 is None else [*token_ids_1, self.eos_token_id]
        return [*token_ids_0, self.gmask_token_id, self.bos_token_id, *answer]

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        """1 for every token that `build_inputs_with_special_tokens` adds."""
        if already_has_special_tokens:
            return super().get_special_tokens_mask(token_ids_0, token_ids_1, already_has_special_tokens=True)
        answer = [] if token_ids_1 is None else [*([0] * len(token_ids_1)), 1]
        return [*([0] * len(token_ids_0)), 1, 1, *answer]
