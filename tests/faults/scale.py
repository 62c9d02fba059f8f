"""Time and memory of one row, from a thousand rows to a million: files of dialogues, data processing, planning.

    python tests/faults/scale.py
    python tests/faults/scale.py --parts csv,corpus --counts 1000,100000

Prints a table: rows, seconds of the processor, microseconds a row, the MB that memory grew by at most. Each line is a
process of its own that has done the same with a hundred rows before, so that neither start nor libraries count. Linux
only: memory is read from /proc. The token counts of planning need the base SmolLM2-135M.
"""

import argparse
import io
import json
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / "code")]
WARM = 100  # rows before the measured ones
TURNS = 20  # of a dialogue
SPEAKERS = ("Ruth", "Paul", "Ida", "Lena")
EMOTIONS = ("calm", "glad", "angry", "sad", "afraid", "neutral")
WORDS = (
    "rice",
    "train",
    "rain",
    "late",
    "never",
    "always",
    "please",
    "key",
    "door",
    "again",
    "yes",
    "tomorrow",
    "call",
)


class Turn(NamedTuple):
    number: int  # from 0
    dialogue: int  # from 0
    speaker: str
    text: str
    emotion: str

    @property
    def clock(self) -> str:
        return f"{self.number // 3600 % 100:02}:{self.number // 60 % 60:02}:{self.number % 60:02}"

    @property
    def is_first(self) -> bool:
        return self.number % TURNS == 0


