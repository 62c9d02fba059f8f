"""Chats as phones and meetings save them in text: WhatsApp, Zoom's chat, Discord. A file is one dialogue."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from dialogue_files.readers.lines import DAY_IN_WORDS, without_times
from dialogue_files.readers.tables import fold_name, read_table
from dialogue_files.report import LeftOut
from dialogue_files.turns import LONGEST_UTTERANCE, LineError, Read, ReadTurn, read_lines

NOTICES, ATTACHMENTS, DELETED, REACTIONS = "notices", "attachments", "deleted messages", "reactions"
BOTS = "messages of bots"
# Marks of writing direction that phones put around names and notices.
_DIRECTION_MARKS = re.compile("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
# Before what an iPhone says itself, and lines with attachments: the second in languages written from right to left.
_OF_PHONE = "[\u200e\u200f]"
_DATE = r"(?:\d{1,4}[./-] ?\d{1,2}[./-] ?\d{1,4}\.?|\d{4}[年년] ?\d{1,2}[月월] ?\d{1,2}[日일])"
# Halves of the day behind a time: English, Spanish; Arabic, Persian, Hebrew, Greek, Bulgarian, Ukrainian, Czech,
# Slovene, Finnish, Swedish, Vietnamese, Malay, as CLDR has them. Others stand before it, 'du. 7:35' in Hungarian.
_HALF = (
    r"(?:[AaPp]\.?\s?[Mm]\.?|[صم]|[قب]\.ظ\.|(?:לפנה|אחה)[״\"]צ|[πμ]\.μ\.|(?:пр|сл)\.об\.|[дп]п|(?:do|od|po)p\."
    r"|[ai]p\.|[fe]m|SA|CH|PG|PTG)"
)
_CLOCK = rf"(?:[^\W\d]{{1,4}}\.?\s?)?\d{{1,2}}[:.]\d{{2}}(?:[:.]\d{{2}})?(?:\s?{_HALF})?"
# The time stands first in Vietnamese, and in what is copied from WhatsApp Web.
_WHEN = rf"(?:{_DATE}[,،]?\s+(?:(?:um|at|às|à|kl\.?|klo)\s+)?{_CLOCK}|{_CLOCK}[,،]?\s+{_DATE})"
WHATSAPP = re.compile(rf"(?:\[{_WHEN}\]|{_WHEN}(?:\s[-–]|,))\s+(?P<rest>.*)", re.DOTALL)
# A name ends in what is no blank: then a long row of blanks is looked at once, and not once for each of its parts.
# 'Ann :)' is a name too: the colon behind one has a blank behind it.
_WHATSAPP_SAID = re.compile(r"(?:~\s*+)?(?P<name>[^\s:](?:.{0,98}?\S)??)(?P<gap>\s*+):(?:\s+(?P<text>.*))?", re.DOTALL)
_NICK = re.compile(r"\A<[ @+%&~]?([^<>:|]{1,100})> ")  # of IRC, where its log has dates
_QUOTE = re.compile('[“”„«»‹›「」『』]|(?<!\\w)"|(?<!\\d)"(?!\\w)')  # not that in 'ד"ר', a title, nor of inches
# Somebody is said to have done something: a notice, whatever colon comes later in it.
_WHATSAPP_DONE = re.compile(
    r".*\b(?:changed|created|named (?:the|this|it)|added|removed|left|joined|pinned|hat|haben|wurde|cambió|creó|añadió"
    r"|a changé|a créé)\b",
    re.I,
)
# The same in French, which writes a blank before a colon.
_WHATSAPP_FAIT = re.compile(r".*\b(?:a|avez|ont)\s(?:été\s)?(?:\w+ée?s?|rejoint|mis)\b", re.I)
# '<Media omitted>', alone in a line; a single word only in what is written without blanks: Thai, Lao, Japanese, Chinese
_IN_ANGLES = re.compile(
    r"[<‹](?:(?:(?![^\W\d_])[^<>‹›|/])*+[^\W\d_][^<>‹›|/ :]*+[ :][^<>‹›|/]*+"
    r"|[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]{5,})[>›]"
)
_ATTACHED = re.compile(r"<[^<>:|/]{3,20}: [^<>]+\.\w{2,5}>")  # '<attached: 1.jpg>', with words before it perhaps
# 'Plan.pdf • 2 pages', before such words; without the mark 'We met at 10.30' may stand beside a picture.
_TITLE = re.compile(r"\S.*\.(?P<suffix>\w{2,5})(?P<mark> •(?: \d+ \w+)?)?")
_DOCUMENT = re.compile(r"do[ck]ument", re.I)  # in English, German, French, Italian, Portuguese, Spanish
_FILE = re.compile(
    r".*\.\w{2,5} \((?:file attached|Datei angehängt|archivo adjunto|fichier joint|file allegato)\)"
    r"|[A-Z]{3}-\d{8}-WA\d{4,}\.\w{2,5} \([^()]+\)",
    re.I,
)
_PLACE = re.compile(
    r"live location shared|[^\W\d_]{3,20}\s?: https?://(?:maps\.google\.|www\.google\.\w+/maps|foursquare\.)\S+", re.I
)
# 'POLL:', the question, 'OPTION: ...' (in French with a blank before the colon, 'OPCIÓN' in Spanish)
_POLL = re.compile(
    r"[A-ZÀ-ÖØ-Þ]{3,15}\s?: *+\n(?:(?!OP[A-ZÀ-ÖØ-Þ]{3,6}\s?: )[^\n]*+\n)++"
    r"(?:OP[A-ZÀ-ÖØ-Þ]{3,6}\s?: [^\n]*\(\d+ [^\W\d_]+\)(?:\n|$))++"
)
# What an iPhone writes for what it leaves out, in the words of the app itself: those of its Localizable.strings, which
# lib/src/patterns.dart of github.com/starkdmi/whats_json has collected, and of exports where these have changed.
_OMITTED = re.compile(
    r"(?:image|video(?: note)?|audio|sticker|gif|document|contact card) omitted"
    r"|(?:bild|video|audio|sticker|gif|dokument|kontaktkarte) (?:weg|aus)gelassen"
    r"|(?:imagen|v[ií]deo|nota de v[ií]deo|audio|sticker|gif|documento|tarjeta de contacto) omitid[oa]"
    r"|(?:image|vidéo) absente|(?:audio|sticker) omis|gif retiré|document manquant|fiche contact manquante"
    r"|(?:immagine|video|audio|documento|scheda contatto) omess[oa]|sticker non incluso|gif esclusa"
    r"|(?:imagem|vídeo|áudio|figurinha|gif|documento|cartão do contato) (?:omitid|ocultad)[oa]"
    r"|(?:imagem|vídeo|ficheiro de áudio|sticker|gif|documento|contacto) não revelad[oa]"
    r"|(?:afbeelding|video|audio|sticker|gif|document|visitekaartje) weggelaten"
    r"|(?:görüntü|video|ses|çıkartma|gif|belge|kişi kartı) dahil edilmedi"
    r"|(?:изображение|видео|аудиофайл|gif|документ|карточка контакта) отсутствует|стикер не добавлен"
    r"|(?:зображення|відео|аудіо) відсутнє|картка контакту відсутня|(?:документ|gif-анімацію) пропущено"
    r"|наклейку не додано|obraz pominięty|wideo pominięte|audio pominięte|pominięto naklejkę|plik gif pominięty"
    r"|dokument pominięty|pominięta wizytówka kontaktu"
    r"|התמונה הושמטה|(?:סרטון הווידאו|קטע קול|השמע|סטיקר|gif|כרטיס איש קשר|מסמך) הושמט"
    r"|لم يتم إدراج (?:الصورة|الفيديوهات|المقاطع الصوتية|صورة gif|المستند|بطاقة جهة اتصال)|تم حذف الملصقات"
    r"|(?:gambar|video|audio|stiker|gif|dokumen|kartu kontak) tidak disertakan"
    r"|(?:画像|ビデオ|音声|スタンプ|gif|ドキュメント)は含まれていません|連絡先カードを省略"
    r"|(?:이미지|비디오|오디오|gif|문서|연락처 카드) 생략됨|스티커 제외됨"
    r"|(?:圖片|圖像|照片|影片|视频|音訊|音频|貼圖|贴图|文件|文档|聯絡人卡片|联系人卡片)已(?:略去|省略|忽略)",
    re.I,
)
_DELETED = re.compile(
    r"(?:this message was deleted|you deleted this message|(?:diese nachricht wurde|du hast diese nachricht) gelöscht"
    r"|(?:se eliminó este mensaje|eliminaste este mensaje)|(?:ce message a été supprimé|vous avez supprimé ce message)"
    r"|mensagem apagada|esta mensagem foi apagada|você apagou esta mensagem|questo messaggio è stato eliminato"
    r"|hai eliminato questo messaggio|dit bericht (?:is|werd) verwijderd|je hebt dit bericht verwijderd"
    r"|данное сообщение удалено|вы удалили данное сообщение|bu mesaj silindi|bu mesajı sildiniz"
    r"|ta wiadomość została usunięta|usunąłeś tę wiadomość|este mensaje fue eliminado|essa mensagem foi apagada"
    r"|это сообщение (?:было )?удалено|вы удалили это сообщение|pesan ini telah dihapus|anda menghapus pesan ini"
    r"|このメッセージは削除されました|このメッセージを削除しました|삭제된 메시지입니다|이 메시지는 삭제되었습니다"
    r"|(?:此|这条|這則)(?:消息|訊息)已被?(?:删除|刪除)|[你您]已?(?:删除|刪除)了?(?:此|这条|這則)(?:消息|訊息)"
    r"|تم حذف هذه الرسالة|لقد حذفت هذه الرسالة|הודעה זו נמחקה|מחקת הודעה זו|tin nhắn này đã bị xóa"
    r"|waiting for this message[.…]*(?: (?:this may take a while|check your phone)(?:\.? learn more)?)?|null)[.。]?",
    re.I,
)
_ANRUF = r"(?:sprach|video)anruf"
_LASTED = r"\d+ (?:sec|min|hrs?|hours?|sek|std)\b\.?(?: \d+ (?:sec|min|sek)\b\.?)?"
_CALLS = re.compile(
    rf"(?:(?:missed |silenced )?(?:(?:group )?(?:voice|video)|group) call|(?:verpasster )?(?:gruppen-?)?{_ANRUF})"
    rf"(?:[,.] ?(?:{_LASTED}|no answer|keine antwort|(?:tap|click) to call back|zum zurückrufen tippen|focus mode"
    r"|(?:answered|declined) on (?:an)?other device|\d+ (?:joined|invited)))?\.?"
    r"|(?:llamada|ligação|chamada|appel|chiamata)(?: de (?:voz|vídeo)| vocale?| vidéo)? (?:perdida|manqué|persa)"
    r"|(?:videollamada perdida|videochiamata persa)|gemiste (?:spraak|video-?)oproep"
    r"|cevapsız (?:sesli|görüntülü) arama|пропущенный (?:аудио|видео)звонок|nieodebrane połączenie (?:głosowe|wideo)"
    rf"|(?:missed (?:group )?(?:voice|video) call at|verpasster (?:gruppen-?)?{_ANRUF} um) {_CLOCK}(?: uhr)?\.?",
    re.I,
)
_EDITED = re.compile(
    r"<[^<>]*\b(?:edited|bearbeitet|editó|editada|modifié|modificato|bewerkt|düzenlendi|изменено|diedit|נערכה)\b"
    r"[^<>]*>$",
    re.I,
)

ZOOM = re.compile(
    r"(?:\d{4}-\d{2}-\d{2}\s+)?\d{1,2}:\d{2}:\d{2}\s++"
    r"(?:From\s++(?P<name>[^\s:](?:[^:]{0,98}?[^\s:])??)(?:\s++to\s++[^\s:](?:[^:]{0,198}?[^\s:])??)?\s*+:"
    r"(?:\s+(?P<text>.*))?"
    r"|(?P<short>[^\s:](?:[^:\t]{0,98}?[^\s:])??)\s*+(?<!\t):\t(?P<said>.*))",
    re.DOTALL | re.IGNORECASE,
)
_ZOOM_REACTION = re.compile(r"(?:Reacted to|Removed a .* reaction from)\s.*", re.DOTALL)
# What is quoted may hold quotes: it ends with its line, or with the dots of what is cut short; the newest Zoom writes a
# colon behind it.
_ZOOM_REPLY = re.compile(r"Replying to \"(?:[^\n]*\"(?=:?\n)|[^\n]*?\.\.\.\"|.*?\"(?=:?\n)|.*?\"):?\s*", re.DOTALL)
# The newest writes reactions below a message: 'Ann, Ben (he):\N{THUMBS UP SIGN}'.
_ZOOM_REACTED = re.compile(r"[^:]+:[^\w\s\x00-\u200c\u200e-\u203b]{1,20}")
_DISCORD_DATE = rf"(?:{_DATE}|{DAY_IN_WORDS}|\d\d-[A-Z][a-z]{{2}}-\d\d)"  # as of old: 01-May-24
_DISCORD_WHEN = rf"—\s++(?:{_DATE},?\s|(?:Today|Yesterday) at\s)?{_CLOCK}"
DISCORD = re.compile(
    rf"(?:\[{_DISCORD_DATE},?\s{_CLOCK}\]\s(?P<name>[^:]{{1,100}}?)(?:\s\(pinned\))?"
    rf"|(?P<pasted>[^\s:](?:[^:]{{0,98}}?[^\s:])??)\s++{_DISCORD_WHEN})"
)
# Where something is shown beside a name, it and the time stand on lines of their own: 'MEE6', 'APP', '— 10:01 AM'.
_DISCORD_TIME = re.compile(_DISCORD_WHEN)
_DISCORD_BOT = "\tBOT"  # behind the name of a program, where both are put on one line
_DISCORD_TAG = re.compile(r"APP|BOT|OP|\[[^\[\]]{1,8}\]")
_DISCORD_BESIDE = re.compile(r":\w+:|\s\[[^\[\]]{1,8}\],\Z")  # a picture, the tag of a server
# What DiscordChatExporter writes for somebody.
_DISCORD_DONE = re.compile(
    r"(?:Joined the server|Started a (?:call.*|thread)|Pinned a message|Left the group|Added .* to the group"
    r"|Removed .* from the group|(?:Added|Removed) a recipient|Changed the channel icon|A poll has closed)\."
    r"|Changed the channel name(?:\.|: .*)"
)
# The same in the window, behind a line with the name: 'started a call that lasted 2 minutes. \u2014 10:01 AM'.
_DISCORD_EVENT = re.compile(
    r"(?:started a (?:call|thread)|pinned a message|changed the channel|added .* to the (?:group|thread)"
    r"|removed .* from the (?:group|thread)|left the group|boosted the server)\b.*"
)
_DISCORD_COLUMNS = {"author_id", "author", "date", "content", "attachments"}
_DISCORD_FILE = re.compile(r"Attachment file type: \w+")  # then lines of its name and its size
_DISCORD_PART = re.compile(r"\{(?:Attachments|Embed|Stickers|Reactions)\}")


@dataclass
class _Message:
    """A message that grows by lines.

    speaker: None for a notice. by_phone: the phone says it in the person's name. attached: with a picture or a file.
    written: what an iPhone has written behind the text. is_bot: of a program.
    """

    speaker: str | None
    text: str
    line: int
    by_phone: bool = False
    attached: bool = False
    written: str = ""
    is_bot: bool = False

    def add(self, text: str, line: int) -> None:
        """One more line; LineError when the message becomes too long."""
        self.text, self.line = f"{self.text}\n{text}".lstrip("\n"), line
        if self.speaker is not None and len(self.text) > LONGEST_UTTERANCE:
            raise LineError(line, f"a message of {self.speaker!r} has more than {LONGEST_UTTERANCE:,} characters")
        self.text = self.text if self.speaker is not None else ""


def count_heads(lines: Sequence[str], pattern: re.Pattern[str]) -> int:
    """How many lines begin a message."""
    return sum(pattern.fullmatch(_unmarked(line)) is not None for line in lines)


def is_whatsapp(lines: Sequence[str]) -> bool:
    """Whether messages begin as in WhatsApp's export, and somebody says something, or there is nothing else."""
    heads = [WHATSAPP.fullmatch(_unmarked(line)) for line in lines]
    is_said = any(head and _whatsapp_said(head["rest"]) for head in heads)
    return any(heads[:3]) and (is_said or all(heads))


