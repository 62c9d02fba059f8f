"""Texts -> unit vectors by a sentence-transformers encoder, kept on disk under a hash of encoder and texts."""

import io
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bases.find import SOURCE_FILE, offline_by
from bases.table import ENCODERS
from basics.errors import UserError
from basics.files import find_repository, sha256_of, sha256_of_text, write_atomically

BATCH = 64
# Files that decide the vectors, in the folders of the encoder and its modules: weights, list and settings of modules
# (pooling, longest text), tokenizer.
DECIDING = ("*.safetensors", "pytorch_model*.bin", "*.json", "*.txt", "*.model")


def resolve_encoder(name: str) -> str:
    """The folder of an encoder: a folder as given, `LLM_bases/<name>`, or a hub id when a hub may be asked.

    Raises:
        UserError: there is no such folder, and the name is in no table.
    """
    for folder in (Path(name), find_repository() / "LLM_bases" / name):
        if (folder / "modules.json").is_file() or (folder / "config.json").is_file():
            return str(folder)
    if name in ENCODERS:
        raise UserError(f"encoder {name} is not in LLM_bases: run `python LLM_bases/fetch.py {name}` first")
    offline = offline_by()
    may_be_hub_id = name.count("/") == 1 and not Path(name).exists()
    if may_be_hub_id and not offline:
        return name
    raise UserError(
        f"encoder {name}: neither a folder with a modules.json nor one of {', '.join(ENCODERS)}"
        + (f", and {offline} keeps the hub from being asked" if may_be_hub_id else "")
    )


class SentenceEncoder:
    """Embeds texts. cache: folder of vectors, None: none; the model is loaded for the first text that is not in it."""

    def __init__(self, name: str, cache: Path | None) -> None:
        self.source, self.cache = resolve_encoder(name), cache
        self.model = None

    @property
    def identity(self) -> str:
        """Equal for encoders of equal vectors: a hash of its files, or its name while they are only on the hub."""
        folder = Path(self.source)
        if not folder.is_dir():
            return self.source
        files = {path.relative_to(folder).as_posix(): path for kind in DECIDING for path in folder.rglob(kind)}
        files = {name: path for name, path in files.items() if name != SOURCE_FILE and not name.startswith(".")}
        return sha256_of_text("\n".join(f"{name} {sha256_of(path)}" for name, path in sorted(files.items())))

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """(texts, width) float32, each row of length 1; equal texts are embedded once.

        Raises:
            UserError: sentence-transformers cannot load the encoder.
        """
        distinct, places = np.unique(np.asarray(texts, dtype=object), return_inverse=True)
        if self.cache is None:
            return self._encode(distinct)[places]
        path = self.cache / f"{sha256_of_text(chr(31).join([self.identity, *distinct]))}.npy"
        if path.is_file():
            return np.load(path, allow_pickle=False)[places]
        vectors = self._encode(distinct)
        content = io.BytesIO()
        np.save(content, vectors, allow_pickle=False)
        write_atomically(path, content.getvalue())
        return vectors[places]

    def _encode(self, distinct: np.ndarray) -> np.ndarray:
        vectors = self._load().encode(
            list(distinct),
            batch_size=BATCH,
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=self.cache is not None and sys.stderr.isatty(),
        )
        return np.ascontiguousarray(vectors, np.float32)

    def _load(self):
        if self.model is None:
            from sentence_transformers import SentenceTransformer

            from bases.load import LOADING

            try:
                with LOADING:
                    self.model = SentenceTransformer(self.source, local_files_only=Path(self.source).is_dir())
            except (OSError, ValueError, KeyError) as error:
                reason = " ".join(str(error).split())[:200]
                raise UserError(f"encoder {self.source} cannot be loaded: {reason}") from None
        return self.model
