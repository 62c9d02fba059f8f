"""Reads chats that WhatsApp exports: who says what, and what the app says itself, in the languages it is used in."""

import re
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from dialogue_files.readers.chats.messages import (
    ATTACHMENTS,
    CLOCK,
    DATE,
    DELETED,
    DIRECTION_MARKS,
    NOTICES,
    Message,
    unmarked,
)
from dialogue_files.report import LeftOut
from dialogue_files.turns import Read, ReadTurn, read_lines

# Before what an iPhone says itself, and lines with attachments: the second in languages written from right to left.
_OF_PHONE = "[\u200e\u200f]"
# The time stands first in Vietnamese, and in what is copied from WhatsApp Web.
_WHEN = rf"(?:{DATE}[,،]?\s+(?:(?:um|at|às|à|kl\.?|klo)\s+)?{CLOCK}|{CLOCK}[,،]?\s+{DATE})"
_HEAD = re.compile(rf"(?:\[{_WHEN}\]|{_WHEN}(?:\s[-–]|,))\s+(?P<rest>.*)", re.DOTALL)
# A name ends in what is no blank: then a long row of blanks is looked at once, and not once for each of its parts.
# 'Ann :)' is a name too: the colon behind one has a blank behind it.
_SAID = re.compile(r"(?:~\s*+)?(?P<name>[^\s:](?:.{0,98}?\S)??)(?P<gap>\s*+):(?:\s+(?P<text>.*))?", re.DOTALL)
_NICK = re.compile(r"\A<[ @+%&~]?([^<>:|]{1,100})> ")  # of IRC, where its log has dates
_QUOTE = re.compile('[“”„«»‹›「」『』]|(?<!\\w)"|(?<!\\d)"(?!\\w)')  # not that in 'ד"ר', a title, nor of inches
# Somebody is said to have done something: a notice, whatever colon comes later in it.
_DONE = re.compile(
    r".*\b(?:changed|created|named (?:the|this|it)|added|removed|left|joined|pinned|hat|haben|wurde|cambió|creó|añadió"
    r"|a changé|a créé)\b",
    re.I,
)
# The same in French, which writes a blank before a colon.
_FAIT = re.compile(r".*\b(?:a|avez|ont)\s(?:été\s)?(?:\w+ée?s?|rejoint|mis)\b", re.I)
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
    rf"|(?:missed (?:group )?(?:voice|video) call at|verpasster (?:gruppen-?)?{_ANRUF} um) {CLOCK}(?: uhr)?\.?",
    re.I,
)
_EDITED = re.compile(
    r"<[^<>]*\b(?:edited|bearbeitet|editó|editada|modifié|modificato|bewerkt|düzenlendi|изменено|diedit|נערכה)\b"
    r"[^<>]*>$",
    re.I,
)


def is_whatsapp(lines: Sequence[str]) -> bool:
    """Whether messages begin as in WhatsApp's export, and somebody says something, or there is nothing else."""
    heads = [_HEAD.fullmatch(unmarked(line)) for line in lines]
    is_said = any(head and _said(head["rest"]) for head in heads)
    return any(heads[:3]) and (is_said or all(heads))


def read_whatsapp(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat that WhatsApp has exported, on Android (date - name) or iOS ([date] name)."""
    message = None
    for number, line in read_lines(stream):
        head = _HEAD.fullmatch(unmarked(line))
        if not head:
            if message is None:
                if line.strip():
                    yield LeftOut(NOTICES, number)
                continue
            message.add(line.rstrip("\r\n"), number)
            continue
        if message is not None:
            yield _item(message)
        said = _said(head["rest"])
        message = Message(None, "", number)
        if said:
            text = said["text"] or ""
            mark = _OF_PHONE if "]" in line else "\u200e"  # on Android what people paste may begin with the other one
            by_phone = bool(text) and re.search(rf":\s+{mark}{re.escape(text[:4])}", line) is not None
            words = _without_phones(text, line)
            message = Message(said["name"].strip(), words, number, by_phone, written=text[len(words) :])
    if message is not None:
        yield _item(message)


def _said(rest: str) -> re.Match[str] | None:
    """Who says what in the rest of a line; None for a notice, whose colon may stand in what it quotes."""
    said = _SAID.fullmatch(_NICK.sub(r"\1: ", rest))
    if said is None or len(_QUOTE.findall(said["name"])) % 2:
        return None
    is_done = _DONE.match(said["name"]) or (said["gap"] and _FAIT.match(said["name"]))
    return None if is_done and len(said["name"].split()) > 3 else said


def _without_phones(text: str, line: str) -> str:
    """A text without what an iPhone writes behind it, each after a mark, on lines with attachments.

    'Plan.pdf • |2 pages |document omitted' -> 'Plan.pdf •', '|': the mark. What is all of the text stays. Such lines
    begin with a mark too, in Arabic not always.
    """
    pieces = re.split(_OF_PHONE, line)[1:]
    if not re.match(_OF_PHONE, line) and not (pieces and _OMITTED.fullmatch(unmarked(pieces[-1]))):
        return text
    for piece in reversed(pieces):
        written = unmarked(piece)
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


def _item(message: Message) -> Read:
    if message.speaker is None:
        return LeftOut(NOTICES, message.line)
    text = _EDITED.sub("", DIRECTION_MARKS.sub("", message.text).strip()).rstrip()
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
