"""The table of forms of files: each with its suffixes, how it is recognised, and the function that reads it."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from types import MappingProxyType
from typing import BinaryIO, NamedTuple

from dialogue_files.readers import (
    chat_exports,
    corpora,
    cues,
    headings,
    json_dialogues,
    screenplays,
    services,
    subtitles,
    tables,
    transcripts,
)
from dialogue_files.readers.chats import discord, kakao, line, messages, whatsapp, zoom
from dialogue_files.readers.head import Head
from dialogue_files.turns import Read


class Form(NamedTuple):
    """A form of files of dialogues.

    recognise: whether a file is of this form, by its beginning; None: every file with one of the suffixes that no form
    before it recognises. labelled: whether turns may have an emotion, so that such files can be a corpus.
    """

    suffixes: tuple[str, ...]
    made_by: str
    meaning: str  # what is in it and what is left out
    sign: str  # by what it is recognised
    read: Callable[[BinaryIO], Iterator[Read]]
    recognise: Callable[[Head], bool] | None = None
    labelled: bool = False

    @property
    def is_json(self) -> bool:
        """Whether its files are JSON, and so in Unicode."""
        return self.suffixes[0] in (".json", ".jsonl")


def _is_daily_dialog(head: Head) -> bool:
    return bool(head.lines) and all(corpora.END_OF_UTTERANCE in line for line in head.lines[:5])


def _separator_of(head: Head) -> str | None:
    """What separates the columns of a text file that is a table; None: it is none."""
    first = head.lines[0] if head.lines else ""
    return next((one for one in "\t;|," if tables.names_columns(first, one)), None)


TEXT, CSV, JSON, LINES = (".txt", ".md"), (".csv",), (".json",), (".jsonl", ".ndjson")
FORMATS: Mapping[str, Form] = MappingProxyType(
    {
        "whatsapp": Form(
            TEXT,
            "WhatsApp on Android and iOS or copied on the Web, in many languages; KakaoTalk on phones",
            "messages, those of several lines too; notices, attachments and deleted messages are left out",
            "date, time and name before the text",
            whatsapp.read_whatsapp,
            lambda head: whatsapp.is_whatsapp(head.lines),
        ),
        "zoom_chat": Form(
            TEXT,
            "the chat that Zoom saves",
            "messages; reactions are left out",
            "'10:01:03 From Name to Everyone:'",
            zoom.read_zoom_chat,
            lambda head: messages.count_heads(head.lines[:3], zoom.HEAD) > 0,
        ),
        "discord_text": Form(
            TEXT,
            "Discord, copied or by DiscordChatExporter",
            "messages; notices, attachments, reactions and bots are left out",
            "'[5/1/2024 10:01 AM] name' or 'name — 10:01 AM' above the text",
            discord.read_discord_text,
            lambda head: discord.is_discord_text(head.lines),
        ),
        "line": Form(
            TEXT,
            "LINE on phones, in many languages",
            "messages, those of several lines too; notices, calls, stickers and attachments are left out",
            "a line of day, below it 'time, tab, name, tab, text'",
            line.read_line,
            lambda head: line.is_line(head.lines),
        ),
        "kakao": Form(
            TEXT,
            "KakaoTalk on computers",
            "messages, those of several lines too; notices, calls, attachments and deleted messages are left out",
            "a rule with the day, below it '[name] [time] text'",
            kakao.read_kakao,
            lambda head: kakao.is_kakao(head.lines),
        ),
        "iemocap": Form(
            TEXT,
            "IEMOCAP's transcriptions",
            "turns of F and M; a dialogue is what the turns are named after",
            "'Ses01F_impro01_F000 [006.29-008.23]:'",
            corpora.read_iemocap,
            lambda head: messages.count_heads(head.lines[:5], corpora.IEMOCAP) > 0,
        ),
        "daily_dialog": Form(
            TEXT,
            "DailyDialog's text",
            "a dialogue on each line, turns of A and B",
            "`__eou__` in every line",
            corpora.read_daily_dialog,
            _is_daily_dialog,
        ),
        "ecf": Form(
            TEXT,
            "MECPE's corpus, ECF",
            "conversations of 'number | speaker | emotion | text'",
            "a line of two numbers, one of pairs, then the turns",
            corpora.read_ecf,
            lambda head: corpora.is_ecf(head.lines),
            labelled=True,
        ),
        "text_table": Form(
            TEXT,
            "Excel as 'Unicode text', databases",
            "as csv",
            "a header of columns that names speaker and utterance",
            partial(tables.read_table, separator="\t"),
            lambda head: _separator_of(head) is not None,
            labelled=True,
        ),
        "text_captions": Form(
            TEXT,
            "subtitles that were saved as text",
            "as vtt and srt",
            "a line of times with '-->'",
            subtitles.read_captions,
            lambda head: any(map(cues.is_timing, head.lines[:8])),
        ),
        "screenplay": Form(
            TEXT,
            "Fountain and other programs for scripts",
            "names in capitals above the speech; scenes, actions and directions are left out",
            "lines in capitals above others",
            screenplays.read_screenplay,
            lambda head: screenplays.is_screenplay(head.lines),
        ),
        "headings": Form(
            TEXT,
            "Otter, Rev, Zoom's transcript; Teams, Slack, Telegram copied",
            "a name, with a colon, or a time behind or below it, above the text; what stands before is left out",
            "more such lines than lines of 'Name: utterance'",
            headings.read_headed,
            lambda head: headings.has_headings(head.lines),
        ),
        "text": Form(
            TEXT,
            "people, scripts, programs that write times before or after names",
            "'Name: utterance' lines, a blank line between dialogues; directions, numbers of lines are left out",
            "what no other form of text is",
            transcripts.read_plain_text,
        ),
        "emory_csv": Form(
            CSV,
            "EmoryNLP's CSV",
            "dialogues are scenes, by Season, Episode and Scene_ID",
            "these columns",
            corpora.read_emory_table,
            lambda head: corpora.is_emory_table(head.lines),
            labelled=True,
        ),
        "empathetic": Form(
            CSV,
            "EmpatheticDialogues' CSV",
            "conversations of two speakers, `_comma_` as a comma",
            "columns conv_id, utterance_idx and speaker_idx",
            corpora.read_empathetic,
            lambda head: corpora.is_empathetic(head.lines),
        ),
        "discord_csv": Form(
            CSV,
            "DiscordChatExporter",
            "messages; notices are left out",
            "columns AuthorID, Author, Date, Content and Attachments",
            discord.read_discord_table,
            lambda head: discord.is_discord_table(head.lines),
            labelled=True,
        ),
        "csv": Form(
            CSV,
            "spreadsheets, MELD",
            "columns speaker, utterance and, for several dialogues, dialogue, or their usual synonyms; any separator",
            "what no other form of .csv is",
            partial(tables.read_table, separator=","),
            labelled=True,
        ),
        "tsv": Form(
            (".tsv", ".tab"),
            "spreadsheets, databases",
            "the same with tabs; quotes may be characters",
            "the name of the file",
            partial(tables.read_table, separator="\t"),
            labelled=True,
        ),
        "telegram": Form(
            JSON,
            "Telegram Desktop, one chat or all",
            "messages, also of several parts; service messages and media are left out",
            "messages with type and date, or chats",
            chat_exports.read_telegram,
            lambda head: chat_exports.is_telegram(head.outline),
        ),
        "discord": Form(
            JSON,
            "DiscordChatExporter",
            "messages; joins, pins, bots and attachments are left out",
            "messages with author and content",
            chat_exports.read_discord,
            lambda head: chat_exports.is_discord(head.outline),
        ),
        "google_chat": Form(
            JSON,
            "Google Chat, a conversation of Google Takeout",
            "messages; attachments, deleted messages and apps are left out",
            "messages with a creator",
            chat_exports.read_google_chat,
            lambda head: chat_exports.is_google_chat(head.outline),
        ),
        "messenger": Form(
            JSON,
            "Messenger and Instagram, a chat of their download, encrypted ones too",
            "messages, the newest last, letters put right; photos, calls, reactions, notices in English are left out",
            "messages with sender_name and timestamp_ms, or senderName and isUnsent",
            chat_exports.read_messenger,
            lambda head: chat_exports.is_messenger(head.outline),
        ),
        "slack": Form(
            JSON,
            "Slack's export, a day of a channel",
            "messages, by the names of the profiles; who joined or left, and bots, are left out",
            "an array of objects with type and ts",
            chat_exports.read_slack,
            lambda head: chat_exports.is_slack(head.outline),
        ),
        "services": Form(
            JSON,
            "services that transcribe speech",
            "utterances, or the words of one speaker after each other, by their times; where nobody is told apart, "
            "channels are speakers; sounds and translations are left out",
            f"the lists and keys of {', '.join(services.SERVICES)}",
            services.read_services,
            lambda head: head.is_service,
        ),
        "whisper": Form(
            JSON,
            "WhisperX, OpenAI's diarized_json; Whisper itself names nobody",
            "segments; one without a speaker is of whoever spoke last, and left out where nobody has yet",
            "segments with start and text",
            chat_exports.read_whisper,
            lambda head: chat_exports.is_whisper(head.outline),
        ),
        "emory_json": Form(
            JSON,
            "EmoryNLP's JSON",
            "dialogues are scenes; two who speak at once are one speaker",
            "episodes of scenes of utterances",
            corpora.read_emory_json,
            lambda head: corpora.is_emory_json(head.outline),
            labelled=True,
        ),
        "convokit": Form(
            (".jsonl", ".json"),
            "ConvoKit's utterances",
            "turns that stand by time are put together by conversation",
            "conversation_id or root, and reply-to",
            chat_exports.read_convokit,
            lambda head: any(map(chat_exports.is_convokit, (head.outline_of_lines, head.outline))),
        ),
        "json": Form(
            JSON,
            "programs, ShareGPT, SemEval-2024, AssemblyAI",
            "utterances or dialogues of speaker and text; messages of system and tools are left out",
            "what no other form of .json is",
            json_dialogues.read_json,
            labelled=True,
        ),
        "jsonl": Form(
            LINES,
            "programs, OpenAI's messages",
            "an utterance or a dialogue on each line",
            "what no other form of .jsonl is",
            json_dialogues.read_json_lines,
            labelled=True,
        ),
        "vtt": Form(
            (".vtt",),
            "Teams, Zoom, Webex, YouTube, WhisperX, editors",
            "WebVTT with <v Name> or Name:; cues of sounds are left out, automatic captions are put together",
            "the name of the file",
            subtitles.read_captions,
        ),
        "srt": Form(
            (".srt", ".sbv"),
            "editors, WhisperX, YouTube",
            "SubRip with Name:, or YouTube's SBV",
            "the name of the file",
            subtitles.read_captions,
        ),
        "ass": Form(
            (".ass", ".ssa"),
            "Aegisub and other editors",
            "SubStation Alpha; who speaks stands in its column Name, or as Name:",
            "the name of the file",
            partial(subtitles.read_captions, cues=cues.read_ass_cues),
        ),
    }
)
# Suffix of files that are not read -> what to do instead.
NOT_READ: Mapping[str, str] = MappingProxyType(
    {
        ".docx": "save it as plain text (.txt)",
        ".doc": "save it as plain text (.txt)",
        ".odt": "save it as plain text (.txt)",
        ".rtf": "save it as plain text (.txt)",
        ".fountain": "name it .txt: it is read as a screenplay",
        ".pdf": "save its text as .txt",
        ".xlsx": "save it as 'CSV UTF-8'",
        ".xls": "save it as 'CSV UTF-8'",
        ".ods": "save it as CSV in UTF-8",
        ".html": "export as JSON instead (Telegram, Discord) or as text",
        ".htm": "export as JSON instead (Telegram, Discord) or as text",
        ".ttml": "save it as .vtt with a subtitle editor",
        ".dfxp": "save it as .vtt with a subtitle editor",
        ".parquet": "write it as JSON Lines, with to_json(lines=True) of pandas or datasets",
        ".textgrid": "write a table of its tiers (.csv) with the columns speaker and utterance",
        ".eaf": "export it as tab-delimited text (.tsv) and name the columns speaker and utterance",
        ".cha": "write it as .txt with lines of 'Name: utterance', or as a table (.csv) of speaker and utterance",
        ".xml": "write it as a table (.csv) or JSON Lines of speaker and utterance",
        ".yml": "write it as JSON Lines of speaker and utterance",
        ".yaml": "write it as JSON Lines of speaker and utterance",
        ".zip": "unpack it and give one file of it",
        ".gz": "unpack it first",
        ".mp3": "transcribe it first, with WhisperX and --diarize for instance",
        ".wav": "transcribe it first, with WhisperX and --diarize for instance",
        ".mp4": "transcribe it first, with WhisperX and --diarize for instance",
        ".m4a": "transcribe it first, with WhisperX and --diarize for instance",
        ".pkl": "training reads pickles; write its dialogues as JSON Lines",
    }
)
