"""Names of speakers: which spellings are one person, and whether the text before a colon is a name or speech."""

import re
import unicodedata


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Words that stand in sentences and in hardly any name.
_SENTENCE_WORDS = _words("""
    a an am and are as at be been but by can could did do does don't for from had has have he her him his how i i'll
    i'm if in is it it's its just let me my not of on or our said say says she should so than that that's their them
    then there they this to was we were what when where which who why will with would you you're your
    """)
# Lower-case parts of names, and of what scripts call people: 'Ludwig van Beethoven', 'Man in the Hat'.
_PARTICLES = _words("al and bin da de del della den der di du el en in la le of on ten ter the van von y zu")
# Words before a colon that are speech, unless they stand there again and again ('Question:' and 'Answer:').
_OPENERS = _words("""
    answer attention breaking caution example fact first fyi hint http https imagine listen look no now ok okay plan
    please problem ps p.s. question re remember result rule second so third tip truth update wait warning well yes
    """)
# Words before a colon in scripts that are no speaker.
NOT_SPEAKERS = _words("""
    act agenda cast chapter characters conversation cut date dialog dialogue direction directions duration episode
    exterior interior interview intro keywords location minutes note notes outro part place scene session setting stage
    summary time title transcript transition
    """)
# Words before a list of those who are there; further down, where turns have begun, they may be speakers.
_LISTS_OF_PEOPLE = _words("absent apologies attendees participants present speakers")
# Words of which headings consist, beside numerals; with any other word they are a person: 'Stage Manager'.
_OF_HEADINGS = NOT_SPEAKERS | _words("""
    card cards list number page
    one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen
    nineteen twenty
    first second third last final next previous
    """)
_NUMERAL = re.compile(r".*\d.*|[ivxl]+|[a-z]")
_MARKS_OF_SCRIPTS = _words("cont'd cont’d contd continued o.c. o.s. off os v.o. vo filtered inaudible crosstalk")
# First words of asides on how something is said; others with a capital may tell people apart: 'Anna (Sales)'.
_DELIVERY = re.compile(
    r"(?:chuckl|cough|cry|gasp|giggl|grin|groan|hum|interrupt|laugh|mumbl|murmur|mutter|nod|paus|scream|shout|shrug|sigh"
    r"|sing|smil|sniff|snort|sob|stammer|weep|whisper|yawn|yell)(?:s|es|e|\w?ing|ter)?|cries|applause|beat"
    r"|(?:angri|bitter|calm|cold|dri|excited|firm|gent|happi|loud|nervous|quiet|sad|sarcastical|sharp|slow|soft"
    r"|tearful|warm)ly|to|into"
)
_SOUNDS = _words("""
    applause beep buzz cheers laughter music noise noises silence song static theme thunder
    """)
_DOES = re.compile(r"\S.* \w{3,}ing")  # 'phone ringing', not 'Stephen King'
_LIKE_DELIVERY = re.compile(r"\w+(?:ly|ing)")
_ASIDE = re.compile(r"(.*\S)\s*[(\[]([^()\[\]]+)[)\]]")
_ASIDE_BEFORE = re.compile(r"[(\[]([^()\[\]]{1,40})[)\]]\s+(?=[^\s:：])")
MOST_ASIDES = 3  # after a name: 'PAUL (V.O.) (CONT'D) (softly)'
# Invisible characters around names that were copied; joiners are not among them, as letters and emoji need them.
UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff]")
LONGEST_ASIDE = 40  # characters
MOST_WORDS = 5


def name_key(name: str) -> str:
    """A key that is equal for all spellings of a name: in NFC, with single blanks, case-folded from two letters on."""
    composed = unicodedata.normalize("NFC", " ".join(name.split()))
    return composed.casefold() if sum(map(str.isalpha, composed)) > 1 else composed


def fold_label(text: str) -> str:
    """A label or line with single blanks and in NFC, so that spellings that look alike are equal."""
    return unicodedata.normalize("NFC", " ".join(UNSEEN.sub("", text).split()))


def reads_like_sentence(name: str) -> bool:
    """Whether the text before a colon begins a sentence, and is no name: 'The truth is', 'I told him'."""
    *others, name = name.split(",")  # 'Nora Bell, Tim Rowe' speak at once
    if any(map(reads_like_sentence, others)):
        return True
    words = re.split(r"\s+", name.strip())
    if len(words) > MOST_WORDS or re.search(r"[?!;\"“”]|\w\.\s+[a-z]", name) or (others and words[0].islower()):
        return True
    lower = [word for word in words[1:] if word.islower() and word not in _PARTICLES]
    if not lower:
        return False  # 'A Waiter'
    return len(words) > 2 or any(word.casefold() in _SENTENCE_WORDS - _PARTICLES for word in words)


