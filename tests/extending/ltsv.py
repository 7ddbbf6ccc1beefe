"""A file format: labelled tab-separated values, `title:Red mug<TAB>category:Mugs` on each line.

Copied to `indexer/reading/files/`, it is read by every command and call.
"""

from shelfwise.indexer.reading.files import Content, Record, Records, Source, decodable

SUFFIXES, MAGIC, IS_TEXT = (".ltsv",), b"", True


def recognises(text: str) -> bool:
    """Return whether each field of the first line has a label."""
    fields = text.partition("\n")[0].split("\t")
    return len(fields) > 1 and all(":" in field for field in fields)


def opened(source: Source) -> Content:
    """Return the labels of the first line, and the lines."""
    return Content(list(_values(source.sample.partition("\n")[0])), lambda: _records(source))


def _records(source: Source) -> Records:
    with source.lines() as lines:
        for line in lines:
            if line.strip():
                yield decodable(Record(lines.number, dict(_values(line))), source.name)


def _values(line: str) -> dict[str, str]:
    fields = (field.partition(":") for field in line.rstrip("\r\n").split("\t"))
    return {label: value for label, _, value in fields}
