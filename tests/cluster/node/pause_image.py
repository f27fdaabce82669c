"""The image of the pause container, which holds the namespaces of a pod: one program, one layer."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

REFERENCE = "localhost/pause:1"
USER = "65535"


def write_pause_image(program: Path, archive: Path) -> None:
    """Write an archive as `docker save` does, whose only file is this static program."""
    layer = _tar({"pause": program.read_bytes()}, mode=0o755)
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {"Entrypoint": ["/pause"], "User": USER, "WorkingDir": "/"},
            "rootfs": {
                "type": "layers",
                "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"],
            },
        }
    ).encode()
    name = f"{hashlib.sha256(config).hexdigest()}.json"
    manifest = [{"Config": name, "RepoTags": [REFERENCE], "Layers": ["layer.tar"]}]
    files = {name: config, "manifest.json": json.dumps(manifest).encode(), "layer.tar": layer}
    archive.write_bytes(_tar(files))


def _tar(files: dict[str, bytes], mode: int = 0o644) -> bytes:
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            entry.mode = mode
            tar.addfile(entry, io.BytesIO(content))
    return written.getvalue()
