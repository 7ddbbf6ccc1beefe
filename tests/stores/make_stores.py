"""Create the stores of an earlier format that the migration tests use. Run once, with a checkout that wrote the format:

    PYTHONPATH=CHECKOUT python make_stores.py FORMAT FOLDER

FORMAT is 8 (commit a4f66db, version 0.3.0), 9 (commit 6474298, version 0.4.0) 10 (commit 9c06b5a, version 0.5.0)
or 11 (commit d2d972a, version 0.6.0). The script writes two archives:
`format-N-hashing.tar.xz` (several versions, two tags, a desk with reviews and waiting writes) and
`format-N-finetuned.tar.xz` (a fine-tuned tiny transformer). Each has an `expected.json` with that version's answers.
"""

import json
import random
import shutil
import sys
import tarfile
import tempfile
import time
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

FORMAT = int(sys.argv[1])
PREFIX = "" if FORMAT == 8 else "shelfwise."  # package prefix in that version
HOMES = {  # modules by their wing, which formats 8 and 9 do not have
    "pipeline": "classifier.model",
    "catalog": "indexer.item",
    "manifest": "indexer.store",
    "finetune": "classifier.fitting",
    "maintenance": "classifier.changing",
    "release": "classifier.changing",
    "history": "indexer.store",
}


def module(name: str) -> Any:
    """Import a module by its name in format 9, from its place in the version."""
    last = name.rpartition(".")[2]
    if FORMAT > 9 and last in HOMES:
        home = HOMES[last]
        name = home if last == "catalog" else f"{home}.{last}"
    return import_module(PREFIX + name)


Config, create_app = module("service.app").Config, module("service.app").create_app
Desk, Classifier = module("service.desk").Desk, module("classifier.pipeline").Classifier
Item, read_manifest = module("indexer.catalog").Item, module("indexer.manifest").read_manifest
finetune, history = module("classifier.finetune"), module("indexer.history")
maintenance, release = module("classifier.maintenance"), module("classifier.release")


def add(store: Path, items: dict[str, Item], device: str = "auto") -> None:
    """Add items to a store."""
    if FORMAT < 10:
        maintenance.add(store, items, device)
    else:
        maintenance.apply(store, maintenance.Edit(items), device=device)


def finetune_store(store: Path) -> bool:
    """Fine-tune the encoder of a store; return True if the store uses it."""
    if FORMAT < 10:
        return bool(module("classifier.adoption").adopt(store, 30, 20.0, "cpu").switched)
    return bool(
        import_module("shelfwise.classifier.changing.finetuning").finetune_store(store, 30, 20.0, "cpu").switched
    )


def compact(store: Path, keep: int) -> None:
    """Keep the last versions."""
    place = history if FORMAT < 10 else import_module("shelfwise.indexer.searching.compaction")
    place.compact(store, keep)


def log_and_queue(desk: Any) -> tuple[Any, Any]:
    """Return what holds the writes, and what holds the reviews. Up to format 9, this is the desk itself."""
    if FORMAT < 10:
        return desk, desk
    log, queue = import_module("shelfwise.service.writes"), import_module("shelfwise.service.reviews")
    return log.WriteLog(desk), queue.ReviewQueue(desk)


CATEGORIES = {
    "Fashion > Shoes > Sandals": ("sandal", "slipper", "flip flop", "凉鞋", "拖鞋"),
    "Fashion > Shoes > Boots": ("boot", "ankle boot", "rain boot", "靴子", "雨靴"),
    "Home > Kitchen > Kettles": ("kettle", "electric kettle", "tea kettle", "水壶", "电热水壶"),
    "Home > Kitchen > Mugs": ("mug", "coffee mug", "cup", "杯子", "马克杯"),
    "Electronics > Audio > Headphones": ("headphones", "earbuds", "headset", "耳机", "蓝牙耳机"),
}
QUALITIES = ("red", "blue", "large", "small", "travel", "classic", "新款", "经典", "便携", "加厚")
NOISE = ("alpha", "river", "stone", "paper", "cloud", "garden", "window", "silver", "market", "bridge", "forest")
LISTINGS = ("red sandal", "加厚 雨靴", "electric kettle 1.5 l", "蓝牙耳机 新款", "quantum flux capacitor", "travel mug",
            "blue rain boot 12", "classic cup", "", "便携 水壶", "toy rocket 3")  # fmt: skip


def catalog(rows_each: int, noise: int = 0) -> dict[str, Item]:
    """Return items of five categories, with `noise` meaningless words in each title."""
    shuffled, items = random.Random(3), dict[str, Item]()
    for path, words in CATEGORIES.items():
        for i in range(rows_each):
            said = [*shuffled.choices(NOISE, k=noise), QUALITIES[i % 10], words[i % 5]]
            title = " ".join(said if noise else [*said, str(100 + i)])
            id_ = f"{path[-3:]}-{i:03}"
            items[id_] = Item(id_, title, brand="VELORO" if i % 3 else "", category=path.rpartition(" > ")[2],
                              category_path=path)  # fmt: skip
    return items


def examples(path: str, *titles: str) -> dict[str, Item]:
    """Return items of one category."""
    leaf = path.rpartition(" > ")[2]
    return {f"{leaf}-{i}": Item(f"{leaf}-{i}", title, category=leaf, category_path=path)
            for i, title in enumerate(titles)}  # fmt: skip


