"""Reads files of other encodings as UTF-8: UTF-16 is known by its mark, code pages are guessed."""

import argparse
import codecs
import io
from typing import BinaryIO

from dialogue_files.report import Remark
from dialogue_files.turns import LineError

BLOCK = 1 << 16  # bytes
SAMPLE = 1 << 16  # bytes of lines that are no ASCII, from which the code page is guessed
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
CODE_PAGES = ("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "mac_roman", "cp932", "gb18030", "cp949", "big5")
USUAL = "cp1252"
_UTF8 = ("utf-8", "utf-8-sig")
ALLOWED = "allowed is text in one encoding: --encoding says which (utf-8, utf-16-le, cp1252, ...)"
OLD_ENDS = Remark("its lines end as on old Macs, in CR alone")
# Code page -> bytes that are rare letters there, but the commonest bytes of broken or binary files.
_IMPLAUSIBLE = {"cp1252": b"\xff\xfe", "cp1250": b"\xff\xfe", "mac_roman": b"\xff\xfe"}


class _Recoded(io.RawIOBase):
    """A file of another encoding, read as UTF-8; `seek` goes to its beginning only.

    old_ends: its lines end in CR, and are read as if they ended in LF. Raises LineError where the file is not in that
    encoding.
    """

    def __init__(self, stream: BinaryIO, encoding: str, old_ends: bool) -> None:
        self.stream, self.encoding, self.old_ends = stream, encoding, old_ends
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
        self.line = 1
        return 0

    def tell(self) -> int:
        return 0

    def readinto(self, buffer: memoryview) -> int:
        while not self.waiting and not self.ended:
            block = self.stream.read(io.DEFAULT_BUFFER_SIZE)
            self.ended = not block
            text = self._decode(block)
            self.line += text.count("\n")
            self.waiting = text.encode("utf-8", "surrogatepass")
        count = min(len(buffer), len(self.waiting))
        buffer[:count], self.waiting = self.waiting[:count], self.waiting[count:]
        return count

    def _decode(self, block: bytes) -> str:
        before = self.decoder.getstate()
        try:
            text = self.decoder.decode(block, final=not block)
        except UnicodeError as error:
            read = self._readable(block[: max(0, getattr(error, "start", 0) - len(before[0]))], before)
            told = f"not {self.encoding} text ({getattr(error, 'reason', error)}), {ALLOWED}"
            raise LineError(self.line + self._with_ends(read).count("\n"), told) from None
        return self._with_ends(text)

    def _readable(self, block: bytes, before: tuple[bytes, int]) -> str:
        """The text before a byte that cannot be decoded; empty for UTF-32 without its mark."""
        self.decoder.setstate(before)
        try:
            return self.decoder.decode(block)
        except UnicodeError:
            return ""

    def _with_ends(self, text: str) -> str:
        return text.replace("\r", "\n") if self.old_ends else text


def check_encoding(name: str) -> str:
    """Python's name of a text encoding; argparse.ArgumentTypeError for an unknown one."""
    try:
        codecs.getincrementaldecoder(name)
        "a".encode(name)
    except (LookupError, ValueError):
        told = f"{name!r} is no encoding, allowed are utf-8, utf-16-le, cp1252, mac_roman and others that Python knows"
        raise argparse.ArgumentTypeError(told) from None
    return codecs.lookup(name).name


def as_utf8(stream: BinaryIO, guesses: bool, encoding: str | None = None) -> tuple[BinaryIO, list[Remark]]:
    """(the stream from its beginning, as UTF-8, remarks on its encoding).

    guesses: whether a code page may be guessed, which it may not for JSON. encoding: of the stream; None: not given. A
    stream whose encoding cannot be told comes back unchanged, and its reader names the line that is no UTF-8.
    """
    begin = stream.read(BLOCK)
    old_ends = b"\r" in begin and b"\n" not in begin
    marked = next((one for mark, one in _MARKS if begin.startswith(mark)), None)
    remarks = []
    if encoding:
        remarks = [Remark(f"read as {encoding}, as --encoding says")]
    elif marked:
        encoding, remarks = marked, [Remark(f"read as {marked}, as its first bytes say")]
    elif guesses:
        stream.seek(0)
        encoding = _guess(stream)
        remarks = [Remark(f"read as {encoding}, which is guessed, as it is no UTF-8; otherwise: --encoding")]
    if encoding in (None, *_UTF8):
        encoding, remarks = _UTF8[0], []
    if old_ends:
        remarks.append(OLD_ENDS)
    stream.seek(0)
    if encoding in _UTF8 and not old_ends:
        return stream, remarks
    return io.BufferedReader(_Recoded(stream, encoding, old_ends)), remarks


def _guess(stream: BinaryIO) -> str | None:
    """The code page of a file; None where it is UTF-8, or where several pages fit equally well."""
    if _is_utf8(stream):
        return None
    stream.seek(0)
    sample, told = b"", 0
    for line in iter(lambda: stream.readline(SAMPLE), b""):
        if not line.isascii():
            sample, told = sample + line, told + _count_utf8(line)
        if len(sample) > SAMPLE:
            break
    if told or b"\0" in sample:
        return None  # UTF-8 with a fault in it, or no text
    page = _best_page(sample)
    return None if any(byte in sample for byte in _IMPLAUSIBLE.get(page, b"")) else page


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
    """The number of characters beyond ASCII in a line of UTF-8; 0 for a line that is none."""
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
