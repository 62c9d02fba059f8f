"""ChatGLM-6B as a model of transformers: its published folder loads as it is, and none of its own code is run.

Blocks of LayerNorm after the residual, which is scaled by (2 layers) ** 0.5 (DeepNet, Wang et al. 2022, arXiv
2203.00555); rotary positions in two dimensions, one for each half of a head (Su et al. 2021, arXiv 2104.09864).
Names of weights and settings are those of the published checkpoint (THUDM/chatglm-6b).
"""

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.utils import can_return_tuple

from bases.chatglm.config import ChatGLMConfig
from bases.chatglm.inputs import derive_positions, rotary_tables, rotate, visible_keys
from bases.chatglm.tokenizer import ChatGLMTokenizer
from bases.chatglm.tokenizer2 import ChatGLM2Tokenizer


class ChatGLMAttention(nn.Module):
    """Attention whose query, key and value of a head lie side by side in one product."""

    def __init__(self, config: ChatGLMConfig, layer_index: int) -> None:
        super().__init__()
        self.layer_index = layer_index
        self.head_size = config.hidden_size // config.num_attention_heads
        self.query_key_value = nn.Linear(config.hidden_size, 3 * config.hidden_size)
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(
        self, hidden: Tensor, tables: tuple[Tensor, Tensor], visible: Tensor, past_key_values: Cache | None
    ) -> Tensor:
        heads = self.query_key_value(hidden).unflatten(-1, (-1, 3 * self.head_size)).transpose(1, 2)
        query, key, value = heads.chunk(3, dim=-1)  # each (rows, heads, tokens, d)
        query, key = rotate(query, tables), rotate(key, tables)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_index)
        read = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        return self.dense(read.transpose(1, 2).flatten(-2))


class ChatGLMMLP(nn.Module):
    """Two layers with the tanh form of GELU between them."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__()
        self.dense_h_to_4h = nn.Linear(config.hidden_size, config.inner_hidden_size)
        self.dense_4h_to_h = nn.Linear(config.inner_hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return self.dense_4h_to_h(nn.functional.gelu(self.dense_h_to_4h(hidden), approximate="tanh"))


class ChatGLMBlock(GradientCheckpointingLayer):
    """Attention and MLP, each on a normed input that is also the residual, times (2 layers) ** 0.5."""

    def __init__(self, config: ChatGLMConfig, layer_index: int) -> None:
        super().__init__()
        self.residual_scale = (2 * config.num_layers) ** 0.5
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.attention = ChatGLMAttention(config, layer_index)
        self.post_attention_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.mlp = ChatGLMMLP(config)

    def forward(
        self,
        hidden: Tensor,
        tables: tuple[Tensor, Tensor],
        visible: Tensor,
        past_key_values: Cache | None = None,
    ) -> Tensor:
        normed = self.input_layernorm(hidden)
        hidden = normed * self.residual_scale + self.attention(normed, tables, visible, past_key_values)
        normed = self.post_attention_layernorm(hidden)
        return normed * self.residual_scale + self.mlp(normed)


class ChatGLMPreTrainedModel(PreTrainedModel):
    """What loading and saving know of the architecture."""

    config: ChatGLMConfig
    base_model_prefix = "transformer"
    supports_gradient_checkpointing = True
    _no_split_modules = ["ChatGLMBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_sdpa = True
    _keys_to_ignore_on_load_unexpected = [r"rotary_emb\.inv_freq"]


class ChatGLMModel(ChatGLMPreTrainedModel):
    """Embeddings and blocks."""

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.word_embeddings = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList([ChatGLMBlock(config, index) for index in range(config.num_layers)])
        self.final_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layernorm_epsilon)
        self.gradient_checkpointing = False
        self.post_init()

    def get_input_embeddings(self) -> nn.Embedding:
        return self.word_embeddings

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.word_embeddings = value

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        **kwargs,
    ) -> BaseModelOutputWithPast:
        """input_ids: (rows, tokens). attention_mask: (rows, tokens so far), 0 for padding; None: there is none.

        position_ids: (rows, 2, tokens) of `derive_positions`, needed after a cache; any other shape is what packers
        make for other models, and is derived anew from the ids.

        Raises:
            ValueError: a mask of another shape, or a cache without positions.
        """
        if attention_mask is not None and attention_mask.ndim != 2:
            raise ValueError("ChatGLM-6B makes its own attention mask: give a mask (rows, tokens) of 0 and 1")
        past = past_key_values.get_seq_length() if past_key_values is not None else 0
        rows, tokens = input_ids.shape
        real = input_ids.new_ones(rows, past + tokens) if attention_mask is None else attention_mask
        if position_ids is None or position_ids.ndim != 3:
            if past:
                raise ValueError("ChatGLM-6B cannot tell positions from the ids after a cache: give (rows, 2, tokens)")
            position_ids = derive_positions(input_ids, real, self.config.marks)
        if (self.config.use_cache if use_cache is None else use_cache) and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        hidden = self.word_embeddings(input_ids)
        size = self.config.hidden_size // self.config.num_attention_heads // 2
        tables = rotary_tables(position_ids, size, hidden.dtype)
        visible = visible_keys(position_ids, real)
        for layer in self.layers:
            hidden = layer(hidden, tables, visible, past_key_values=past_key_values)
        return BaseModelOutputWithPast(self.final_layernorm(hidden), past_key_values)


class ChatGLMForCausalLM(ChatGLMPreTrainedModel, GenerationMixin):
    """ChatGLM-6B with its language-model head."""

    _tied_weights_keys = {"lm_head.weight": "transformer.word_embeddings.weight"}

    def __init__(self, config: ChatGLMConfig) -> None:
        super().__init__(config)
        self.transformer = ChatGLMModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Cache | None = None,
        labels: Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | Tensor = 0,
        **kwargs,
    ) -> CausalLMOutputWithPast:
        """As `ChatGLMModel`; logits (rows, kept, vocabulary) of the last `logits_to_keep` tokens, or of those places.

        labels: (rows, tokens), -100 where nothing is to be predicted.
        """
        output = self.transformer(input_ids, attention_mask, position_ids, past_key_values, use_cache)
        kept = slice(-logits_to_keep or None, None) if isinstance(logits_to_keep, int) else logits_to_keep
        logits = self.lm_head(output.last_hidden_state[:, kept])
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size)
        return CausalLMOutputWithPast(loss=loss, logits=logits, past_key_values=output.past_key_values)

    def prepare_inputs_for_generation(self, input_ids: Tensor, attention_mask: Tensor | None = None, **kwargs) -> dict:
        """Positions of all tokens so far, of which the model gets those of the tokens that it is given."""
        kwargs.pop("position_ids", None)
        inputs = super().prepare_inputs_for_generation(input_ids, attention_mask=attention_mask, **kwargs)
        real = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        positions = derive_positions(input_ids, real, self.config.marks)
        return inputs | {"position_ids": positions[..., -inputs["input_ids"].shape[1] :]}


def register() -> None:
    """Makes the Auto classes of transformers know ChatGLM-6B, and AutoTokenizer the slow tokenizer of ChatGLM2."""
    AutoConfig.register(ChatGLMConfig.model_type, ChatGLMConfig, exist_ok=True)
    AutoModelForCausalLM.register(ChatGLMConfig, ChatGLMForCausalLM, exist_ok=True)
    classes = {"tokenizer_class": ChatGLMTokenizer, "slow_tokenizer_class": ChatGLM2Tokenizer}
    AutoTokenizer.register(ChatGLMConfig, **classes, exist_ok=True)
