"""XML: feeds of Google Merchant Center (RSS and Atom), and other files that repeat an element for each product."""

import codecs
import html
import io
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO
from xml.parsers import expat
from xml.parsers.expat import XMLParserType

from shelfwise.indexer.errors import InputError, first_line
from shelfwise.indexer.reading.files import Content, Record, Records, Source, require_encoding
from shelfwise.indexer.reading.rejects import Reject

SUFFIXES, IS_TEXT = (".xml", ".rss", ".atom"), False
_WEB_PAGES = (b"<!DOCTYPE html", b"<!doctype html", b"<!DOCTYPE HTML", b"<html", b"<HTML")
MAGIC = (b"<?xml", b"\xef\xbb\xbf<?xml", b"\xff\xfe<\0?\0", b"\xfe\xff\0<\0?", b"<rss", b"<feed", *_WEB_PAGES)

GOOGLE = "http://base.google.com/ns/1.0"
MAX_DEPTH = 100  # levels of elements within a record
_SAMPLE = 1 << 20  # bytes searched for the element that repeats
_PIECE = 1 << 16  # bytes parsed at a time
_FEEDS = {"rss": ("rss", "channel", "item"), "RDF": ("RDF", "item"), "feed": ("feed", "entry")}  # their rows by root
_DECLARED = re.compile(rb"(?:\xef\xbb\xbf)?<\?xml[^>]{0,100}?encoding\s*=\s*[\"']([A-Za-z0-9._-]{1,40})[\"']")
_NATIVE = {"utf-8", "utf-16", "iso8859-1", "ascii"}  # encodings that the parser knows
_TRUNCATED = {
    expat.errors.codes[message]
    for message in (
        expat.errors.XML_ERROR_NO_ELEMENTS,
        expat.errors.XML_ERROR_UNCLOSED_TOKEN,
        expat.errors.XML_ERROR_PARTIAL_CHAR,
        expat.errors.XML_ERROR_UNCLOSED_CDATA_SECTION,
    )
}
_PARSING = (expat.ExpatError, ValueError, LookupError)  # what parsing raises

ElementPath = tuple[str, ...]  # local names of an element and those around it, from the root


def recognises(text: str) -> bool:
    """Return False: the first bytes identify the format."""
    return False


def opened(source: Source) -> Content:
    """Return the columns of the first rows, and the rows.

    A row is an RSS item, an Atom entry, or the element that repeats. Its children are columns, by their names without a
    prefix; a child that repeats is a list, one with children a dict. Raise InputError for a web page, for a file with
    declarations of its own (entities can fill the memory or name other files), and for a file without such an element.
    """
    stream = source.stream
    sample: bytes = stream.peek(_SAMPLE)[:_SAMPLE]  # type: ignore[attr-defined]  # a BufferedReader
    if sample.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(_WEB_PAGES):
        raise _web_page(source.name)
    row = _row_path(sample, source.name)
    columns: dict[str, None] = {}
    for record in _records(io.BytesIO(sample), row, source.name, partial=True):
        if isinstance(record, Record):
            columns |= dict.fromkeys(record.values)
    notices = [] if row in _FEEDS.values() else [f"read each <{row[-1]}> as a row"]
    return Content(list(columns), lambda: _records(stream, row, source.name), notices=notices)


@dataclass
class _Element:
    """An open element of a record: its children by prefix and local name, and all text in it."""

    attributes: dict[str, str]
    line: int
    children: dict[tuple[str, str], list[object]] = field(default_factory=dict)
    texts: list[str] = field(default_factory=list)
    has_text: bool = False  # of its own, which is more than white space

    def value(self, google: set[str]) -> object:
        """Return the text, or a dict if there are children; an element without either is its attributes."""
        if self.children and not self.has_text:
            return self.values(google)
        text = "".join(self.texts).strip()
        return text or self.attributes or ""

    def values(self, google: set[str]) -> dict[str, object]:
        """Return the children by local name.

        If a name comes with several prefixes, Google's has the name, and others keep their prefix if they differ. An
        attribute has its name, too, unless a child has it.
        """
        best: dict[str, str] = {}  # the prefix of each name
        for prefix, name in sorted(self.children, key=lambda child: (child[0] not in google, child[0] != "")):
            best.setdefault(name, prefix)
        found: dict[str, object] = {}
        for (prefix, name), values in self.children.items():
            if best[name] == prefix:
                found[name] = _one_or_all(values)
            elif values != self.children[best[name], name]:
                found[f"{prefix or 'plain'}:{name}"] = _one_or_all(values)
        return found | {name: value for name, value in self.attributes.items() if name not in found}


