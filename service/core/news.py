"""What the parts of the dispatcher tell the pipeline, in order: they append to one list."""

from service.core.effects import Effect
from service.core.group.asset_work import AppliedAlike, Ended

News = list[Effect | Ended | AppliedAlike]
"""What is to be done, and changes that ended."""
