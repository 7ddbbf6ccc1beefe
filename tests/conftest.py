"""Shared fixtures and helpers: small catalogs, the command line as a function, and servers."""

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from click.testing import CliRunner, Result
from starlette.testclient import TestClient

import shelfwise as sw
from shelfwise.commands.main import main
from shelfwise.indexer.item import Item
from shelfwise.service.app import Config, create_app
from shelfwise.service.tokens import Tokens

# Several processes run the tests. Waiting threads must not take cores from computing ones.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

ROOT = Path(__file__).parent.parent

# The duration of an example depends on the machine more than on the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

WORDS = {
    "Fashion > Shoes > Sandals": ("sandal", "slipper", "flip flop", "凉鞋", "拖鞋"),
    "Fashion > Shoes > Boots": ("boot", "ankle boot", "rain boot", "靴子", "雨靴"),
    "Home > Kitchen > Kettles": ("kettle", "electric kettle", "tea kettle", "水壶", "电热水壶"),
    "Home > Kitchen > Mugs": ("mug", "coffee mug", "cup", "杯子", "马克杯"),
    "Electronics > Audio > Headphones": ("headphones", "earbuds", "headset", "耳机", "蓝牙耳机"),
}
QUALITIES = ("red", "blue", "large", "small", "travel", "classic", "新款", "经典", "便携", "加厚")

KITCHEN = [
    {"id": f"{word}-{i}", "title": f"{quality} {word}", "brand": "VELORO" if i % 2 else "", "category_path": path}
    for word, path in {"mug": "Mugs", "kettle": "Kettles", "frying pan": "Pans"}.items()
    for path in [f"Kitchen > {path}"]
    for i, quality in enumerate(("Steel", "Red", "Blue", "Large"))
]


def small_catalog(rows_each: int = 10) -> list[Item]:
    """Return items of five categories, `rows_each` per category, that hashed n-grams can distinguish."""
    items = []
    for path, words in WORDS.items():
        for i in range(rows_each):
            title = f"{QUALITIES[i % len(QUALITIES)]} {words[i % len(words)]} {100 + i}"
            items.append(Item(f"{path[-3:]}-{i:03}", title, category=path.split(" > ")[-1], category_path=path))
    return items


def write_csv(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    """Write a CSV file without quoting, so that tests can also write malformed rows."""
    lines = [",".join(header), *(",".join(row) for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_catalog(path: Path, items: Sequence[Item]) -> Path:
    rows = [(item.id, item.title, item.brand, item.category_path) for item in items]
    return write_csv(path, ("id", "title", "brand", "category_path"), rows)


Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run the command line in an empty folder, as in `run("build", ...)`; fail if it ends in a traceback."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object, stdin: bytes | None = None) -> Result:
        result = CliRunner().invoke(main, [str(argument) for argument in arguments], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
        return result

    return call


@pytest.fixture
def catalog_file(tmp_path: Path) -> Path:
    return write_catalog(tmp_path / "catalog.csv", small_catalog())


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build a store of the small catalog with the hashing encoder. Tests copy it and never change it."""
    folder = tmp_path_factory.mktemp("built")
    catalog = write_catalog(folder / "catalog.csv", small_catalog())
    arguments = ["build", str(catalog), "--store", str(folder / "store"), "--encoder", "hashing"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    return folder / "store"


@pytest.fixture
def store(built: Path, tmp_path: Path, catalog_file: Path) -> Path:
    """Copy the store of the small catalog for one test, next to its catalog file."""
    return shutil.copytree(built, tmp_path / "store")


@pytest.fixture(scope="module")
def service(built, tmp_path_factory) -> Iterator[str]:
    """Start a server process for a store of the small catalog and yield its address."""
    store = shutil.copytree(built, tmp_path_factory.mktemp("served") / "store")
    with serve_store(store) as url:
        yield url


@contextmanager
def serve_store(store: Path, cwd: Path = ROOT, **environment: str) -> Iterator[str]:
    """Start a server process for a store, as a user does, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "shelfwise", "serve", "--store", str(store), "--port", str(port)]
    with subprocess.Popen(command, cwd=cwd, env=os.environ | environment, stderr=subprocess.PIPE, text=True) as process:
        url = f"http://127.0.0.1:{port}"
        for _ in range(200):
            try:
                urllib.request.urlopen(f"{url}/healthz").close()
                break
            except OSError:
                assert process.poll() is None, process.stderr and process.stderr.read()
                time.sleep(0.1)
        yield url
        process.terminate()
        assert process.wait(30) in (0, -15)


def client_of(store: Path, tokens: Tokens | None = None) -> TestClient:
    """Return a client of a store's service that runs in this process."""
    return TestClient(
        create_app(Config(store, tokens=tokens)), base_url="http://localhost:8000", raise_server_exceptions=False
    )


@pytest.fixture
def client(store: Path) -> Iterator[TestClient]:
    with client_of(store) as client:
        yield client


def ask(client: TestClient, title: str, **more: object) -> dict[str, object]:
    """Return the decision of the API on a title."""
    answer = client.post("/v1/classify", json={"listings": [{"title": title}], **more})
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["decisions"][0])


def rejects(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def require_failure(result, *said, code=1):
    """Require one error line, the last on stderr, that contains every part of `said`, and an empty stdout."""
    assert result.exit_code == code, result.output
    assert result.stdout == ""
    message = result.stderr.strip().splitlines()[-1]
    for part in said:
        assert part in message
    if code == 1:
        assert len([line for line in result.stderr.splitlines() if line.startswith("Error:")]) == 1
        assert message.startswith("Error: ")


@pytest.fixture(scope="module")
def shared(built, tmp_path_factory):
    """Open a store that no test changes."""
    with sw.open(shutil.copytree(built, tmp_path_factory.mktemp("shared") / "store")) as opened:
        yield opened


CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Yield a Chromium; skip the test if it is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield browser
        browser.close()


@contextmanager
def open_page(browser: Any, url: str, **options: Any) -> Iterator[Any]:
    """Open a page; fail on script errors and on violations of the content security policy."""
    context = browser.new_context(**{"base_url": url, "viewport": WIDE, "locale": "en-GB"} | options)
    page, wrong = context.new_page(), []
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on(
        "console", lambda message: wrong.append(message.text) if "Content Security Policy" in message.text else None
    )
    yield page
    context.close()
    assert not wrong
