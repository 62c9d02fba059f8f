"""ChatGLM2's and 3's SentencePiece model -> a tokenizer that needs no program of theirs.

A fast one, which any transformers loads, where it splits text as SentencePiece does; else one around SentencePiece.
Their special tokens come after the pieces, and no text becomes one of them: "sop" stands in "philosophy". Every
text begins with [gMASK] and sop.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sentencepiece import SentencePieceProcessor
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, processors
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from bases.chatglm.tokenizer import PieceTokenizer
from basics.errors import UserError

SPECIAL_TOKENS = ("[MASK]", "[gMASK]", "[sMASK]", "sop", "eop")
PREFIX_PLACES = (1, 3)  # in SPECIAL_TOKENS
# sentencepiece_model.proto: the kinds of pieces that text is split into, and the kinds of models.
NORMAL, USER_DEFINED = 1, 4
UNIGRAM, BPE = 1, 2
UNREACHABLE = 1e4  # by how much a token that no text may become is less probable than any piece
PIECES_TOGETHER = 12
PROBES = (
    "Now you are expert of sentiment and emotional analysis.",
    '### \t Speaker_0:"It\'s 42, isn\'t it?"\t Speaker_1:"你好，世界！今天天气怎么样？"   ###\n\n',
    " 情感 neutral,surprise , 高兴。Ｆｕｌｌ　ｗｉｄｔｈ ½ é e\u0301 \x92 \U0001f600 sop philosophy [gMASK] <s> 한국어",
    "  two  blanks  ",
    "\r\n\ttab",
)


class ChatGLM2Tokenizer(PieceTokenizer):
    """Text to ids and back, padded on the left; every text begins with the marks of `prefix`.

    marks: names of the tokens behind the pieces. No text becomes one of them.
    """

    vocab_files_names = {"vocab_file": "tokenizer.model"}
    # AutoTokenizer takes a class that is registered for GLM only where tokenizer_config.json names a program too,
    # whatever its name: folders converted earlier have this one.
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


def convert_tokenizer(model_file: Path, further: Sequence[str] = ()) -> PreTrainedTokenizerBase:
    """The tokenizer of a `tokenizer.model`; further: special tokens after those of ChatGLM2.

    Raises:
        UserError: the file is no SentencePiece model, or has no unknown token or EOS.
    """
    pieces = SentencePieceProcessor()
    spec = read_model(model_file, pieces)
    known = {piece.piece for piece in spec.pieces}
    marks = [f"<{name}>" if name in known else name for name in (*SPECIAL_TOKENS, *further)]
    prefix = [marks[place] for place in PREFIX_PLACES]
    model = make_model(spec, marks)
    if model is not None:
        tokenizer = make_tokenizer(model, spec, pieces, prefix)
        if splits_alike(tokenizer, pieces, spec):
            return wrap(tokenizer, pieces)
    return ChatGLM2Tokenizer(model_file, marks, prefix)


def read_model(path: Path, pieces: SentencePieceProcessor) -> Any:
    """Loads a SentencePiece model into `pieces`; returns its settings and pieces, as in sentencepiece_model.proto."""
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2

    try:
        content = Path(path).read_bytes()
        spec = sentencepiece_model_pb2.ModelProto.FromString(content)
        pieces.LoadFromSerializedProto(content)
    except (OSError, RuntimeError, DecodeError) as error:
        raise UserError(f"{path} is no SentencePiece model: {error}") from error
    if pieces.unk_id() < 0 or pieces.eos_id() < 0:
        raise UserError(f"{path} has no unknown token or no EOS")
    return spec


def make_model(spec: Any, marks: Sequence[str]) -> models.Model | None:
    """BPE or unigram over all pieces and the marks, which no text becomes; None where no fast model does the same.

    None too where the model has user-defined symbols, which fast tokenizers find in texts in another way.
    """
    if any(piece.type == USER_DEFINED for piece in spec.pieces):
        return None
    names = [piece.piece for piece in spec.pieces] + list(marks)
    trainer = spec.trainer_spec
    if trainer.model_type == BPE:
        vocabulary = {name: index for index, name in enumerate(names)}
        merges = find_merges({piece.piece: piece.score for piece in spec.pieces if piece.type == NORMAL})
        unknown = names[trainer.unk_id]
        return models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=True, byte_fallback=trainer.byte_fallback)
    if trainer.model_type == UNIGRAM:
        scores = {piece.piece: piece.score for piece in spec.pieces if piece.type == NORMAL}
        unreachable = min(scores.values()) - UNREACHABLE
        vocabulary = [(name, scores.get(name, unreachable)) for name in names]
        return models.Unigram(vocabulary, trainer.unk_id, trainer.byte_fallback)
    return None


def find_merges(scores: dict[str, float]) -> list[tuple[str, str]]:
    """Pairs of pieces that form a piece, by its score, best first, as SentencePiece always merges the best pair."""
    ranked = sorted(scores, key=scores.__getitem__, reverse=True)
    cuts = ((piece[:cut], piece[cut:]) for piece in ranked for cut in range(len(piece) - 1, 0, -1))
    return [(left, right) for left, right in cuts if left in scores and right in scores]


def make_tokenizer(model: models.Model, spec: Any, pieces: SentencePieceProcessor, prefix: Sequence[str]) -> Tokenizer:
    """The tokenizer of a model, with normalizer, decoder, marks and prefix."""
    tokenizer = Tokenizer(model)
    tokenizer.normalizer = make_normalizer(spec.normalizer_spec)
    tokenizer.decoder = make_decoder(spec.normalizer_spec)
    unknown, end = pieces.id_to_piece(pieces.unk_id()), pieces.id_to_piece(pieces.eos_id())
    tokenizer.add_special_tokens([AddedToken(name, normalized=False, special=True) for name in (unknown, end)])
    before = " ".join(prefix)
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{before} $A",
        pair=f"{before} $A $B {end}",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in (*prefix, end)],
    )
    return tokenizer


def make_normalizer(settings: Any) -> normalizers.Normalizer:
    """What SentencePiece does to a text before it splits it."""
    steps: list[normalizers.Normalizer] = []
    if settings.precompiled_charsmap:
        steps.append(normalizers.Precompiled(settings.precompiled_charsmap))
    if settings.remove_extra_whitespaces:
        steps.append(normalizers.Replace(Regex(r"\A +| +\z"), ""))
        steps.append(normalizers.Replace(Regex(" {2,}"), " "))
    if settings.add_dummy_prefix:
        steps.append(normalizers.Prepend("▁"))
    return normalizers.Sequence([*steps, normalizers.Replace(" ", "▁")])


def make_decoder(settings: Any) -> decoders.Decoder:
    """Tokens back to text; bytes that stand for a character become it again."""
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    if settings.add_dummy_prefix:
        steps.append(decoders.Strip(" ", 1, 0))
    return decoders.Sequence(steps)


def splits_alike(tokenizer: Tokenizer, pieces: SentencePieceProcessor, spec: Any) -> bool:
    """Whether the tokenizer gives the probes, and neighbouring pieces written together, SentencePiece's ids."""
    written = [piece.piece.replace("▁", " ") for piece in spec.pieces if piece.type == NORMAL]
    starts = range(0, len(written), PIECES_TOGETHER)
    texts = [*PROBES, *("".join(written[start : start + PIECES_TOGETHER]) for start in starts)]
    found = tokenizer.encode_batch(texts, add_special_tokens=False)
    return all(one.ids == pieces.encode(text) for text, one in zip(texts, found, strict=True))


def wrap(tokenizer: Tokenizer, pieces: SentencePieceProcessor) -> PreTrainedTokenizerFast:
    """The tokenizer as a transformers one; the unknown token pads, as in the published one."""
    unknown, end = pieces.id_to_piece(pieces.unk_id()), pieces.id_to_piece(pieces.eos_id())
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        unk_token=unknown,
        pad_token=unknown,
        eos_token=end,
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        clean_up_tokenization_spaces=False,
    )
