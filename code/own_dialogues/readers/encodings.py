"""Files as UTF-8, whatever they are in: UTF-16 by its mark, the code pages of spreadsheets and editors by a guess."""

import codecs
import io
from typing import BinaryIO

from own_dialogues.report import Remark

BLOCK = 1 << 16  # bytes
SAMPLE = 1 << 16  # bytes of lines that are no ASCII, from which the code page is guessed
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp932", "gb18030", "cp949", "big5")
USUAL = "cp1252"
# In cp1252 letters that few languages know; in a broken file the commonest of all.
_IMPLAUSIBLE = b"\xff\xfe"


class _Recoded(io.RawIOBase):
    """A file of another encoding, read as UTF-8; it goes back to its beginning only. Raises UnicodeDecodeError."""

    def __init__(self, stream: BinaryIO, encoding: str) -> None:
        self.stream, self.encoding = stream, encoding
        self.seek(0)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if (offset, whence) != (0, io.SEEK_SET):
            raise io.UnsupportedOperation("a recoded file goes back to its beginning only")
        self.stream.seek(0)
        self.decoder, self.waiting, self.ended = codecs.getincrementaldecoder(self.encoding)(), b"", False
        return 0

    def tell(self) -> int:
        return 0

    def readinto(self, buffer: memoryview) -> int:
        while not self.waiting and not self.ended:
            block = self.stream.read(io.DEFAULT_BUFFER_SIZE)
            self.ended = not block
            self.waiting = self.decoder.decode(block, final=self.ended).encode("utf-8", "surrogatepass")
        count = min(len(buffer), len(self.waiting))
        buffer[:count], self.waiting = self.waiting[:count], self.waiting[count:]
        return count


def as_utf8(stream: BinaryIO, guesses: bool) -> tuple[BinaryIO, Remark | None]:
    """The stream, read as UTF-8 from its beginning, and what there is to say of it.

    guesses: whether a code page may be guessed (JSON is in Unicode). What is in no encoding that can be told comes
    back as it is, and whoever reads it names the line.
    """
    begin = stream.read(4)
    stream.seek(0)
    marked = next((encoding for mark, encoding in _MARKS if begin.startswith(mark)), None)
    if marked == "utf-8-sig" or (marked is None and not guesses):
        return stream, None
    encoding = marked or _guess(stream)
    stream.seek(0)
    if encoding is None:
        return stream, None
    remark = (
        None if marked else Remark(f"read as {encoding}, as it is no UTF-8: if letters are wrong, save it as UTF-8")
    )
    return io.BufferedReader(_Recoded(stream, encoding)), remark


def _guess(stream: BinaryIO) -> str | None:
    """The code page of a file that is no UTF-8, None for one that is, or where several fit equally well."""
    if _is_utf8(stream):
        return None
    stream.seek(0)
    sample, told = b"", 0
    for line in iter(lambda: stream.readline(SAMPLE), b""):
        if not line.isascii():
            sample, told = sample + line, told + _count_utf8(line)
        if len(sample) > SAMPLE:
            break
    if told or b"\0" in sample or any(byte in sample for byte in _IMPLAUSIBLE):
        return None  # UTF-8 with a fault in it, or no text
    return _best_page(sample)


def _is_utf8(stream: BinaryIO) -> bool:
    decoder = codecs.getincrementaldecoder("utf-8")()
    try:
        for block in iter(lambda: stream.read(BLOCK), b""):
            decoder.decode(block)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _count_utf8(line: bytes) -> int:
    """Characters beyond ASCII of a line that is UTF-8; 0 for one that is not."""
    try:
        return sum(not character.isascii() for character in line.decode("utf-8"))
    except UnicodeDecodeError:
        return 0


def _best_page(sample: bytes) -> str | None:
    from charset_normalizer import from_bytes

    matches = list(from_bytes(sample, cp_isolation=list(CODE_PAGES)))
    if not matches:
        return None
    rank = min((match.chaos, -match.coherence) for match in matches)
    best = [match for match in matches if (match.chaos, -match.coherence) == rank]
    if any(USUAL in match.could_be_from_charset for match in best):
        return USUAL
    return best[0].encoding if len(best) == 1 else None
