"""What a team would use instead of Shelfwise, beyond `classifier.baselines`: networks and fastText.

Each takes n texts with their paths and m texts, and gives m paths.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from classifier.finetune import BATCH, LARGE_TABLE, shuffled_batches
from indexer.encoder import SentenceEncoder, load_encoder

SEED = 0
AUTOTUNE_SECONDS = 120
EPOCHS = 4  # of the transformer with a classification layer
VALIDATION = 10  # one row in so many, for fastText's autotune and for ending the networks' training


def fasttext(texts: Sequence[str], paths: Sequence[str], asked: Sequence[str], chinese: bool) -> np.ndarray:
    """fastText supervised, Chinese by characters: its own autotune chooses the settings on a tenth of the rows, and all
    rows are learned with them."""
    import fasttext as library

    def line(text: str) -> str:
        return " ".join(text.replace(" ", "")) if chinese else text.casefold()

    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    lines = [f"__label__{number[path]} {line(text)}" for path, text in zip(paths, texts, strict=True)]
    with tempfile.TemporaryDirectory() as folder:
        train, validation, everything = (Path(folder) / name for name in ("train", "validation", "all"))
        train.write_text("\n".join(text for i, text in enumerate(lines) if i % VALIDATION))
        validation.write_text("\n".join(lines[::VALIDATION]))
        everything.write_text("\n".join(lines))
        model = library.train_supervised(
            str(train),
            autotuneValidationFile=str(validation),
            autotuneDuration=AUTOTUNE_SECONDS,
            thread=2,
            verbose=0,
            seed=SEED,
        )
        found = model.f.getArgs()
        settings = {
            name: getattr(found, name) for name in ("lr", "dim", "epoch", "wordNgrams", "minn", "maxn", "bucket")
        }
        model = library.train_supervised(str(everything), thread=2, verbose=0, seed=SEED, **settings)
    labels, _ = model.predict([line(text) for text in asked])
    return np.array([names[int(label[0].removeprefix("__label__"))] for label in labels], dtype=object)


def bert(
    texts: Sequence[str], paths: Sequence[str], asked: Sequence[str], encoder_name: str, minutes: float
) -> np.ndarray:
    """The encoder's transformer fine-tuned end to end with a classification layer and cross-entropy.

    AdamW, 5e-5, warm-up and linear decay over four epochs or `minutes`, dropout before the layer: the usual recipe of
    Devlin et al., NAACL 2019.
    """
    import torch

    encoder = load_encoder(encoder_name)
    assert isinstance(encoder, SentenceEncoder)
    module, device = encoder.module, encoder.module.device
    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    truth = torch.tensor([number[path] for path in paths], device=device)
    torch.manual_seed(SEED)
    layer = torch.nn.Linear(encoder.dimensions, len(names)).to(device)
    drop = torch.nn.Dropout(0.1)
    for part in module.modules():
        if isinstance(part, torch.nn.Embedding) and part.num_embeddings > LARGE_TABLE:
            part.weight.requires_grad = False
    weights = [w for w in module.parameters() if w.requires_grad]
    optimizer = torch.optim.AdamW(
        [{"params": weights, "lr": 5e-5}, {"params": layer.parameters(), "lr": 1e-3}], weight_decay=0.01
    )
    rates = [group["lr"] for group in optimizer.param_groups]
    lengths = encoder.token_counts(texts)
    start, random, done = time.monotonic(), np.random.default_rng(SEED), 0
    total = EPOCHS * -(-len(texts) // BATCH)
    while True:
        for rows in shuffled_batches(lengths, np.arange(len(texts)), random):
            fraction = max(done / total, (time.monotonic() - start) / (60 * minutes))
            if fraction >= 1:
                return _layer_predictions(encoder, layer, asked, names)
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate * min(fraction / 0.1 + 1e-3, (1 - fraction) / 0.9)
            module.train()
            features = module.preprocess([texts[row] for row in rows], prompt=encoder.prompt)
            features = {k: v.to(device) if hasattr(v, "to") else v for k, v in features.items()}
            with torch.autocast(device.type, dtype=torch.bfloat16):
                vectors = module(features)["sentence_embedding"]
            loss = torch.nn.functional.cross_entropy(layer(drop(vectors.float())), truth[torch.as_tensor(rows)])
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            done += 1


def _layer_predictions(encoder: SentenceEncoder, layer: object, asked: Sequence[str], names: list[str]) -> np.ndarray:
    import torch

    encoder.module.eval()
    found = []
    with torch.no_grad():
        for i in range(0, len(asked), 256):
            vectors = encoder.module.encode(asked[i : i + 256], show_progress_bar=False, convert_to_tensor=True)
            found.append(layer(vectors).argmax(dim=1).cpu().numpy())
    return np.array(names, dtype=object)[np.concatenate(found)]


def lstm(texts: Sequence[str], paths: Sequence[str], asked: Sequence[str], chinese: bool) -> np.ndarray:
    """Embedding, LSTM and dense layers, as in early surveys of the field; Chinese by characters.

    128 dimensions each way, dropout 0.3, Adam 1e-3, at most ten epochs, the one that is best on a tenth of the rows.
    """
    import torch
    from torch import nn

    def words(text: str) -> list[str]:
        return list(text.replace(" ", "")) if chinese else text.casefold().split()

    names = sorted(set(paths))
    number = {path: i for i, path in enumerate(names)}
    counts: dict[str, int] = {}
    for text in texts:
        for word in words(text):
            counts[word] = counts.get(word, 0) + 1
    place = {word: i + 2 for i, word in enumerate(sorted(word for word, n in counts.items() if n > 1))}
    torch.manual_seed(SEED)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.table = nn.Embedding(len(place) + 2, 128, padding_idx=0)
            self.lstm = nn.LSTM(128, 128, batch_first=True, bidirectional=True)
            self.dense = nn.Sequential(nn.Dropout(0.3), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, len(names)))

        def forward(self, rows: torch.Tensor) -> torch.Tensor:
            states = self.lstm(self.table(rows))[0]
            return self.dense(states.masked_fill((rows == 0)[..., None], -1e4).amax(dim=1).clamp(min=-1))

    def coded(some: Sequence[str]) -> torch.Tensor:
        codes = [[place.get(word, 1) for word in words(text)[:64]] or [1] for text in some]
        return nn.utils.rnn.pad_sequence([torch.tensor(code) for code in codes], batch_first=True)

    network = Network()
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-3)
    random = np.random.default_rng(SEED)
    held = np.arange(len(texts)) % VALIDATION == 0
    best, best_state = -1.0, network.state_dict()

    def predicted(some: Sequence[str]) -> np.ndarray:
        network.eval()
        with torch.no_grad():
            return np.concatenate(
                [network(coded(some[i : i + 512])).argmax(dim=1).numpy() for i in range(0, len(some), 512)]
            )

    held_texts = [text for text, kept in zip(texts, held, strict=True) if kept]
    held_truth = np.array([number[path] for path, kept in zip(paths, held, strict=True) if kept])
    for _ in range(10):
        order = random.permutation(np.flatnonzero(~held))
        network.train()
        for i in range(0, len(order), 128):
            rows = order[i : i + 128]
            loss = nn.functional.cross_entropy(
                network(coded([texts[row] for row in rows])), torch.tensor([number[paths[row]] for row in rows])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        accuracy = float((predicted(held_texts) == held_truth).mean())
        if accuracy > best:
            best, best_state = accuracy, {name: value.clone() for name, value in network.state_dict().items()}
    network.load_state_dict(best_state)
    return np.array(names, dtype=object)[predicted(asked)]
