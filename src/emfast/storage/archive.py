"""Files of named arrays with a JSON header: written as a whole or not at all, read without trust.

A file is an ``.npz`` archive, which `numpy.load` opens. Its entry ``header.json`` says what it is,
in which version of the format, and the checksum of every array; its other entries are arrays of
numbers or strings. Nothing is compressed, so that nothing unpacks to more than the file has.
"""

import json
import math
import os
import secrets
import shutil
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

FORMAT = "emfast"
FORMAT_VERSION = 1

HEADER = "header.json"
EXTENSION = ".npy"

# Kinds of arrays whose entries are values by themselves: booleans, integers, floats, strings.
KINDS = "biufU"

Arrays = dict[str, np.ndarray]


class NotAnArchiveError(ValueError):
    """Not a file of this format, or of this version of it."""


# Writing


def write(path: str | os.PathLike, header: dict[str, Any], arrays: Arrays) -> None:
    """Write a file; one of that name is replaced.

    Parameters
    ----------
    path : str or path-like
    header : dict that JSON can hold
    arrays : dict of ndarray of `KINDS`

    Raises
    ------
    OSError
        The file cannot be written. There is none then, or still the old one.
    """
    entries = _entries(header, arrays)
    with replacement(path) as temporary, open(temporary, "xb") as file:
        _write_entries(file, entries)
        file.flush()
        os.fsync(file.fileno())


def packed(header: dict[str, Any], arrays: Arrays) -> bytes:
    """The bytes of the file that `write` would write."""
    stream = BytesIO()
    _write_entries(stream, _entries(header, arrays))
    return stream.getvalue()


def _entries(header: dict[str, Any], arrays: Arrays) -> dict[str, bytes]:
    entries = {f"{name}{EXTENSION}": _bytes(array) for name, array in arrays.items()}
    checksums = {name: zlib.crc32(content) for name, content in entries.items()}
    own = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "written_by": f"{FORMAT} {version(FORMAT)}",
        "checksums": checksums,
    }
    text = json.dumps({**own, **header}, allow_nan=False)
    return {HEADER: text.encode(), **entries}


@contextmanager
def replacement(path: str | os.PathLike) -> Iterator[Path]:
    """A file to write beside one of this name, whose place it takes if nothing fails."""
    target = check_writable(path)
    temporary = target.with_name(_temporary(target, secrets.token_hex(8)))
    try:
        yield temporary
        if target.exists():
            # Who may read it is as before.
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def remove_temporaries(path: str | os.PathLike) -> None:
    """Remove what processes that were killed have left of writing to this file.

    Whoever still writes to it fails.
    """
    target = Path(os.path.realpath(path))
    for temporary in target.parent.glob(_temporary(target, "?" * 16)):
        temporary.unlink(missing_ok=True)


def _temporary(target: Path, which: str) -> str:
    """The name of a file to write beside another one, as long whatever that is called."""
    of = blake2b(os.fsencode(target.name), digest_size=8).hexdigest()
    return f".emfast-{of}-{which}.tmp"


def _write_entries(file: BinaryIO, entries: dict[str, bytes]) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries.items():
            # An entry that is given by its name alone would tell the time of day.
            archive.writestr(zipfile.ZipInfo(name), content)


