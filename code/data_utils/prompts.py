"""Every prompt of InstructERC, word for word, and a compact one of ours; pure functions from text to text.

Source: the released scripts (LIN-SHANG/InstructERC, commit 44014f1) for the exact strings and arXiv
2309.11911 for their meaning. A "turn" here is one utterance already rendered by `render_turn`.

The main prompt has two forms. `paper`: the conversation, then the target utterance once more and the labels, which
no other turn's prompt can share. `compact`: the labels first, then the conversation, then a cue, so that a prompt
without its cue is the beginning of the next turn's prompt. A row of the prediction task, which has both forms too, then
costs only a cue and a label more.
"""

import json
import re
from collections.abc import Iterator, Sequence

from basics.errors import UserError
from basics.files import sha256_of_text

ROLE = "Now you are expert of sentiment and emotional analysis. "
HISTORY_START = ROLE + "The following conversation noted between '### ###' involves several speakers. ### "

TEMPLATES = {
    "turn": 'Speaker_{speaker}:"{text}"',
    "turn_in_history": "\t {turn}",
    "speaker_name": "Speaker_{speaker}",
    "recognition": HISTORY_START + "{history} ### Please select the emotional label of < {target}> from <{labels}>:",
    "prediction": HISTORY_START
    + "{history}###Based on the above historical utterances, next utterance is spoken by <{speaker}>, "
    "please predict the emotion states of <{speaker}> from <{labels}>:",
    "plain": "Please select the emotional label of <{text}> from <{labels}>:",
    "speaker": ROLE + "Please select the Speaker label of the utterance <Speaker: {text}> from <{speakers}>:",
    "demonstration": "<{text}>: {label}",
    "demonstrations_last": "\nDemonstration:\n{demonstrations}",
    "demonstrations_role": "Demonstration:\n{demonstrations}\n",
}

PAPER, COMPACT = "paper", "compact"
FORMS = (PAPER, COMPACT)
# The cue begins with a blank and a word, so that no token of it grows into the turn before it, which the next turn's
# prompt shares; it ends with a colon as the paper's prompts do, so that labels become the same tokens; and it says what
# is wanted to a base that has not been trained on it.
CUE = " Emotion:"
# By the same rules. It is not in the digests below, by which checkpoints are compared, since checkpoints are not scored
# on it: whoever changes it counts ROWS_VERSION up.
COMPACT_PREDICTION = "{start}{history} Next emotion, of Speaker_{speaker}:"
COMPACT_TEMPLATES = {
    "start": ROLE + "Please select the emotional label of the last utterance of the following conversation, which "
    "involves several speakers, from <{labels}>:",
    "recognition": "{start}{history}" + CUE,
}


def _digest(templates: dict[str, str]) -> str:
    return sha256_of_text(json.dumps(templates, sort_keys=True))


# A digest of the templates of each form: rows that were made from other templates are stale.
TEMPLATE_SHA256 = _digest(TEMPLATES)
_OF_TURNS = {name: TEMPLATES[name] for name in ("turn", "turn_in_history")}
TEMPLATE_DIGESTS = {PAPER: TEMPLATE_SHA256, COMPACT: _digest(_OF_TURNS | COMPACT_TEMPLATES)}

_PLAIN_START = TEMPLATES["plain"].partition("{")[0]
_SPEAKER_START = TEMPLATES["speaker"].partition("{")[0]
_COMPACT_CUE = re.compile(re.escape(CUE) + r"\Z")
_COMPACT_PREDICTION_CUE = re.compile(r" Next emotion, of Speaker_\d+:\Z")
_COMPACT_START = re.compile(re.escape(COMPACT_TEMPLATES["start"]).replace(re.escape("{labels}"), "[^<>]*"))
_TURN_START = re.compile(r'\t Speaker_(\d+):"')
_RECOGNITION_QUESTION = " ### Please select the emotional label of < "
_RECOGNITION_END = re.compile(r"> from <[^<>]*>:\Z")
_PREDICTION_QUESTION = re.compile(
    r"###Based on the above historical utterances, next utterance is spoken by <\d+>, "
    r"please predict the emotion states of <\d+> from <[^<>]*>:\Z"
)


def render_turn(speaker: int, text: str) -> str:
    """Return one utterance as a conversation shows it: `Speaker_0:"..."`."""
    return TEMPLATES["turn"].format(speaker=speaker, text=text)


def render_speaker_name(speaker: int) -> str:
    """Return the answer of the speaker task: `Speaker_0`."""
    return TEMPLATES["speaker_name"].format(speaker=speaker)