def expected(store: Path) -> dict[str, object]:
    """Return the answers of this version on a store."""
    classifier = Classifier.open(store, "cpu")
    items = [Item(str(i), title) for i, title in enumerate(LISTINGS)]
    said = {tier: list(map(asdict, classifier.classify(items, tier=tier))) for tier in ("full", "fast")}
    versions = [{"version": entry.manifest.version, "command": entry.manifest.change.command,
                 "rows": entry.manifest.rows, "tags": list(entry.tags)} for entry in history.history(store)]  # fmt: skip
    return {"listings": LISTINGS, "decisions": said, "versions": versions,
            "categories": maintenance.describe(store)["categories"]}  # fmt: skip


def hashing(store: Path) -> dict[str, object]:
    """Build a store with several versions and a desk with waiting writes; return the expected answers."""
    items = catalog(10)
    release.build(store, items, "hashing", "cpu")
    history.tag(store, "first", "1")
    add(store, examples("Toys > Models > Rockets", "toy rocket 1", "model rocket kit"), "cpu")
    some = dict(list(items.items())[2:])
    release.build(store, some | {"als-005": replace(items["als-005"], title="large flip flop 2026")}, device="cpu")
    maintenance.remove(store, ["ots-001"])
    history.tag(store, "before-sale", "4")
    add(store, examples("Toys > Outdoor > Kites", "stunt kite", "风筝 大型"), "cpu")
    with TestClient(create_app(Config(store, "cpu")), base_url="http://localhost:8000") as client:
        asked = [{"id": f"L-{i}", "title": title} for i, title in enumerate(
            ("flux capacitor", "red something", "blue boot mug", "earbuds cup", "无名 商品", "kite boot"))]  # fmt: skip
        client.post("/v1/classify", json={"listings": asked, "review": True}).raise_for_status()
        put = {"items": [{"id": "W-1", "title": "paper kite", "category_path": "Toys > Outdoor > Kites"}]}
        client.post("/v1/items", json=put).raise_for_status()
        time.sleep(1)
        open_ = [review["listing"]["id"] for review in client.get("/v1/reviews").json()["reviews"]]
        client.post(f"/v1/reviews/{open_[0]}", json={"action": "correct", "category_path": "Toys > Outdoor > Kites"})
        client.post(f"/v1/reviews/{open_[1]}", json={"action": "accept"}).raise_for_status()
        client.post(f"/v1/reviews/{open_[2]}", json={"action": "skip"}).raise_for_status()
        client.post("/v1/writes/1/undo").raise_for_status()
    before = expected(store)
    desk = Desk(store)  # these writes stay queued, as if a build held the lock
    kite = Item("W-2", "diamond kite", category="Kites", category_path="Toys > Outdoor > Kites")
    log, queue = log_and_queue(desk)
    write, writes, ranked, count = (
        (log.write, log.writes, queue.reviews, queue.count_reviews)
        if FORMAT < 10
        else (log.put, log.last, queue.ranked, queue.count)
    )
    write("anna", "put W-2", [kite])
    write("anna", "remove als-003", (), ["als-003"])
    said = {"writes": [(write.number, write.state, write.what, write.note) for write in writes()],
            "reviews": {state: sorted((review.listing.id, review.times, round(review.value, 6))
                                      for review in ranked(state)) for state in count()}}  # fmt: skip
    desk.close()
    return before | {"desk": said}


def finetuned(store: Path, model: Path) -> dict[str, object]:
    """Build a store with a fine-tuned encoder; return the expected answers."""
    tiny(model)
    finetune.LEARNING_RATE = 1e-2
    release.build(store, catalog(100, noise=6), str(model), "cpu")
    assert finetune_store(store)
    add(store, examples("Toys > Models > Rockets", "toy rocket 1", "model rocket kit"), "cpu")
    compact(store, 2)
    assert read_manifest(store).encoder.runtime and read_manifest(store).encoder.folder
    return expected(store)


def tiny(folder: Path) -> None:
    """Save a one-layer transformer with its own word pieces to a folder."""
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Pooling, Transformer
    from transformers import BertConfig, BertModel, BertTokenizerFast

    work = folder.with_name("bert")
    work.mkdir(parents=True)
    words = {word for some in CATEGORIES.values() for title in some for word in title.split()} | {*QUALITIES, *NOISE}
    letters = {char for word in words for char in word} | set("abcdefghijklmnopqrstuvwxyz0123456789.,-")
    pieces = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *sorted(words | letters),
        *(f"##{c}" for c in sorted(letters)),
    ]
    (work / "vocab.txt").write_text("\n".join(dict.fromkeys(pieces)) + "\n", encoding="utf-8")
    torch.manual_seed(1)
    BertTokenizerFast(str(work / "vocab.txt"), do_lower_case=True).save_pretrained(work)
    config = BertConfig(vocab_size=len(dict.fromkeys(pieces)), hidden_size=32, num_hidden_layers=1,
                        num_attention_heads=2, intermediate_size=64)  # fmt: skip
    BertModel(config).save_pretrained(work)
    modules = [Transformer(str(work), max_seq_length=32), Pooling(32)]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(str(folder))


def main(out: Path) -> None:
    """Create both stores and write their archives."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        makers = {"hashing": hashing, "finetuned": lambda store: finetuned(store, work / "tiny" / "model")}
        for name, make in makers.items():
            place = work / name
            place.mkdir()
            said = make(place / "store")
            (place / "expected.json").write_text(json.dumps(said, ensure_ascii=False, indent=1), encoding="utf-8")
            for left in ("desk.sqlite.lock", ".lock", ".queue"):
                if left != ".lock":
                    (place / "store" / left).unlink(missing_ok=True)
            with tarfile.open(out / f"format-{FORMAT}-{name}.tar.xz", "w:xz") as archive:
                for file in sorted(place.rglob("*")):
                    archive.add(file, file.relative_to(place), recursive=False)
            shutil.rmtree(place)


main(Path(sys.argv[2]))
