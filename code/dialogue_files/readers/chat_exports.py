"""Reads JSON that programs export: chats of Telegram, Messenger, Slack, Discord, Google, and of Whisper and ConvoKit.

Each message is read by itself, so that an export of any size can be read. A file is one dialogue, but for exports of
several chats and for ConvoKit.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, BinaryIO

from dialogue_files.readers.chats.messages import ATTACHMENTS, BOTS, DELETED, NOTICES, REACTIONS
from dialogue_files.readers.json_dialogues import objects, plain_text, shown
from dialogue_files.readers.json_stream import Element, Outline, stream_json, stream_json_lines
from dialogue_files.report import EMPTY, LeftOut, Remark
from dialogue_files.turns import LineError, Read, ReadTurn, refuse_halves, unescape

UNNAMED = "segments before the first that names who speaks"
MOST_NAMES = 10_000  # people of a Slack workspace that are held
# Messages that Messenger and Instagram write themselves, in somebody's name: with or without that name in the text.
_MESSENGER_REACTED = re.compile(
    r"Liked a message|(?:Reacted|Hat mit|Reaccionó con|A réagi avec|Ha reagito con|Reagiu com) [^\w\s]{1,20}"
    r" (?:to your message|auf deine Nachricht reagiert|a tu mensaje|à votre message|al tuo messaggio|à sua mensagem)"
)
_MESSENGER_SENT = re.compile(
    r"sent (?:an attachment|a (?:photo|video|voice message|sticker|GIF|link|location|live location))\."
    r"|hat einen Anhang gesendet\.|envió un archivo adjunto\.|a envoyé une pièce jointe\.|ha inviato un allegato\."
    r"|enviou um anexo\."
)
# What somebody has done, after the name; 'You left the group before ...' is said.
_MESSENGER_DONE = re.compile(
    r"(?:named the group .*|(?:left|created) the group|removed the group name|changed the group photo"
    r"|(?:set|cleared) (?:the|your|his|her|their)(?: own)? (?:nickname|emoji|quick reaction)(?: (?:for|to) .*)?"
    r"|changed the (?:chat )?(?:theme|colou?rs?|emoji)(?: to .*)?|(?:pinned|unpinned|unsent) a message"
    r"|created (?:a|the) poll(?:: .*)?|turned (?:on|off) disappearing messages(?:\. .*)?"
    r"|(?:joined|started|ended|left) (?:a|the|your) (?:audio |video |group )?(?:call|chat)"
    r"|missed your (?:audio |video )?(?:call|chat)|(?:added|removed) .+ (?:to|from) the group)\.?"
)
_MESSENGER_NOTICE = re.compile(
    r"The (?:audio |video )?(?:call|chat) ended\.|User unsent a message|You are now connected on Messenger\.?"
    r"|Say hi to your new Facebook friend, .*"
    # whose download it is; 'You left the group?' is said
    rf"|You (?=[^?!]*\.\Z)(?:{_MESSENGER_DONE.pattern})"
)
_SLACK_LINK = re.compile(r"<((?:https?|mailto)[^<>|]*)(?:\|([^<>]*))?>")
_SLACK_MENTION = re.compile(r"<@([A-Z0-9]+)(?:\|([^<>]*))?>")
_SLACK_CHANNEL = re.compile(r"<#[A-Z0-9]+\|([^<>]+)>")
_SLACK_CALL = re.compile(r"<!(?:[^<>|]*\|@?([^<>]+)|(here|channel|everyone))>")
_SLACK_KEPT = ("thread_broadcast", "me_message", "file_share")
_DISCORD_KEPT = frozenset(("Default", "Reply", "0", "19"))
_WHOLE = re.compile("[0-9]{1,18}")
SEGMENTS = ("segments", "transcription", "chunks")


def is_telegram(outline: Outline) -> bool:
    """Whether a file is one chat, or all chats, that Telegram Desktop has exported."""
    one = outline.under == "messages" and outline.first.get("type") in ("message", "service") and outline.has("date")
    return one or (outline.is_object and outline.kinds.get("chats") == "dict")


def read_telegram(stream: BinaryIO) -> Iterator[Read]:
    """Messages of an export by Telegram Desktop; service messages, and media without words, are left out."""
    for element in stream_json(stream, {"messages"}):
        if element.key == "messages" and element.listed:
            yield _telegram_item(element.value, 0, None, element.line)
        elif element.key == "chats" and isinstance(element.value, dict):
            lines = element.lines(["list", "messages"])
            for part, chat in enumerate(objects(element.value.get("list"), element.line, "chats")):
                name = f"{chat.get('name') or chat.get('type') or 'chat'} {chat.get('id', part)}"
                messages = objects(chat.get("messages", []), element.line, f"messages of {name[:60]!r}")
                for message, line in zip(messages, lines, strict=False):
                    yield _telegram_item(message, part, name, line)


def _telegram_item(message: Any, part: int, name: str | None, line: int) -> Read:
    if not isinstance(message, dict):
        raise LineError(line, f"a message is {shown(message)}, allowed is an object with from and text")
    if message.get("type") != "message":
        return LeftOut(NOTICES, line)
    text = plain_text(message.get("text"), "utterance")
    if text is None:
        raise LineError(line, f"a message has the text {shown(message['text'])}, allowed are a text or its parts")
    if not text.strip():
        media = ("photo", "file", "media_type", "location_information", "contact_information", "poll", "sticker_emoji")
        return LeftOut(ATTACHMENTS if any(key in message for key in media) else EMPTY, line)
    speaker = str(message.get("from") or message.get("from_id") or "Deleted Account")
    return _timed(ReadTurn(part, name, speaker, text, line), message, "date_unixtime")


def _timed(turn: ReadTurn, message: Mapping[str, Any], key: str) -> ReadTurn:
    """The turn with its time, which stands in the message under `key`, so that the report can tell where times fall."""
    time = message.get(key)
    return replace(turn, turn=(key, str(time)), is_timed=True) if isinstance(time, (str, int, float)) else turn


# Keys in the download of encrypted chats, which is another -> those of the usual one.
_ENCRYPTED = {"senderName": "sender_name", "timestamp": "timestamp_ms", "isUnsent": "is_unsent"}


def is_messenger(outline: Outline) -> bool:
    """Whether a file is a chat out of the download of Messenger or Instagram."""
    has_keys = outline.has("sender_name", "timestamp_ms") or outline.has(*_ENCRYPTED)
    return outline.under == "messages" and has_keys


def read_messenger(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a chat, sorted by time; their letters, UTF-8 that was written as Latin-1, are put right.

    Files mostly have the newest message first; messages of the same time are put in order accordingly.
    """
    yield from grouped(_messenger_items(stream), by_time=True)


