"""Files of fitted models, taken apart and put together again."""

import json
import zipfile
import zlib
from io import BytesIO

import numpy as np

HEADER = "header.json"


def entries_of(path):
    """The header, parsed, and the arrays by name."""
    with np.load(path, allow_pickle=False) as archive:
        header = json.loads(archive[HEADER])
        return header, {name: archive[name] for name in archive.files if name != HEADER}


def put_together(path, header, arrays, *, checksums=True):
    """Write such entries, with checksums that are right."""
    contents = {}
    for name, array in arrays.items():
        stream = BytesIO()
        np.save(stream, array, allow_pickle=True)
        contents[f"{name}.npy"] = stream.getvalue()
    if checksums:
        sums = {name: zlib.crc32(content) for name, content in contents.items()}
        header = {**header, "checksums": sums}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(HEADER, json.dumps(header))
        for name, content in contents.items():
            archive.writestr(name, content)


def rewritten(path, change, remove=(), **changed):
    """The file with a changed header or other arrays, by the last part of their names."""
    header, arrays = entries_of(path)
    change(header)
    for name in remove:
        del arrays[full_name(arrays, name)]
    for name, array in changed.items():
        arrays[full_name(arrays, name)] = array
    put_together(path, header, arrays)


def full_name(arrays, name):
    parameters = [each for each in arrays if not each.startswith("_statistics.")]
    found = [each for each in parameters if each == name or each.endswith(f".{name}")]
    assert len(found) <= 1
    return found[0] if found else name