def is_label(name: str) -> bool:
    """Whether a name is a heading, and no person: 'Note', 'Session 2', 'INT. KITCHEN', 'Date of interview'."""
    folded = name.strip().casefold()
    if folded.startswith(("int.", "ext.", "fade in", "fade out", "cut to")):
        return True
    return _begins_with(NOT_SPEAKERS, name)


def is_chapter(line: str) -> bool:
    """Whether a whole line is such a heading, as above parts of a recording: 'Chapter 2', 'Intro'."""
    return is_label(line) and all(word in _OF_HEADINGS or _NUMERAL.fullmatch(word) for word in line.casefold().split())


def lists_people(name: str) -> bool:
    """Whether a name introduces a list of people, as in minutes: 'Participants', 'Apologies for absence'."""
    return _begins_with(_LISTS_OF_PEOPLE, name)


def _begins_with(words: frozenset[str], name: str) -> bool:
    first, *others = name.split() or [""]
    while others and _NUMERAL.fullmatch(others[-1].casefold()):  # 'Interview Participant 1' is somebody
        others.pop()
    return first.casefold() in words and not (len(others) == 1 and _ends_a_name(others[0]))


def _ends_a_name(word: str) -> bool:
    """Whether a word makes a person of a word of headings: 'Manager' after 'Stage'."""
    bare = word.strip(",.;-#()")
    folded = bare.casefold()
    return bare[:1].isupper() and folded not in _OF_HEADINGS and not _NUMERAL.fullmatch(folded)


def is_name(name: str, count: int, lower_names: bool = False) -> bool:
    """Whether the text before a colon is a speaker's name.

    count: how often it stands there in the file. lower_names: other speakers of the file are written in lower case.
    """
    words = name.split()
    if not words or is_label(name) or reads_like_sentence(name):
        return False
    if count < 2 and len(words) == 1 and name.casefold() in _OPENERS:
        return False
    if all(not word[0].islower() or word in _PARTICLES for word in words):
        return True
    return len(words) <= 3 and (count > 1 or lower_names)


def without_aside(name: str) -> str:
    """A name without brackets on how it is said: 'Paul (Laughing)' -> 'Paul'; 'Anna (Sales)' stays."""
    return _split_asides(name)[0]


def without_aside_before(text: str) -> str:
    """A line without brackets before the name: '(laughing) Paul: yes' -> 'Paul: yes'; '(Anna) yes' stays."""
    found = _ASIDE_BEFORE.match(text)
    return text[found.end() :] if found and _is_delivery(found[1]) else text


def has_doubtful_aside(name: str) -> bool:
    """Whether brackets that `without_aside` removes may tell people apart: 'Sam (tenant)', not 'Sam (laughing)'."""
    return any(
        not _is_delivery(aside) and not any(map(_LIKE_DELIVERY.fullmatch, aside.split()))
        for aside in _split_asides(name)[1]
    )


def _split_asides(name: str) -> tuple[str, list[str]]:
    """(name without the brackets at its end, the texts in them, last first)."""
    asides: list[str] = []
    while len(asides) < MOST_ASIDES and (found := _ASIDE.fullmatch(name)):
        if not (_is_delivery(found[2]) or _is_small(found[2])):
            break
        name = found[1]
        asides.append(found[2])
    return name, asides


def _is_small(aside: str) -> bool:
    return len(aside) <= LONGEST_ASIDE and aside.strip()[:1].islower()


def _is_delivery(aside: str) -> bool:
    if len(aside) > LONGEST_ASIDE:
        return False
    folded = aside.strip().casefold()
    return folded in _MARKS_OF_SCRIPTS or _DELIVERY.fullmatch(re.split(r"[\s,;.]", folded)[0]) is not None


def is_sound(text: str) -> bool:
    """Whether text in brackets is certainly a sound, and no name: 'SIGHS', 'SOFT MUSIC', 'PHONE RINGING'."""
    words = text.casefold().split()
    return _is_delivery(text) or not _SOUNDS.isdisjoint(words) or _DOES.fullmatch(" ".join(words)) is not None


def may_be_sound(name: str) -> bool:
    """Whether a name is a single word that subtitles also use for a sound: 'MUSIC', but not 'LAUGHING MAN'."""
    return len(name.split()) == 1 and is_sound(name)