def _messenger_items(stream: BinaryIO) -> Iterator[Read]:
    for element in stream_json(stream, {"messages", "participants"}):
        if not element.listed or element.key != "messages":
            continue
        message, line = element.value, element.line
        if isinstance(message, dict) and "senderName" in message:
            message = {_ENCRYPTED.get(key, key): value for key, value in message.items()}
            message["content"] = message.get("text") or None
        if not isinstance(message, dict) or not isinstance(message.get("sender_name"), str):
            raise LineError(line, "a message has no sender_name, allowed is what Messenger writes")
        text = message.get("content")
        if "call_duration" in message or "users" in message or message.get("is_unsent"):
            yield LeftOut(NOTICES, line)
        elif not isinstance(text, str):
            yield LeftOut(ATTACHMENTS, line)
        else:
            one = _messenger_item(_as_meant(message["sender_name"]), _as_meant(text), line)
            yield _timed(one, message, "timestamp_ms") if isinstance(one, ReadTurn) else one


def _messenger_item(name: str, text: str, line: int) -> Read:
    said = text.strip()
    if _MESSENGER_REACTED.fullmatch(said):
        return LeftOut(REACTIONS, line)
    if _MESSENGER_NOTICE.fullmatch(said):
        return LeftOut(NOTICES, line)
    callers = (f"{name} ", f"{name.partition(' ')[0]} ", "You ")
    if any(said.startswith(one) and _MESSENGER_SENT.fullmatch(said, len(one)) for one in callers):
        return LeftOut(ATTACHMENTS, line)
    if any(said.startswith(one) and _MESSENGER_DONE.fullmatch(said, len(one)) for one in callers[:2]):
        return LeftOut(NOTICES, line)
    return ReadTurn(0, None, name, text, line)


def _as_meant(text: str) -> str:
    """A text whose UTF-8 bytes were written as Latin-1 letters, decoded as meant."""
    try:
        return text.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return text


def is_slack(outline: Outline) -> bool:
    """Whether a file is a day of a channel that Slack has exported."""
    return not outline.is_object and outline.first.get("type") == "message" and outline.has("ts")


