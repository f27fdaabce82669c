"""Lead assets past their files: who waits for them, who goes on, who ends (contract.md §9)."""

from service.core.group.asset_work import AssetWork
from service.core.inputs import DownloadEnd
from service.core.media.files import Files, Found
from service.core.model import Now
from service.core.recover.call import Call
from service.core.send.busy_assets import BusyAssets
from service.core.send.structure_cache import StructureCache


class FileSteps:
    """Takes assets out of calls until their files are in the PIM, and lets them go on."""

    def __init__(
        self, files: Files, busy: BusyAssets, structure_cache: StructureCache | None
    ) -> None:
        self._files = files
        self._busy = busy
        self._structure_cache = structure_cache

    def set_aside(self, call: Call) -> list[AssetWork]:
        """Take out of the call what waits for files, and return what its files end."""
        ended = []
        for work in [work for work in call.batch if work.has_files]:
            structures = self._structure_cache
            known = structures.attributes(call.family) if structures is not None else {}
            found = self._files.look(work, known)
            if found is not Found.READY:
                call.batch.remove(work)
            if found is Found.ENDED:
                ended.append(work)
        return ended

    def download_ended(self, file_id: int, end: DownloadEnd, now: Now) -> None:
        """Take the end of a download: the file is uploaded next, or its assets go on or end."""
        self._busy.go_on(self._files.download_ended(file_id, end, now), now)

    def fetch(self, now: Now, *, may_end: bool) -> None:
        """Begin the downloads that may begin; end what waited too long, if a call could succeed."""
        if may_end:
            self._busy.go_on(self._files.waited_too_long(now), now)
        self._files.downloads.start(now)