def _unmarked(line: str) -> str:
    return _DIRECTION_MARKS.sub("", line).strip()


def read_whatsapp(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat that WhatsApp has exported, on Android (date - name) or iOS ([date] name)."""
    message = None
    for number, line in read_lines(stream):
        head = WHATSAPP.fullmatch(_unmarked(line))
        if not head:
            if message is None:
                if line.strip():
                    yield LeftOut(NOTICES, number)
                continue
            message.add(line.rstrip("\r\n"), number)
            continue
        if message is not None:
            yield _whatsapp_item(message)
        said = _whatsapp_said(head["rest"])
        message = _Message(None, "", number)
        if said:
            text = said["text"] or ""
            mark = _OF_PHONE if "]" in line else "\u200e"  # on Android what people paste may begin with the other one
            by_phone = bool(text) and re.search(rf":\s+{mark}{re.escape(text[:4])}", line) is not None
            words = _without_phones(text, line)
            message = _Message(said["name"].strip(), words, number, by_phone, written=text[len(words) :])
    if message is not None:
        yield _whatsapp_item(message)


def _whatsapp_said(rest: str) -> re.Match[str] | None:
    """Who says what in the rest of a line; None for a notice, whose colon may stand in what it quotes."""
    said = _WHATSAPP_SAID.fullmatch(_NICK.sub(r"\1: ", rest))
    if said is None or len(_QUOTE.findall(said["name"])) % 2:
        return None
    is_done = _WHATSAPP_DONE.match(said["name"]) or (said["gap"] and _WHATSAPP_FAIT.match(said["name"]))
    return None if is_done and len(said["name"].split()) > 3 else said


def _without_phones(text: str, line: str) -> str:
    """A text without what an iPhone writes behind it, each after a mark, on lines with attachments.

    'Plan.pdf • |2 pages |document omitted' -> 'Plan.pdf •', '|': the mark. What is all of the text stays. Such lines
    begin with a mark too, in Arabic not always.
    """
    pieces = re.split(_OF_PHONE, line)[1:]
    if not re.match(_OF_PHONE, line) and not (pieces and _OMITTED.fullmatch(_unmarked(pieces[-1]))):
        return text
    for piece in reversed(pieces):
        written = _unmarked(piece)
        if not text.endswith(written) or len(written) >= len(text):
            break
        text = text.removesuffix(written).rstrip()
    return text


def _is_title(text: str, written: str) -> bool:
    """Whether a text is the title of a file. written: what the phone has written beside it; empty: it has not."""
    found = _TITLE.fullmatch(text) if written else None
    if not found:
        return False
    return bool(found["mark"] or _DOCUMENT.match(written.strip()) or f".{found['suffix']}>".lower() in written.lower())


def _whatsapp_item(message: _Message) -> Read:
    if message.speaker is None:
        return LeftOut(NOTICES, message.line)
    text = _EDITED.sub("", _DIRECTION_MARKS.sub("", message.text).strip()).rstrip()
    if _DELETED.fullmatch(text):
        return LeftOut(DELETED, message.line)
    if _CALLS.fullmatch(text):
        return LeftOut(NOTICES, message.line)
    bare = _ATTACHED.sub("", text)
    if _is_title(bare.strip(), message.written + "".join(_ATTACHED.findall(text))):
        return LeftOut(ATTACHMENTS, message.line)
    lines = [line for line in bare.split("\n") if not _FILE.fullmatch(line.strip())]
    if len(lines) > 1 and _IN_ANGLES.fullmatch(lines[0].strip()):  # with words below it
        lines = lines[1:]
    rest = "\n".join(lines).strip()
    if any(one.fullmatch(rest) for one in (_IN_ANGLES, _OMITTED, _PLACE, _POLL)) or (text and not rest):
        return LeftOut(ATTACHMENTS, message.line)
    if message.by_phone and rest == text:
        return LeftOut(NOTICES, message.line)
    return ReadTurn(0, None, message.speaker, rest, message.line)


def read_zoom_chat(stream: BinaryIO) -> Iterator[Read]:
    """Messages of the chat that Zoom saves beside a recording, of the old form (one line) and the new one (two)."""
    message = None
    for number, line in read_lines(stream):
        head = ZOOM.fullmatch(line.strip())
        if head:
            if message is not None:
                yield from _zoom_items(message)
            name, text = (head["name"], head["text"]) if head["name"] else (head["short"], head["said"])
            message = _Message(name, text or "", number)
        elif message is not None:
            message.add(line.strip(), number)
        elif line.strip():
            yield LeftOut(NOTICES, number)
    if message is not None:
        yield from _zoom_items(message)


def _zoom_items(message: _Message) -> Iterator[Read]:
    """The message, behind the reactions that stand below it."""
    text = message.text.strip()
    if _ZOOM_REACTION.fullmatch(text):
        yield LeftOut(REACTIONS, message.line)
        return
    lines = text.split("\n")
    while len(lines) > 1 and _ZOOM_REACTED.fullmatch(lines[-1]):
        lines.pop()
        yield LeftOut(REACTIONS, message.line)
    yield ReadTurn(0, None, message.speaker, _without_reply("\n".join(lines)), message.line)


def _without_reply(text: str) -> str:
    found = _ZOOM_REPLY.match(text)
    return text[found.end() :] if found else text


def read_discord_text(stream: BinaryIO) -> Iterator[Read]:
    """Messages of DiscordChatExporter's plain text, or copied out of Discord: a line of name and time, then text."""
    message, inside, of_file = None, True, 0
    for number, line in _discord_lines(stream):
        head = DISCORD.fullmatch(line)
        if head and head["pasted"] and _DISCORD_EVENT.match(head["pasted"]):
            if message is not None:  # the last line was the name
                message.text = message.text.rpartition("\n")[0]
            yield from _discord_items(message)
            message = None
            yield LeftOut(NOTICES, number)
        elif head:
            yield from _discord_items(message)
            name = head["name"] or head["pasted"]
            is_bot = name.endswith(_DISCORD_BOT)
            message = _Message(_DISCORD_BESIDE.sub("", name).strip(), "", number, is_bot=is_bot)
            inside, of_file = True, 0
        elif line.startswith("=" * 20) or message is None:
            yield from _discord_items(message)  # a footer
            message = None
            if line.strip("= "):
                yield LeftOut(NOTICES, number)
        elif _DISCORD_PART.fullmatch(line):
            message.speaker, inside = message.speaker if message.text.strip() else None, False
            yield LeftOut(REACTIONS if "Reactions" in line else ATTACHMENTS, number)
        elif line == "Image" or _DISCORD_FILE.fullmatch(line):
            message.attached, of_file = True, 0 if line == "Image" else 2
            yield LeftOut(ATTACHMENTS, number)
        elif of_file:
            of_file -= 1
        elif inside:
            message.add(without_times(line), number)
    yield from _discord_items(message)


def is_discord_text(lines: Sequence[str]) -> bool:
    """Whether more than an eighth of the lines begin a message of `read_discord_text`."""
    return (count_heads(lines, DISCORD) + count_heads(lines, _DISCORD_TIME)) * 8 > len(lines)


def _discord_lines(stream: BinaryIO) -> Iterator[tuple[int, str]]:
    """(number, line) of lines that are not blank; a name and a time of several lines as one line: 'ann — 10:01 AM'."""
    held: list[tuple[int, str]] = []
    for number, line in read_lines(stream):
        line = line.strip()
        if held and _DISCORD_TIME.fullmatch(line) and not DISCORD.fullmatch(held[-1][1]):
            tag = held.pop()[1] if len(held) > 1 and _DISCORD_TAG.fullmatch(held[-1][1]) else ""
            name = _DISCORD_BESIDE.sub("", held.pop()[1])
            yield from held
            yield number, f"{name}{_DISCORD_BOT * (tag in ('APP', 'BOT'))} {line}"
            held = []
        elif line:
            yield from held[:-1]
            held = [*held[-1:], (number, line)]
    yield from held


def _discord_items(message: _Message | None) -> Iterator[Read]:
    """The message, if there is one and anything was said in it."""
    if message is None or message.speaker is None or (message.attached and not message.text.strip()):
        return
    if message.is_bot:
        yield LeftOut(BOTS, message.line)
    elif _DISCORD_DONE.fullmatch(message.text.strip()):
        yield LeftOut(NOTICES, message.line)
    else:
        yield ReadTurn(0, None, message.speaker, message.text, message.line)


def is_discord_table(lines: Sequence[str]) -> bool:
    """Whether the first line is the header of DiscordChatExporter's CSV."""
    header = lines[0].replace('"', "").split(",") if lines else []
    return {fold_name(name) for name in header} >= _DISCORD_COLUMNS


def read_discord_table(stream: BinaryIO) -> Iterator[Read]:
    """Messages of DiscordChatExporter's CSV."""
    for one in read_table(stream, ","):
        is_notice = isinstance(one, ReadTurn) and _DISCORD_DONE.fullmatch(one.text.strip())
        yield LeftOut(NOTICES, one.line) if is_notice else one