def _bytes(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.lib.format.write_array(
        stream, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False
    )
    return stream.getvalue()


def check_writable(path: str | os.PathLike) -> Path:
    """The file that writing to `path` would replace or make.

    Raises
    ------
    OSError
        It cannot be written, and why.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder; expected the name of a file")
    if target.exists() and not target.is_file():
        raise FileExistsError(f"{path}: is not a regular file and would be replaced")
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(f"{path}: is read-only and would be replaced")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {target.parent}")
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise PermissionError(f"{path}: the folder {target.parent} cannot be written to")
    return target


# Reading


def read(path: str | os.PathLike) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays of a file.

    Raises
    ------
    ValueError
        The file is damaged, of another kind, or of a newer format; the message names it.
    OSError
        The file cannot be read.
    """
    with open(path, "rb") as file:
        return _read(file, path)


def unpacked(content: bytes, called: str) -> tuple[dict[str, Any], Arrays]:
    """The header and the arrays of what `packed` has made; messages call it as said.

    Raises
    ------
    ValueError
        See `read`.
    """
    return _read(BytesIO(content), called)


def _read(file: BinaryIO, called: Any) -> tuple[dict[str, Any], Arrays]:
    if not zipfile.is_zipfile(file):
        raise ValueError(f"{called}: not an emfast model, or a damaged one: no .npz archive")
    try:
        return _contents(file)
    except NotAnArchiveError as error:
        raise ValueError(f"{called}: {error}") from error
    except Exception as error:
        # Whatever zipfile, NumPy and json raise for damaged bytes; the list is long and open.
        raise ValueError(f"{called}: a damaged file ({in_one_line(error)})") from error


def in_one_line(error: Exception) -> str:
    """What an error says, with its type where that is needed to understand it."""
    said = " ".join(str(error).split())
    return said if type(error) is ValueError and said else f"{type(error).__name__}: {said}"


def _contents(file: BinaryIO) -> tuple[dict[str, Any], Arrays]:
    with zipfile.ZipFile(file) as archive:
        entries = {info.filename: info for info in archive.infolist()}
        if HEADER not in entries:
            raise NotAnArchiveError("an .npz archive, but not an emfast model")
        _check_sizes(archive.infolist(), file.seek(0, os.SEEK_END))
        header = _header(archive.read(HEADER))
        found = {name: info.CRC for name, info in entries.items() if name != HEADER}
        if found != header.pop("checksums", None):
            raise ValueError("its arrays are not those that its header tells of")
        return header, {
            name.removesuffix(EXTENSION): _array(name, archive.read(name)) for name in found
        }


def _check_sizes(entries: list[zipfile.ZipInfo], size: int) -> None:
    """Raise for entries that would be more than the file is."""
    packed = [info.filename for info in entries if info.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"{packed[0]} is compressed; expected entries as they are")
    names = [info.filename for info in entries]
    if len(set(names)) < len(names) or sum(info.file_size for info in entries) > size:
        raise ValueError("found entries twice, or entries that are larger than the file")


def _header(text: bytes) -> dict[str, Any]:
    header = json.loads(text, parse_constant=_refuse_constant)
    if not isinstance(header, dict) or header.pop("format", None) != FORMAT:
        raise NotAnArchiveError("an .npz archive, but not an emfast model")
    number, writer = header.pop("format_version", None), header.pop("written_by", None)
    if type(number) is not int or number < 1:
        raise NotAnArchiveError("not a valid emfast model (no format version)")
    if number > FORMAT_VERSION:
        raise NotAnArchiveError(
            f"written by {writer} in format version {number}; this emfast reads up to "
            f"{FORMAT_VERSION}, a newer one is needed"
        )
    return header


def _refuse_constant(constant: str) -> None:
    raise ValueError(f"found {constant} in the header; expected JSON")


def _array(name: str, content: bytes) -> np.ndarray:
    """An array from its bytes, none of which are read before it is known how many there must be."""
    stream = BytesIO(content)
    if np.lib.format.read_magic(stream) != (1, 0):
        raise ValueError(f"{name}: found another version of the .npy format; expected 1.0")
    shape, in_columns, dtype = np.lib.format.read_array_header_1_0(stream)
    if dtype.kind not in KINDS or dtype.itemsize == 0:
        raise ValueError(f"{name}: found an array of {dtype}; expected numbers or strings")
    rest = content[stream.tell() :]
    if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"{name}: found {len(rest)} bytes; expected {dtype} of shape {shape}")
    array = np.frombuffer(rest, dtype).reshape(shape, order="F" if in_columns else "C")
    return array.astype(dtype.newbyteorder("="), order="C")
