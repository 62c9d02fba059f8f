"""Words that are told beside numbers."""


def counted(number: int, what: str) -> str:
    """A number and a noun: '1 dialogue', '1,200 dialogues'."""
    return f"{number:,} {what}{'s' * (number != 1)}"