def read_slack(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a day of a channel; joins, leaves and bots are left out. Names are those of the profiles."""
    names: dict[str, str] = {}
    for element in stream_json(stream):
        if isinstance(element.value, dict) and len(names) < MOST_NAMES:
            _learn_slack_name(element.value, names)
    for element in stream_json(stream):
        message, line = element.value, element.line
        if not isinstance(message, dict):
            raise LineError(line, f"a message is {shown(message)}, allowed is an object with user and text")
        text = plain_text(message.get("text"), "utterance")
        if text is None:
            raise LineError(line, f"a message has the text {shown(message['text'])}, allowed is a text")
        text = _slack_text(text, names)
        if message.get("subtype") == "bot_message" or (message.get("bot_id") and not message.get("user_profile")):
            yield LeftOut(BOTS, line)
        elif message.get("subtype") and message["subtype"] not in _SLACK_KEPT:
            yield LeftOut(NOTICES, line)
        elif not text.strip() and message.get("files"):
            yield LeftOut(ATTACHMENTS, line)
        else:
            user = str(message.get("user") or message.get("username") or "unknown")
            if user not in names:
                yield Remark("people without a profile in the file have the ids that Slack's users.json explains")
            yield _timed(ReadTurn(0, None, names.get(user, user), text, line), message, "ts")


def _learn_slack_name(message: Mapping[str, Any], names: dict[str, str]) -> None:
    profile, user = message.get("user_profile"), message.get("user")
    if isinstance(profile, dict) and isinstance(user, str):
        found = next((profile[key] for key in ("display_name", "name", "real_name") if profile.get(key)), None)
        if found:
            names[user] = str(found)


def _slack_text(text: str, names: Mapping[str, str]) -> str:
    text = _SLACK_MENTION.sub(lambda found: f"@{found[2] or names.get(found[1], found[1])}", text)
    text = _SLACK_CALL.sub(lambda found: f"@{found[1] or found[2]}", _SLACK_CHANNEL.sub(r"#\1", text))
    return unescape(_SLACK_LINK.sub(lambda found: found[2] or found[1], text))


def is_discord(outline: Outline) -> bool:
    """Whether a file is a channel that DiscordChatExporter has written."""
    return outline.under == "messages" and outline.has("content") and isinstance(outline.first.get("author"), dict)


def read_discord(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a channel; joins, pins, calls and bots are left out."""
    for element in stream_json(stream, {"messages"}):
        if not element.listed:
            continue
        message, line = element.value, element.line
        author = message.get("author") if isinstance(message, dict) else None
        if not isinstance(author, dict) or not isinstance(message.get("content"), str):
            raise LineError(line, "a message has no author or no content, allowed is what DiscordChatExporter writes")
        if author.get("isBot"):
            yield LeftOut(BOTS, line)
        elif str(message.get("type", "Default")) not in _DISCORD_KEPT:
            yield LeftOut(NOTICES, line)
        elif not message["content"].strip() and any(message.get(key) for key in ("attachments", "stickers", "embeds")):
            yield LeftOut(ATTACHMENTS, line)
        else:
            name = str(author.get("nickname") or author.get("name"))
            yield _timed(ReadTurn(0, None, name, message["content"], line), message, "timestamp")


def is_google_chat(outline: Outline) -> bool:
    """Whether a file is a conversation of Google Chat that Google Takeout has saved."""
    is_one = isinstance(outline.first.get("creator"), dict) or {"message_state", "created_date"} <= outline.first.keys()
    return outline.under == "messages" and is_one


def read_google_chat(stream: BinaryIO) -> Iterator[Read]:
    """Messages of a conversation; what apps write, deleted messages and bare attachments are left out."""
    for element in stream_json(stream, {"messages"}):
        if not element.listed:
            continue
        message, line = element.value if isinstance(element.value, dict) else {}, element.line
        creator, text = message.get("creator"), message.get("text", "")
        if message.get("message_state") == "DELETED":
            yield LeftOut(DELETED, line)
        elif not isinstance(creator, dict) or not isinstance(text, str):
            raise LineError(line, "a message has no creator, or a text that is none, allowed is what Takeout writes")
        elif creator.get("user_type") == "Bot":
            yield LeftOut(BOTS, line)
        elif not text.strip():
            yield LeftOut(ATTACHMENTS, line)
        else:
            yield ReadTurn(0, None, str(creator.get("name") or creator.get("email") or "unknown"), text, line)


def is_whisper(outline: Outline) -> bool:
    """Whether a file is a transcript of Whisper, whisper.cpp or WhisperX."""
    return (
        outline.under in SEGMENTS and outline.has("text") and ("start" in outline.first or "offsets" in outline.first)
    )


def read_whisper(stream: BinaryIO) -> Iterator[Read]:
    """Segments of a transcript. One without a speaker is of the last speaker, or left out where there is none yet.

    LineError, after the last segment, where none has a speaker.
    """
    speaker, first = None, 0
    for element in stream_json(stream, set(SEGMENTS) | {"word_segments"}):
        if not element.listed or element.key == "word_segments":
            continue
        segment, line = element.value, element.line
        if not isinstance(segment, dict) or not isinstance(segment.get("text"), str):
            raise LineError(line, "a segment has no text, allowed is what Whisper writes")
        speaker = speaker if segment.get("speaker") is None else segment["speaker"]
        if speaker is None:
            first = first or line
            yield LeftOut(UNNAMED, line)
        else:
            yield ReadTurn(0, None, str(speaker), segment["text"], line)
    if first and speaker is None:
        raise LineError(
            first,
            "nobody is named here or in a later segment: Whisper alone does not tell speakers apart, WhisperX with "
            "--diarize does",
        )


def is_convokit(outline: Outline) -> bool:
    """Whether a file holds utterances of ConvoKit."""
    replies = any(key in outline.first for key in ("reply-to", "reply_to"))
    return replies and outline.has("text") and any(key in outline.first for key in ("conversation_id", "root"))


def read_convokit(stream: BinaryIO) -> Iterator[Read]:
    """Utterances of a ConvoKit corpus, put together by conversation, in the order in which these begin."""
    elements = stream_json_lines(stream) if _is_lines(stream) else stream_json(stream)
    yield from grouped(_convokit_turns(elements))


def _is_lines(stream: BinaryIO) -> bool:
    stream.seek(0)
    return not stream.read(64).lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"[")


