"""The documents: every command and snippet runs, every link leads somewhere, and the words are plain."""

import doctest
import gzip
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from conftest import ROOT, client_of, serve_store
from markdown_it import MarkdownIt
from test_imports import FILES

from shelfwise import Store
from shelfwise.commands.main import main

pytestmark = pytest.mark.slow

DOCS = sorted((ROOT / "docs").glob("*.md"))
PAGES = [ROOT / name for name in ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md")] + DOCS
LONGEST = {"README.md": 160, "ARCHITECTURE.md": 200, "CONTRIBUTING.md": 150}  # lines

# Commands that the test does not run, by how they begin, with the reason. Options of shelfwise are parsed all the same.
NOT_RUN = {
    "python3 -m venv": "needs the network",
    "pip install": "needs the network",
    "pre-commit install": "changes the repository",
    "source ": "belongs to the shell",
    "python -m build": "needs the network",
    "pytest": "runs all tests",
    ".ci/run": "runs all tests",
    "twine": "publishes a package",
    "shelfwise demo": "test_demo.py runs it",
    "shelfwise finetune": "takes minutes",
    "shelfwise tune": "takes minutes",
    "shelfwise serve": "runs until it is stopped; the test starts it for curl",
}
NOT_YET = {"benchmarks/results/gpu.json"}  # files that a document may name before they exist
GENERATED_CODE = {"errors.md"}  # its cells are parts of messages
RETRY = ("--retry", "30", "--retry-delay", "1", "--retry-all-errors")  # a write may be waiting
MATCHING = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE

# Replaced wordings, in addition to the "not" columns of the tables in CONTRIBUTING.md.
REPLACED = (
    "mends",
    "mended",
    "mending",
    "twins",
    "widest direction",
    "Of the rows to learn so many that vote",
    "what one of the last five versions had has its vector",
    "What a catalog names is the catalog's from then on",
    "chosen: vote temperature",
)


@dataclass(frozen=True)
class Block:
    """A block of code of a page: its language, its text and its line."""

    language: str
    text: str
    line: int


@dataclass(frozen=True)
class Command:
    """A command line as a page shows it, with the output below it."""

    text: str
    output: str

    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)


def blocks(page: Path) -> list[Block]:
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    found = [token for token in tokens if token.type in ("fence", "code_block")]
    return [Block(token.info.strip(), token.content, (token.map or [0])[0] + 1) for token in found]


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block, or of an indented block, whose lines are commands without output."""
    prompt = "$ " if block.language == "console" else ""
    lines = block.text.splitlines()
    while lines:
        assert lines[0].startswith(prompt), lines[0]
        text = lines.pop(0)[len(prompt) :]
        while text.count("'") % 2:  # a body over several lines
            text += "\n" + lines.pop(0)
        output = []
        while lines and prompt and not lines[0].startswith(prompt):
            output.append(lines.pop(0))
        for part in text.split(" && "):
            yield Command(part.removeprefix(".venv/bin/"), "\n".join(output))


def parse_only(words: list[str]) -> None:
    """Parse the options of a shelfwise command without running it."""
    command = main.commands[words[1]]
    with command.make_context(words[1], list(words[2:])):
        pass


def inline(page: Path, kind: str) -> list[str]:
    """Return the code spans of a page, or the targets of its links and pictures."""
    tokens = MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8"))
    spans = [child for token in tokens for child in token.children or ()]
    if kind == "code":
        return [span.content for span in spans if span.type == "code_inline"]
    return [
        str(span.attrs.get("href") or span.attrs.get("src")) for span in spans if span.type in ("link_open", "image")
    ]


@pytest.fixture(scope="module")
def sample_store(tmp_path_factory) -> Path:
    """A store of the sample catalog with the hashing encoder."""
    store = tmp_path_factory.mktemp("sample") / "my.store"
    built = ["build", str(ROOT / "data" / "catalog.csv"), "--store", str(store), "--encoder", "hashing"]
    assert CliRunner().invoke(main, built).exit_code == 0
    return store


@pytest.fixture
def folder(sample_store, tmp_path, monkeypatch) -> Path:
    """A folder with the files that the pages name."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(sample_store, "my.store")
    data = ROOT / "data"
    names = {
        "catalog.csv": "catalog.csv",
        "new.csv": "new_listings.csv",
        "labelled.csv": "listings.csv",
        "test.csv": "listings.csv",
        "examples.csv": "new_categories.csv",
        "broken.csv": "broken.csv",
    }
    for name, source in names.items():
        shutil.copy(data / source, name)
    rows = "".join(f"{word} {i},{word}s,red,{i}\n" for word in ("mug", "boot", "kettle") for i in range(4))
    Path("products.csv").write_text(f"product,aisle,colour,size\n{rows}", encoding="utf-8")
    Path("german.csv").write_bytes(
        "title,category\nTrinkbecher weiß,Küche\nGummistiefel grün,Schuhe\n".encode("cp1252")
    )
    parts = [
        "1,red mug,Home/Mugs,5",
        "2,blue mug,Home/Mugs,5",
        "3,frying pan,Home/Pans,9",
        "4,garden fork,Garden/Tools,9",
    ]
    Path("parts.csv").write_text("\n".join(["sku,name,category,price", *parts]), encoding="utf-8")
    Path("part1.csv").write_text("title,category\nSteel mug,Mugs\nRed boot,Boots\n", encoding="utf-8")
    Path("tokens.txt").write_text("anna write 0123456789abcdef0123456789abcdef\n", encoding="utf-8")
    Path("part2.jsonl.gz").write_bytes(gzip.compress(b'{"title": "Tea kettle", "category": "Kettles"}\n'))
    return tmp_path


