"""A file format: labelled tab-separated values, `title:Red mug<TAB>category:Mugs` on each line.

Copy it to `indexer/reading/files/`: every command and function then reads this format.
"""

from shelfwise.indexer.reading.files import Content, Record, Records, Source, decodable
from shelfwise.indexer.reading.rejects import Reject

SUFFIXES, MAGIC, IS_TEXT = (".ltsv",), (), True


def recognises(text: str) -> bool:
    """Return True if each field of the first line has a label."""
    fields = text.partition("\n")[0].split("\t")
    return len(fields) > 1 and all(":" in field for field in fields)


def opened(source: Source) -> Content:
    """Return the labels found in the sample, in order of appearance, and a reader of all lines."""
    columns = {label: None for line in source.sample.splitlines() for label in _values(line)}
    return Content(list(columns), lambda: _records(source))


def _records(source: Source) -> Records:
    with source.lines() as lines:
        for line in filter(str.strip, lines):
            values = _values(line)
            if values:
                yield decodable(Record(lines.number, dict(values)), source.name)
            else:  # reject a bad line alone, with its reason
                reason = "no field has a label, such as title:Red mug"
                yield Reject(source.name, lines.number, "", line.rstrip(), "no_label", reason)


def _values(line: str) -> dict[str, str]:
    fields = (field.partition(":") for field in line.rstrip("\r\n").split("\t"))
    return {label: value for label, colon, value in fields if colon}