def _convokit_turns(elements: Iterator[Element]) -> Iterator[Read]:
    for element in elements:
        one, line = element.value, element.line
        if not isinstance(one, dict):
            raise LineError(line, f"an utterance is {shown(one)}, allowed is an object with speaker and text")
        conversation = one.get("conversation_id") or one.get("root") or one.get("id")
        speaker = one.get("speaker") or one.get("user")
        speaker = speaker.get("id") if isinstance(speaker, dict) else speaker
        text = plain_text(one.get("text"), "utterance")
        if conversation is None or speaker is None or text is None:
            raise LineError(
                line, "an utterance has no conversation_id, speaker or text, allowed is what ConvoKit writes"
            )
        if not text.strip():
            yield LeftOut(EMPTY, line)
            continue
        yield _timed(ReadTurn(0, str(conversation), str(speaker), text, line), one, "timestamp")


# SQL: number of turns later than the one before them in the file, minus number of those that are earlier.
_RISING = (
    "SELECT total((turn.moment > before.moment) - (turn.moment < before.moment)) "
    "FROM turn JOIN turn AS before ON before.rowid = turn.rowid - 1"
)


def grouped(items: Iterator[Read], by_time: bool = False) -> Iterator[Read]:
    """Turns whose dialogues stand mixed, put together dialogue by dialogue; they are held on disk, not in memory.

    by_time: sort each dialogue by time (whole numbers). Turns of the same time, or without one, keep the order of the
    file, or are reversed where the times of the file do not mostly rise.
    """
    import sqlite3  # here: not every Python has it, and the scripts read corpora before they have their own

    with sqlite3.connect("") as waiting:  # a database that SQLite keeps in a temporary file
        waiting.execute("CREATE TABLE part (number INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        waiting.execute("CREATE TABLE turn (part, moment INTEGER, speaker, text, line INTEGER, key, written)")
        for one in items:
            if not isinstance(one, ReadTurn):
                yield one
                continue
            name = one.dialogue or ""
            key, written = one.turn or (None, "")
            texts = ("dialogue", name), ("speaker", one.speaker), ("utterance", one.text), ("time", written)
            for what, text in texts:
                refuse_halves(text, what, one.line)  # SQLite takes none
            waiting.execute("INSERT OR IGNORE INTO part (name) VALUES (?)", (name,))
            moment = int(written) if by_time and _WHOLE.fullmatch(written) else None
            values = (name, moment, one.speaker, one.text, one.line, key, written)
            waiting.execute("INSERT INTO turn SELECT number, ?2, ?3, ?4, ?5, ?6, ?7 FROM part WHERE name = ?1", values)
        query = "SELECT part, name, speaker, text, line, key, written FROM turn JOIN part ON part = number"
        backwards = by_time and waiting.execute(_RISING).fetchone()[0] <= 0
        order = f"ORDER BY part, moment, turn.rowid {'DESC' if backwards else 'ASC'}"
        for part, name, *said, key, written in waiting.execute(f"{query} {order}"):
            yield ReadTurn(part - 1, name or None, *said, turn=key and (key, written), is_timed=bool(key))
    waiting.close()