def render_labels(labels: Sequence[str]) -> str:
    """Return the labels as a question lists them."""
    return ", ".join(labels)


def render_history(turns: Sequence[str]) -> str:
    """Return the conversation between the two `###`; each turn brings its own tab and blank."""
    return "".join(TEMPLATES["turn_in_history"].format(turn=turn) for turn in turns)


def render_recognition_prompt(turns: Sequence[str], labels: Sequence[str], form: str = PAPER) -> str:
    """Return the main prompt (emotion_recognition) in one of `FORMS`.

    turns: the history, oldest first, then the target utterance as the last one; at least one. In the compact form,
    which shows the target once, a tab inside an utterance is a blank: a tab is what turns are told apart by.
    """
    if form == COMPACT:
        return COMPACT_TEMPLATES["recognition"].format(**_compact_parts(turns, labels))
    return TEMPLATES["recognition"].format(
        history=render_history(turns), target=turns[-1], labels=render_labels(labels)
    )


def _compact_parts(turns: Sequence[str], labels: Sequence[str]) -> dict[str, str]:
    start = COMPACT_TEMPLATES["start"].format(labels=render_labels(labels))
    return {"start": start, "history": render_history([turn.replace("\t", " ") for turn in turns])}


def render_prediction_prompt(history: Sequence[str], speaker: int, labels: Sequence[str], form: str = PAPER) -> str:
    """Return the prompt of emotion_prediction in one of `FORMS`: the emotion of an utterance that is not shown.

    history: the turns before the target, oldest first, at least one (at turn 0 the method puts the
    main prompt in this one's place). speaker: who says the target.
    """
    if form == COMPACT:
        return COMPACT_PREDICTION.format(speaker=speaker, **_compact_parts(history, labels))
    return TEMPLATES["prediction"].format(
        history=render_history(history), speaker=speaker, labels=render_labels(labels)
    )


def render_plain_prompt(text: str, labels: Sequence[str]) -> str:
    """Return the prompt of the Plain setting ("LoRA + Backbone"): the utterance and nothing else."""
    return TEMPLATES["plain"].format(text=text, labels=render_labels(labels))


def render_speaker_prompt(text: str, speakers: int) -> str:
    """Return the prompt of speaker_identification with `speakers` names to choose from."""
    names = [render_speaker_name(speaker) for speaker in range(speakers)]
    return TEMPLATES["speaker"].format(text=text, speakers=", ".join(names))


def add_demonstrations(prompt: str, demonstrations: Sequence[tuple[str, str]], position: str) -> str:
    """Return a main prompt with demonstrations, (text, label) each, nearest first.

    position: `last` puts them after the question, as the paper does; `role` after the role sentence, where
    the released scripts have an empty slot (the words there are ours).
    """
    lines = "\n".join(TEMPLATES["demonstration"].format(text=text, label=label) for text, label in demonstrations)
    part = TEMPLATES[f"demonstrations_{position}"].format(demonstrations=lines)
    return prompt + part if position == "last" else prompt.replace(ROLE, ROLE + part, 1)


CONTENT_FREE = "N/A"


def without_content(prompt: str, labels: Sequence[str]) -> str:
    """Return the prompt with "N/A" in place of conversation and utterance: what a model answers to it is its bias.

    It keeps the question's form and the demonstrations, which are part of the context whose bias is measured.
    Source: contextual calibration (arXiv 2102.09690), whose content-free text this is.

    Raises:
        UserError: the prompt is of none of the forms that are scored.
    """
    for before, question, after in _without_demonstrations(prompt):
        bare = _bare_question(question, labels)
        if bare is not None:
            return bare.replace(ROLE, ROLE + before) + after
    raise UserError(f"--calibrate True: allowed are the prompts that data_process.py writes, not {prompt[:80]!r}...")


def _bare_question(prompt: str, labels: Sequence[str]) -> str | None:
    """The question with "N/A" as its utterance; None when the prompt is none of recognition, plain or speaker."""
    if _compact_turns(prompt):
        return render_recognition_prompt([render_turn(0, CONTENT_FREE)], labels, COMPACT)
    if prompt.startswith(_PLAIN_START):
        return render_plain_prompt(CONTENT_FREE, labels)
    if prompt.startswith(_SPEAKER_START):
        return render_speaker_prompt(CONTENT_FREE, len(labels))
    if prompt.startswith(HISTORY_START) and _find_recognition_history(prompt) is not None:
        return render_recognition_prompt([render_turn(0, CONTENT_FREE)], labels)
    return None