class Reader:
    """Someone who types what a page says, from top to bottom."""

    def __init__(self) -> None:
        self.names: dict[str, object] = {}
        self.started = ExitStack()
        self.url = ""

    def type(self, command: Command) -> None:
        words = command.words()
        if any(command.text.startswith(start) for start in NOT_RUN):
            if words[0] == "shelfwise":
                parse_only(words)
            return
        assert words[0] in ("shelfwise", "curl"), f"{command.text}: neither run by this test, nor in NOT_RUN"
        said = self.curl(words) if words[0] == "curl" else self.shelfwise(words, "Error: " in command.output)
        if command.output:
            assert doctest.OutputChecker().check_output(command.output + "\n", said + "\n", MATCHING), said

    def shelfwise(self, words: list[str], fails: bool) -> str:
        result = CliRunner().invoke(main, words[1:], default_map={"build": {"encoder": "hashing"}})
        assert result.exit_code == int(fails), (words, result.output, result.exception)
        return result.output.strip()

    def curl(self, words: list[str]) -> str:
        if shutil.which("curl") is None:
            pytest.skip("no curl here")
        if not self.url:
            self.url = self.started.enter_context(serve_store(Path("my.store"), cwd=Path.cwd()))
        asked = [word.replace("localhost:8000", self.url) for word in words]
        return subprocess.run(
            [*asked, *RETRY, "-sS", "--fail-with-body"], check=True, capture_output=True, text=True
        ).stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_snippets_of_a_page_run(page, folder):
    reader = Reader()
    with reader.started:
        for block in blocks(page):
            if block.language == "python":
                exec(compile(block.text, f"{page.name}, line {block.line}", "exec"), reader.names)
            elif block.language == "console" or is_command(block.text):
                for command in commands(block):
                    reader.type(command)
            else:
                assert block.language in ("", "text") or block.language.startswith("{"), block
                assert not any(is_command(line.removeprefix("$ ")) for line in block.text.splitlines()), block
        for name in reader.names.values():
            if isinstance(name, Store):
                name.close()


def is_command(line: str) -> bool:
    return line.startswith(("shelfwise ", "python3 ", ".venv/bin/", "python ", "curl ", "pip "))


def test_each_command_that_does_not_run_is_on_a_page():
    text = "".join(page.read_text(encoding="utf-8") for page in PAGES)
    assert not [start for start in NOT_RUN if start not in text]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_in_running_text_can_be_parsed(page):
    for span in inline(page, "code"):
        words = shlex.split(span) if is_command(span) else []
        if words[:1] == ["shelfwise"] and words[1] != "--version":
            with suppress(click.MissingParameter):
                parse_only(words)
        elif words[:1] == ["python"] and words[1].endswith(".py"):
            script = (ROOT / words[1]).read_text(encoding="utf-8")
            assert all(f'"{word}"' in script for word in words if word.startswith("--")), span
    options = {name for command in main.commands.values() for parameter in command.params for name in parameter.opts}
    options |= {"--help", "--version", "--data", "--check", "--no-deps", "--quick", "--all", "--cov"}
    if page.name not in GENERATED_CODE:
        spans = [span for span in inline(page, "code") if re.fullmatch(r"--[a-z-]+( [\w.-]+)?", span)]
        assert {span.split()[0] for span in spans} <= options


def anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and MyST make them."""
    tokens = MarkdownIt("commonmark").parse(page.read_text(encoding="utf-8"))
    titles = [tokens[i + 1].content for i, token in enumerate(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_of_a_page_lead_somewhere(page):
    for link in inline(page, "links"):
        if re.match(r"https?://|mailto:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


def test_names_of_the_code_in_architecture_exist():
    source = "".join(path.read_text(encoding="utf-8") for path in FILES)
    paths = [path.relative_to(ROOT).as_posix() for path in ROOT.rglob("*.py") if ".venv" not in path.parts]
    for span in inline(ROOT / "ARCHITECTURE.md", "code"):
        if re.fullmatch(r"[\w/]+\.py", span):
            assert any(f"/{path}".endswith(f"/{span}") for path in paths), span
        elif re.fullmatch(r"[A-Za-z_]\w+(\.\w+)?", span):
            assert re.search(rf"\b{span.split('.')[-1]}\b", source), span


def test_files_named_in_documents_and_code_exist():
    named = {(page.name, span) for page in PAGES for span in inline(page, "code") if page.name not in GENERATED_CODE}
    for folder in ("indexer", "classifier", "shelfwise", "benchmarks", "tests", "docs"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8") if path.name != Path(__file__).name else ""
            named |= {(path.name, word.rstrip(".")) for word in re.findall(r"[\w/.-]+", text)}
    tops = r"(docs|benchmarks|tests|indexer|classifier|shelfwise|data)/[\w/-]+\.(py|md|json|svg|csv|txt)"
    for where, word in named:
        if re.fullmatch(tops, word) and word not in NOT_YET:
            assert (ROOT / word).exists(), f"{where}: {word}"
        if re.fullmatch(r"test_\w+\.py", word):
            assert (ROOT / "tests" / word).exists(), f"{where}: {word}"


@pytest.mark.parametrize(("name", "longest"), LONGEST.items())
def test_a_document_is_short(name, longest):
    assert len((ROOT / name).read_text(encoding="utf-8").splitlines()) <= longest


def test_the_page_of_the_http_api_names_every_call(store):
    page = (ROOT / "docs" / "http-api.md").read_text(encoding="utf-8")
    with client_of(store) as client:
        paths = client.get("/v1/openapi.json").json()["paths"]
    offered = {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods}
    offered |= {"GET /healthz", "GET /readyz", "GET /metrics"}
    assert set(re.findall(r"`((?:GET|POST|PUT|DELETE) [^`]+)`", page)) == offered


def replaced() -> list[str]:
    """Return the wordings that the style replaced: the "not" columns of CONTRIBUTING.md, and REPLACED."""
    style = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## Style")[2].partition("\n## ")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in style.splitlines() if line.startswith("| ")
    ]
    sentences, words = ([row for row in rows if len(row[0]) > 25], [row for row in rows if len(row[0]) <= 25])
    assert len(sentences) >= 5 and len(words) >= 8
    found = [row[0].rstrip(".") for row in sentences] + [row[1] for row in words if row[1] not in ("not", "but")]
    return found + list(REPLACED)


def test_replaced_words_are_gone():
    words = [r"\s+".join(map(re.escape, wording.split())) for wording in replaced()]
    pattern = re.compile(rf"\b({'|'.join(words)})\b", re.IGNORECASE)
    folders = ("indexer", "classifier", "shelfwise", "benchmarks", "tests", "docs", "data", ".github")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.suffix in (".py", ".md", ".yml")]
    files += [path for path in ROOT.glob("*") if path.suffix in (".md", ".toml", ".py", ".yaml")]
    for path in {*files, ROOT / ".ci" / "run"} - {Path(__file__)}:
        text = path.read_text(encoding="utf-8")
        if path.name == "CONTRIBUTING.md":  # its tables show the wordings
            text = "\n".join(line for line in text.splitlines() if not line.startswith("|"))
        if "service/pages" not in path.as_posix():
            assert not pattern.search(text), f"{path}: {pattern.search(text)}"


def test_every_command_has_help_with_an_example():
    for name, command in main.commands.items():
        said = command.get_help(click.Context(command, info_name=name))
        examples = [line.split(" | ") for line in said.splitlines() if "shelfwise " in line and line.startswith("    ")]
        assert any(f"shelfwise {name}" in part for example in examples for part in example)
        for part in (part.strip() for example in examples for part in example):
            if part.startswith("shelfwise "):
                parse_only(shlex.split(part))
        assert all(parameter.help for parameter in command.params if isinstance(parameter, click.Option)), name