def made_up(count: int) -> Iterator[Turn]:
    """Turns of 4 to 14 words, always the same ones."""
    draws = random.Random(0)
    for number in range(count):
        text = " ".join(draws.choices(WORDS, k=draws.randrange(4, 15))).capitalize() + "."
        speaker = SPEAKERS[draws.randrange(2 + number // TURNS % 3)]
        yield Turn(number, number // TURNS, speaker, text, draws.choice(EMOTIONS))


def as_json(**values: object) -> Callable[[Turn], str]:
    """An element of an array; what is callable is asked for its value."""

    def element(one: Turn) -> str:
        said = {key: value(one) if callable(value) else value for key, value in values.items()}
        return "," * (one.number > 0) + json.dumps(said) + "\n"

    return element


def speaker(one: Turn) -> str:
    return one.speaker


def text(one: Turn) -> str:
    return one.text


def user(one: Turn) -> dict:
    return {"name": one.speaker, "isBot": False}


def named(one: Turn) -> dict:
    return {"name": one.speaker}


def profile(one: Turn) -> dict:
    return {"display_name": one.speaker}


def screen_time(one: Turn) -> str:
    return f"{one.clock},000 --> {one.clock},900"


class Layout(NamedTuple):
    """How a file of a form is written: what stands before its turns, a turn, what stands behind them."""

    suffix: str
    turn: Callable[[Turn], str]
    begin: str = ""
    end: str = ""


ASS = "[Script Info]\nScriptType: v4.00+\n\n[Events]\nFormat: Layer, Start, End, Style, Name, MarginL, MarginR,"
EMPATHETIC = "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
TELEGRAM = {"id": 1, "type": "message", "date": "2024-05-01T10:01:00", "from": speaker, "text": text}
SLACK = {"type": "message", "ts": "1.0", "user": speaker, "text": text, "user_profile": profile}
RULE = "-" * 15
FORMS: Mapping[str, Layout] = {
    "text": Layout(".txt", lambda one: "\n" * one.is_first + f"{one.speaker}: {one.text}\n"),
    "whatsapp": Layout(".txt", lambda one: f"6/13/23, 7:{one.number % 60:02} PM - {one.speaker}: {one.text}\n"),
    "zoom_chat": Layout(".txt", lambda one: f"{one.clock}\t From {one.speaker} to Everyone:\n\t{one.text}\n"),
    "discord_text": Layout(".txt", lambda one: f"[5/1/2024 10:01 AM] {one.speaker}\n{one.text}\n\n"),
    "line": Layout(
        ".txt", lambda one: "2024/05/01(Wed)\n" * one.is_first + f"{one.clock[:5]}\t{one.speaker}\t{one.text}\n"
    ),
    "kakao": Layout(
        ".txt", lambda one: f"{RULE} May 1, 2024 {RULE}\n" * one.is_first + f"[{one.speaker}] [10:01 AM] {one.text}\n"
    ),
    "headings": Layout(".txt", lambda one: f"{one.speaker} Hale  {one.clock}\n{one.text}\n\n"),
    "screenplay": Layout(".txt", lambda one: f"{one.speaker.upper()}\n{one.text}\n\n", "INT. KITCHEN - NIGHT\n\n"),
    "iemocap": Layout(".txt", lambda one: f"Ses01F_impro01_F{one.number % 1000:03} [006.2901-008.2357]: {one.text}\n"),
    "daily_dialog": Layout(".txt", lambda one: f"{one.text} __eou__" + ("\n" if one.number % TURNS == 19 else " ")),
    "csv": Layout(".csv", lambda one: f"{one.dialogue},{one.speaker},{one.text}\n", "dialogue,speaker,text\n"),
    "tsv": Layout(".tsv", lambda one: f"{one.dialogue}\t{one.speaker}\t{one.text}\n", "dialogue\tspeaker\ttext\n"),
    "empathetic": Layout(".csv", lambda one: f"c{one.dialogue},1,sad,x,{one.number % 2},{one.text},5,\n", EMPATHETIC),
    "json": Layout(".json", as_json(dialogue=lambda one: one.dialogue, speaker=speaker, text=text), "[", "]"),
    "jsonl": Layout(".jsonl", lambda one: json.dumps({"speaker": one.speaker, "text": one.text}) + "\n"),
    "telegram": Layout(".json", as_json(**TELEGRAM), '{"name": "Ruth", "messages": [', "]}"),
    "discord": Layout(".json", as_json(type="Default", content=text, author=user), '{"messages": [', "]}"),
    "google_chat": Layout(".json", as_json(creator=named, text=text), '{"messages": [', "]}"),
    "messenger": Layout(".json", as_json(sender_name=speaker, timestamp_ms=5, content=text), '{"messages": [', "]}"),
    "slack": Layout(".json", as_json(**SLACK), "[", "]"),
    "whisper": Layout(".json", as_json(start=0.0, text=text, speaker=speaker), '{"segments": [', "]}"),
    "convokit": Layout(
        ".jsonl",
        lambda one: (
            json.dumps(
                {"conversation_id": f"c{one.number % 999}", "reply-to": None, "speaker": one.speaker, "text": one.text}
            )
            + "\n"
        ),
    ),
    "srt": Layout(".srt", lambda one: f"{one.number + 1}\n{screen_time(one)}\n{one.speaker}: {one.text}\n\n"),
    "vtt": Layout(
        ".vtt", lambda one: f"{screen_time(one).replace(',', '.')}\n<v {one.speaker}>{one.text}\n\n", "WEBVTT\n\n"
    ),
    "ass": Layout(
        ".ass",
        lambda one: f"Dialogue: 0,{one.clock}.00,{one.clock}.90,Default,{one.speaker},0,0,0,,{one.text}\n",
        f"{ASS} MarginV, Effect, Text\n",
    ),
}
CORPUS = Layout(
    ".csv",
    lambda one: f"{one.dialogue},{one.speaker},{one.text},{one.emotion}\n",
    "dialogue,speaker,utterance,emotion\n",
)


def write(layout: Layout, path: Path, count: int) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(layout.begin)
        stream.writelines(map(layout.turn, made_up(count)))
        stream.write(layout.end)


def call(main: Callable[[], None], *arguments: object) -> None:
    """A script in this process, its output away."""
    sys.argv = ["script", *map(str, arguments)]
    told = io.StringIO()
    try:
        with open(os.devnull, "w") as away, redirect_stdout(away), redirect_stderr(told):
            main()
    except BaseException:
        print(told.getvalue()[-2000:], file=sys.stderr)
        raise


class Part(NamedTuple):
    """Something to measure. make: writes its files, a count of rows, into a folder; run: reads them from there."""

    make: Callable[[Path, int], None]
    run: Callable[[Path], None]


def preview(form: str) -> Part:
    """`predict.py --preview True`, which reads a file twice: to check it, and to show it."""
    name = f"own{FORMS[form].suffix}"

    def make(folder: Path, count: int) -> None:
        write(FORMS[form], folder / name, count)

    def run(folder: Path) -> None:
        import predict

        call(predict.main, "--input", folder / name, "--preview", "True")

    return Part(make, run)


def make_corpus(folder: Path, count: int) -> None:
    """A corpus that is called like the folder that it stands in, in one file that is split by dialogue."""
    (folder / folder.name).mkdir()
    write(CORPUS, folder / folder.name / "all.csv", count)


def make_pickle(folder: Path, count: int) -> None:
    """Laid out as the published ones."""
    import pickle

    from data_utils.labels import DATASETS

    labels, turns = DATASETS["EmoryNLP"].labels, list(made_up(count))
    dialogues = [turns[start : start + TURNS] for start in range(0, count, TURNS)]
    columns = (
        lambda one: [int(one.speaker == name) for name in (*SPEAKERS, *range(5))],
        lambda one: EMOTIONS.index(one.emotion) % len(labels),
        lambda one: one.text,
    )
    slots = [{str(of[0].dialogue): list(map(column, of)) for of in dialogues} for column in columns]
    names = list(slots[0])
    train, test = len(names) * 8 // 10, len(names) * 9 // 10
    (folder / "EmoryNLP").mkdir()
    content = pickle.dumps([*slots, names[:train], names[train:test], names[test:]])
    (folder / "EmoryNLP" / "EmoryNLP.pkl").write_bytes(content)


def write_rows(*flags: str) -> Callable[[Path], None]:
    """`data_process.py`."""

    def run(folder: Path) -> None:
        import data_process

        places = ("--original_data", folder, "--data", folder / "data")
        call(data_process.main, "--dataset", *(flags or [folder.name]), *places)

    return run


def count_tokens(folder: Path) -> None:
    """What `plan.py --dataset` counts of a corpus of one's own before it plans."""
    from planning.texts import texts_of

    os.environ["ERC_ORIGINAL_DATA"] = str(folder)
    call(lambda: texts_of(folder.name))


PARTS: Mapping[str, Part] = {
    **{form: preview(form) for form in FORMS},
    "corpus": Part(make_corpus, write_rows()),
    "pickle": Part(make_pickle, write_rows("EmoryNLP", "--check_counts", "False")),
    "plan": Part(make_corpus, count_tokens),
}


def resident(field: str) -> int:
    """Bytes of this process: VmRSS now, VmHWM at most so far."""
    return int(Path("/proc/self/status").read_text().partition(field)[2].split()[0]) * 1024


def measure(part: str, count: int) -> tuple[float, float]:
    """(seconds, MB that memory grew by at most) in this process, on one core: each has its own count of memory."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in (("warm", WARM), ("measured", count)):
            place = Path(folder) / name
            place.mkdir()
            # Apart: what was freed here would be taken again, and not be seen.
            maker = multiprocessing.get_context("fork").Process(target=PARTS[part].make, args=(place, rows))
            maker.start()
            maker.join()
            if maker.exitcode:
                raise SystemExit(maker.exitcode)
            Path("/proc/self/clear_refs").write_text("5")
            before, began = resident("VmRSS:"), time.process_time()
            PARTS[part].run(place)
            seconds = time.process_time() - began
        return seconds, max(0, resident("VmHWM:") - before) / 1e6


def measure_apart(part: str, count: int) -> tuple[float, float]:
    """The same in a new process."""
    command = [sys.executable, __file__, "--child", part, str(count)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{part}, {count:,} rows: {done.stderr}")
    seconds, grown = json.loads(done.stdout.splitlines()[-1])
    return seconds, grown


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=None, help=f"some of {', '.join(PARTS)}, joined by commas")
    parser.add_argument("--counts", default="1000,10000,100000,1000000", help="rows, joined by commas")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(arguments.child[0], int(arguments.child[1]))))
        return
    parts = arguments.parts.split(",") if arguments.parts else list(PARTS)
    print("| what | rows | seconds | microseconds a row | MB more |\n|---|---|---|---|---|")
    for part in parts:
        for count in map(int, arguments.counts.split(",")):
            seconds, grown = measure_apart(part, count)
            print(f"| {part} | {count:,} | {seconds:.2f} | {1e6 * seconds / count:.1f} | {grown:.0f} |", flush=True)


if __name__ == "__main__":
    main()
