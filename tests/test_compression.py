import bz2
import gzip
import io
import lzma

import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from shelfwise.indexer.reading.compression import UNREADABLE, decompressed

TEXT = "".join(f"{i},红色茶杯 {i * i}\n" for i in range(3_000)).encode()
KINDS = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}


def opened(data):
    return decompressed(io.BufferedReader(io.BytesIO(data), 1 << 20))


def expanded(data):
    return opened(data)[0].read()


@pytest.mark.parametrize("suffix", KINDS)
def test_each_kind_is_recognised_by_its_bytes(suffix):
    stream, ending = opened(KINDS[suffix](TEXT))
    assert stream.peek(10).startswith(TEXT[:10])
    assert (stream.read(), ending) == (TEXT, suffix)
    assert (stream.read(), stream.read1(5)) == (b"", b"")  # the end stays the end


def test_plain_data_is_returned_as_it_is():
    stream, ending = opened(TEXT)
    assert (stream.read(), ending) == (TEXT, "")
    assert opened(b"")[0].read() == b""


@pytest.mark.parametrize("suffix", KINDS)
def test_all_members_are_read(suffix):
    pack = KINDS[suffix]
    assert expanded(pack(TEXT) + pack(b"") + pack(b"last")) == TEXT + b"last"


@pytest.mark.parametrize("suffix", KINDS)
def test_zeros_after_the_data_are_padding(suffix):
    assert expanded(KINDS[suffix](TEXT) + bytes(70_000)) == TEXT
    assert expanded(KINDS[suffix](TEXT) + bytes(512) + KINDS[suffix](b"last")) == TEXT + b"last"


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("garbage", [b"x", b"id,title\n1,mug\n", b"\0\0x"])
def test_other_data_after_the_compressed_data_is_an_error(suffix, garbage):
    with pytest.raises(UNREADABLE):
        expanded(KINDS[suffix](TEXT) + garbage)


@pytest.mark.parametrize("suffix", KINDS)
def test_truncated_data_gives_its_beginning_and_then_an_error(suffix):
    text = TEXT * 20
    stream, _ = opened(KINDS[suffix](text)[:-9])
    found = b""
    with pytest.raises(UNREADABLE):
        while piece := stream.read1(1000):
            found += piece
    assert text.startswith(found)


@pytest.mark.parametrize("suffix", KINDS)
@given(data=st.data())
def test_no_cut_or_flip_changes_data_in_silence(suffix, data):
    whole = KINDS[suffix](TEXT)
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        changed = whole[:place]
    else:
        changed = whole[:place] + bytes([whole[place] ^ (1 << data.draw(st.integers(0, 7)))]) + whole[place + 1 :]
    try:
        found, ending = opened(changed)[0].read(), opened(changed)[1]
    except UNREADABLE:
        return
    # Some bits of a header have no meaning. Zstandard's own checksum is optional.
    assert found == TEXT or not ending or suffix == ".zst"


def test_data_compressed_twice_is_read():
    stream, ending = opened(gzip.compress(bz2.compress(TEXT)))
    assert (stream.read(), ending) == (TEXT, ".bz2.gz")
    thrice = gzip.compress(gzip.compress(gzip.compress(TEXT)))
    assert gzip.decompress(expanded(thrice)) == TEXT


def test_memory_stays_bounded_for_data_that_expands_a_lot():
    import tracemalloc

    bomb = zstd.compress(bytes(200 << 20))
    tracemalloc.start()
    stream, _ = opened(bomb)
    total = 0
    while piece := stream.read1(1 << 16):
        total += len(piece)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 200 << 20
    assert peak < 20 << 20