def _one_or_all(values: list[object]) -> object:
    return values[0] if len(values) == 1 else values


class _Rows:
    """Handlers of a parser, which put the records of the elements at `row` into `ready`."""

    def __init__(self, parser: XMLParserType, row: ElementPath, name: str) -> None:
        self.ready: list[Record | Reject] = []
        self._parser, self._row, self._name = parser, row, name
        self._path: list[str] = []
        self._open: list[_Element] = []
        self._google = {"g"}  # prefixes of Google's names
        self._too_deep = False
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._text
        # Entities that HTML has, such as &nbsp;, are known without a declaration.
        parser.SkippedEntityHandler = lambda entity, _: self._text(html.unescape(f"&{entity};"))

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        for name, uri in attributes.items():
            if uri == GOOGLE and name.startswith("xmlns:"):
                self._google.add(name.removeprefix("xmlns:"))
        self._path.append(_local(tag))
        if self._open or tuple(self._path) == self._row:
            own = {_local(name): value for name, value in attributes.items() if not name.startswith("xmlns")}
            self._open.append(_Element(own, self._parser.CurrentLineNumber))

    def _text(self, text: str) -> None:
        if self._open:
            self._open[-1].texts.append(text)
            self._open[-1].has_text |= not text.isspace()

    def _end(self, tag: str) -> None:
        self._path.pop()
        if not self._open:
            return
        element = self._open.pop()
        if len(self._open) > MAX_DEPTH:
            self._too_deep = True
        elif self._open:
            self._add(self._open[-1], tag, element)
        elif self._too_deep:
            reason = f"elements nested more than {MAX_DEPTH} levels deep"
            self.ready.append(Reject(self._name, element.line, "", "", "bad_xml", reason))
            self._too_deep = False
        else:
            self.ready.append(Record(element.line, element.values(self._google)))

    def _add(self, parent: _Element, tag: str, element: _Element) -> None:
        prefix, _, name = tag.rpartition(":")
        value = element.value(self._google)
        parent.children.setdefault((prefix, name), []).append(value)
        parent.texts += element.texts  # of mixed content, such as HTML
        if isinstance(value, str) and value:
            for attribute, said in element.attributes.items():
                parent.children.setdefault((prefix, f"{name}@{attribute}"), []).append(said)


def _local(name: str) -> str:
    return name.rpartition(":")[2]


class _Survey:
    """Counts of the elements in a sample by path, `parents` of those with children of their own."""

    def __init__(self, parser: XMLParserType, name: str) -> None:
        self.root = ""
        self.elements: Counter[ElementPath] = Counter()
        self.parents: Counter[ElementPath] = Counter()
        self._name = name
        self._open: list[tuple[ElementPath, bool]] = []
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        name = _local(tag)
        if not self._open:
            self.root = name
            _require_data(name, self._name)
        around = self._open[-1][0] if self._open else ()
        if self._open:
            self._open[-1] = (around, True)
        path = (*around[:MAX_DEPTH], name)
        self.elements[path] += 1
        self._open.append((path, len(attributes) > 1))

    def _end(self, tag: str) -> None:
        path, has_values = self._open.pop()
        self.parents[path] += has_values

    def row(self) -> ElementPath:
        """Return the path of the elements that are rows."""
        feed = _FEEDS.get(self.root)
        repeated = [path for path, count in self.parents.items() if count > 1]
        if feed is not None and (feed in self.elements or not repeated):
            return feed
        if repeated:
            return min(repeated, key=lambda path: (len(path), -self.parents[path]))
        row: ElementPath = (self.root,)  # a single product, perhaps within others
        while len(inner := [path for path in self.elements if path[:-1] == row]) == 1 and self.parents[inner[0]]:
            row = inner[0]
        return row