def find_speaker(prompt: str) -> int | None:
    """Return the number of the speaker of a recognition prompt's target utterance; None for all other prompts."""
    if compact := _compact_turns(prompt):
        return int(compact[-1].group(1))
    for _, conversation, _ in _without_demonstrations(prompt):
        history = _find_recognition_history(conversation) if conversation.startswith(HISTORY_START) else None
        if history is not None:
            found = _TURN_START.match(conversation, len(HISTORY_START) + len(history))
            return int(found.group(1)) if found else None
    return None


def most_droppable(prompt: str) -> int:
    """Return how many history utterances a prompt can give up, oldest first.

    A recognition prompt keeps its target utterance, a prediction prompt one turn of history, and
    both keep the question and demonstrations whole; plain and speaker prompts have no history. Tabs, quotes
    and `###` inside utterances do no harm: a turn starts only where `\\t Speaker_<number>:"` stands.
    """
    return len(_find_droppable(prompt)[1])


def drop_oldest_utterances(prompt: str, count: int) -> str | None:
    """Return a prompt without its `count` oldest history utterances, None where it has fewer to give up."""
    if not count:
        return prompt
    begin, ends = _find_droppable(prompt)
    return prompt[:begin] + prompt[ends[count - 1] :] if count <= len(ends) else None


def _find_droppable(prompt: str) -> tuple[int, list[int]]:
    """Where the history begins, and where each utterance that may go ends, oldest first."""
    if compact := _compact_turns(prompt) or _compact_turns(prompt, _COMPACT_PREDICTION_CUE):
        return compact[0].start(), [turn.start() for turn in compact[1:]]
    for before, conversation, _ in _without_demonstrations(prompt):
        if ends := _list_droppable(conversation):
            return len(HISTORY_START) + len(before), [end + len(before) for end in ends]
    return 0, []


def _without_demonstrations(prompt: str) -> Iterator[tuple[str, str, str]]:
    """(demonstrations before, prompt without any, demonstrations after): each way in which a prompt can be cut so."""
    yield "", prompt, ""
    for marker in re.finditer(re.escape("\nDemonstration:\n<"), prompt):
        yield "", prompt[: marker.start()], prompt[marker.start() :]
    opening = f"{ROLE}Demonstration:\n<"
    if prompt.startswith(opening):
        for border in re.finditer(re.escape("\n" + HISTORY_START.removeprefix(ROLE)), prompt):
            yield prompt[len(ROLE) : border.start() + 1], ROLE + prompt[border.start() + 1 :], ""


def _list_droppable(prompt: str) -> list[int]:
    """Where each history utterance that may go ends, oldest first, in a prompt without demonstrations."""
    if not prompt.startswith(HISTORY_START):
        return []
    prediction = _PREDICTION_QUESTION.search(prompt)
    if prediction:
        history, kept_turns = prompt[len(HISTORY_START) : prediction.start()], 1
    else:
        history, kept_turns = _find_recognition_history(prompt), 0
    if history is None:
        return []
    starts = [match.start() for match in _TURN_START.finditer(history)]
    ends = [*starts[1:], len(history)][: len(starts)]
    return [len(HISTORY_START) + end for end in ends[: len(ends) - kept_turns]]


def _compact_turns(prompt: str, cue: re.Pattern[str] = _COMPACT_CUE) -> list[re.Match[str]]:
    """Where each turn of a prompt in the compact form with that cue starts; empty for all other prompts."""
    start = _COMPACT_START.match(prompt)
    return list(_TURN_START.finditer(prompt, start.end())) if start and cue.search(prompt) else []


def _find_recognition_history(prompt: str) -> str | None:
    """Return the turns before the target, None if the prompt is no recognition prompt.

    The target stands twice, at the end of the conversation and in the question. Only at the true
    border between the two do both copies agree, whatever the utterance itself contains.
    """
    end = _RECOGNITION_END.search(prompt)
    border = prompt.find(_RECOGNITION_QUESTION) if end else -1
    while border >= 0:
        target = prompt[border + len(_RECOGNITION_QUESTION) : end.start()]
        last_turn = render_history([target])
        if target and prompt.startswith(last_turn, border - len(last_turn)):
            return prompt[len(HISTORY_START) : border - len(last_turn)]
        border = prompt.find(_RECOGNITION_QUESTION, border + 1)
    return None
