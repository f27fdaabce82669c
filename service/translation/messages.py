"""What a translator is told, and what it asks for, besides what every state machine is and does."""

import msgspec

from service.core.effects import CommonEffect
from service.core.inputs import CommonInput
from service.translation.read_answers import ReadAnswer
from service.translation.reads import StartRead


class ReadAnswered(msgspec.Struct, frozen=True):
    """The read with this number, which the translator started, has ended."""

    number: int
    answer: ReadAnswer


SourceInput = CommonInput | ReadAnswered
SourceEffect = CommonEffect | StartRead