def _row_path(sample: bytes, name: str) -> ElementPath:
    pieces, encoding = _pieces(io.BytesIO(sample), name)
    parser = _parser(name, encoding)
    survey = _Survey(parser, name)
    try:
        for piece in pieces:
            parser.Parse(piece, False)
    except _PARSING as error:
        if not survey.elements:
            raise _faulty(error, name) from None
    if not survey.elements:
        raise InputError("bad_xml", f"{name} has no XML elements", "well-formed XML", "export it again")
    return survey.row()


def _records(stream: IO[bytes], row: ElementPath, name: str, partial: bool = False) -> Records:
    """Yield the records of the elements at `row`. The stream may end early if it is `partial`."""
    pieces, encoding = _pieces(stream, name)
    parser = _parser(name, encoding)
    rows = _Rows(parser, row, name)
    fault: Exception | None = None
    for piece in itertools.chain(pieces, [b""]):
        try:
            parser.Parse(piece, not piece)
        except _PARSING as error:
            fault = error
        yield from rows.ready
        rows.ready.clear()
        if fault is not None:
            if partial:
                return
            raise _faulty(fault, name)


def _pieces(stream: IO[bytes], name: str) -> tuple[Iterator[bytes], str | None]:
    """Return the bytes in pieces, and their encoding if the parser has to be told.

    The parser knows UTF-8, UTF-16 and Latin 1. Other encodings, by the declaration, are turned into UTF-8. Raise
    InputError for an unknown encoding.
    """
    first = stream.read(_PIECE)
    if first.lstrip().startswith(b"<?xml"):  # some shops send empty lines before it
        first = first.lstrip()
    raw = itertools.chain([first], iter(lambda: stream.read(_PIECE), b""))
    declared = _DECLARED.match(first)
    if declared is None:
        return raw, None
    encoding = declared[1].decode()
    require_encoding(encoding)
    if codecs.lookup(encoding).name in _NATIVE:
        return raw, None
    return _as_utf8(raw, encoding, name), "utf-8"


def _as_utf8(raw: Iterator[bytes], encoding: str, name: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        for piece in raw:
            if text := decoder.decode(piece):  # an empty piece would end the file
                yield text.encode()
    except UnicodeError:
        raise InputError(
            "undecodable_file",
            f"{name}: its text is not valid {encoding}, which its first line declares",
            f"text in {encoding}",
            "correct the encoding in the first line",
        ) from None


def _parser(name: str, encoding: str | None) -> XMLParserType:
    parser = expat.ParserCreate(encoding)
    parser.buffer_text = True
    parser.UseForeignDTD(True)  # report unknown entities in text and go on; no file or address is ever opened

    def require_no_declarations(doctype: str, _system: str | None, _public: str | None, internal: int) -> None:
        _require_data(doctype, name)
        if internal:
            raise InputError(
                "xml_declarations",
                f"{name} declares entities or elements of its own",
                "XML without declarations in <!DOCTYPE ...>",
                "export it again without them",
            )

    parser.StartDoctypeDeclHandler = require_no_declarations
    return parser


def _require_data(root: str, name: str) -> None:
    """Raise InputError if the root element or document type is that of a web page or a spreadsheet."""
    if root.lower() == "html":
        raise _web_page(name)
    if root == "Workbook":
        raise InputError(
            "is_a_spreadsheet", f"{name} is a spreadsheet saved as XML", "an Excel workbook", "save it as .xlsx"
        )


def _web_page(name: str) -> InputError:
    return InputError(
        "is_a_web_page",
        f"{name} is a web page (HTML)",
        "a catalog, such as XML or CSV",
        "check the address that it was fetched from",
    )


def _faulty(error: Exception, name: str) -> InputError:
    if isinstance(error, expat.ExpatError) and error.code in _TRUNCATED:
        return InputError(
            "damaged_file", f"{name} ends too early, on line {error.lineno}", "an intact file", "fetch it again"
        )
    return InputError(
        "bad_xml", f"{name} is not well-formed XML: {first_line(error)}", "well-formed XML", "export it again"
    )
