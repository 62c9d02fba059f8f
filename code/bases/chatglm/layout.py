"""Which ChatGLM a published config.json is of: all three generations call themselves `chatglm`. Data, no torch."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from basics.errors import UserError
from basics.json_files import parse_json

# Keys of config.json that ChatGLM2 and 3 have, and ChatGLM-6B has not.
CHATGLM2_KEYS = frozenset({"padded_vocab_size", "ffn_hidden_size", "kv_channels"})
# Files that ChatGLM2 and 3 have; ChatGLM-6B has ice_text.model instead.
CHATGLM2_FILES = frozenset({"configuration_chatglm.py", "tokenizer.model"})
CONVERTER = "LLM_bases/convert_chatglm.py"
# Setting of ChatGLM-6B -> the values that bases.chatglm.model computes.
SUPPORTED = {"position_encoding_2d": (True,), "quantization_bit": (0, None), "pre_seq_len": (0, None)}


def is_published_chatglm2(config: Mapping[str, Any]) -> bool:
    """Whether a config.json is that of ChatGLM2 or 3 as published, which transformers has under other names."""
    return config.get("model_type", "chatglm") == "chatglm" and config.keys() >= CHATGLM2_KEYS


def lists_chatglm2(names: Iterable[str]) -> bool:
    """Whether a list of files, config.json unread, looks like that of ChatGLM2 or 3 as published."""
    return set(names) >= CHATGLM2_FILES


def conversion_folder(target: Path) -> Path:
    """The work folder of a conversion to `target`."""
    return target.with_name(f".{target.name}.converting")


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a model folder; UserError when it is none."""
    path = Path(folder) / "config.json"
    try:
        config = parse_json(path.read_bytes())
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else f"not JSON: {error}"
        raise UserError(f"{path} cannot be read ({reason})") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no settings of a model")
    return config


def refuse_unconverted(folder: Path) -> None:
    """UserError when a folder holds ChatGLM2 or 3 as published, which has to be converted once."""
    if is_published_chatglm2(read_config(folder)):
        raise UserError(f"{folder} holds ChatGLM2 or 3 as published: {advise_conversion(folder)}")


def advise_conversion(folder: str | Path = "FOLDER") -> str:
    """Advice for an error: the command that converts a published ChatGLM2 or 3."""
    return f"convert it once with `python {CONVERTER} {folder}` and use the folder that this prints"


def find_unsupported(settings: Mapping[str, Any]) -> str | None:
    """Why these settings are not those of ChatGLM-6B as published; None when they are."""
    if is_published_chatglm2(settings):
        return f"this is ChatGLM2 or 3 as published: {advise_conversion()}"
    found = {name: settings[name] for name in SUPPORTED.keys() & settings.keys()}
    wrong = {name: value for name, value in sorted(found.items()) if value not in SUPPORTED[name]}
    named = ", ".join(f"{name} is {value!r}, not {SUPPORTED[name][0]!r}" for name, value in wrong.items())
    return f"not ChatGLM-6B as published: {named}" if wrong else None
