"""The settings of ChatGLM-6B."""

from transformers import PreTrainedConfig

from bases.chatglm.inputs import Marks
from bases.chatglm.layout import find_unsupported


class ChatGLMConfig(PreTrainedConfig):
    """The published config.json of ChatGLM-6B.

    Raises:
        ValueError: the settings are of ChatGLM2 or 3, of a quantized checkpoint, or of one-dimensional positions.
    """

    model_type = "chatglm"
    keys_to_ignore_at_inference = ["past_key_values"]
    attribute_map = {
        "num_hidden_layers": "num_layers",
        "intermediate_size": "inner_hidden_size",
        "layer_norm_eps": "layernorm_epsilon",
        "max_position_embeddings": "max_sequence_length",
    }
    # A token of the prompt depends on those after it: no two prompts share what is computed for their beginning.
    shares_prefixes = False

    vocab_size: int = 130_528
    hidden_size: int = 4096
    num_layers: int = 28
    num_attention_heads: int = 32
    inner_hidden_size: int = 16_384
    layernorm_epsilon: float = 1e-5
    max_sequence_length: int = 2048
    initializer_range: float = 0.02
    use_cache: bool = True
    # The published file holds both matrices; its own program ties them when it loads them.
    tie_word_embeddings: bool = True
    mask_token_id: int = 130_000
    gmask_token_id: int = 130_001
    bos_token_id: int | None = 130_004
    eos_token_id: int | list[int] | None = 130_005
    pad_token_id: int | None = 3

    def __post_init__(self, **kwargs) -> None:
        if problem := find_unsupported(kwargs):
            raise ValueError(problem)
        kwargs.pop("auto_map", None)  # names the code that came with the checkpoint
        super().__post_init__(**kwargs)

    @property
    def marks(self) -> Marks:
        return Marks(self.bos_token_id, self.gmask_token_id, self.mask_token_id)
