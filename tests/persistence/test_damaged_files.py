"""Files that are not what they should be: an error that names them, and nothing else happens."""

import copy
import json
import pickle
import re
import warnings
import zipfile
import zlib
from contextlib import nullcontext
from io import BytesIO
from itertools import pairwise

import numpy as np
import pytest
from sklearn.exceptions import NotFittedError

import emfast
from fitted_estimators import CASES, answers, assert_same_answers, fitted
from saved_files import HEADER, entries_of, put_together

EVERY = pytest.mark.parametrize("name", CASES)
SEEDS = {name: 11 * number for number, name in enumerate(CASES)}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.npz"


def loaded(path):
    """The model of a file, or None if it is refused, as it has to be: in one line, by its name."""
    try:
        return emfast.load(path)
    except ValueError as error:
        said = str(error)
        assert type(error) is ValueError
        assert said.startswith(f"{path}: ")
        assert "\n" not in said


def refused(path):
    return loaded(path) is None


def refused_or_whole(path, case):
    """Whether it is refused; else it is a whole model, if perhaps one of other rows."""
    model = loaded(path)
    if model is None:
        return True
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            answers(model, case.X[:4], None if case.y is None else case.y[:4])
        except NotFittedError:
            raise
        except ValueError as error:
            assert re.match(OF_OTHER_ROWS, str(error))
    return False


OF_OTHER_ROWS = "X: |y: |n_trials: "


# Bytes


@EVERY
def test_truncated(name, path):
    fitted(name).save(path)
    whole = path.read_bytes()
    for length in {*range(0, len(whole), 61), len(whole) - 1, len(whole) - 22}:
        path.write_bytes(whole[:length])
        assert refused(path)


@EVERY
def test_bytes_that_are_other_ones(name, path):
    model, case = fitted(name), CASES[name]
    model.save(path)
    whole, expected, n_refused = path.read_bytes(), answers(model, case.X, case.y), 0
    positions = range(SEEDS[name] % 37, len(whole), 37)
    for position in positions:
        for change in (0x01, 0x80, 0xFF):
            damaged = bytes([whole[position] ^ change])
            path.write_bytes(whole[:position] + damaged + whole[position + 1 :])
            found = loaded(path)
            if found is None:
                n_refused += 1
            else:
                # Times and permissions of entries say nothing.
                assert_same_answers(answers(found, case.X, case.y), expected)
    assert n_refused > 2 * len(positions)


@pytest.mark.parametrize("seed", range(5))
def test_bytes_that_are_gone_doubled_or_shuffled(seed, path):
    rng = np.random.default_rng(seed)
    fitted("GaussianMixture").save(path)
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for _ in range(40):
        first, last = np.sort(rng.integers(0, len(whole), 2))
        part = whole[first : last + 1]
        for other in (part[:0], np.tile(part, 2), rng.permutation(part)):
            damaged = np.concatenate([whole[:first], other, whole[last + 1 :]])
            path.write_bytes(damaged.tobytes())
            assert refused(path) or np.array_equal(damaged, whole)


def test_no_archives(path):
    rng = np.random.default_rng(0)
    for content in (b"", b"PK", b"PK\x05\x06" + bytes(18), b"a,b\n1,2\n", rng.bytes(5000)):
        path.write_bytes(content)
        assert refused(path)
    path.write_bytes(pickle.dumps(fitted("GaussianMixture")))
    assert refused(path)


# Entries of the archive


def repacked(path, change):
    """The file with changed bytes of its entries."""
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    change(contents)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in contents.items():
            archive.writestr(name, content)


@EVERY
def test_arrays_that_are_swapped(name, path):
    model = fitted(name)
    model.save(path)
    _, arrays = entries_of(path)
    names = [f"{each}.npy" for each in arrays]
    for one, other in pairwise(names):
        model.save(path)

        def swap(contents, one=one, other=other):
            contents[one], contents[other] = contents[other], contents[one]

        contents = arrays[one[:-4]], arrays[other[:-4]]
        if contents[0].dtype == contents[1].dtype and np.array_equal(*contents):
            continue
        repacked(path, swap)
        assert refused(path)


@EVERY
def test_arrays_that_are_gone_or_too_many(name, path):
    model = fitted(name)
    model.save(path)
    header, arrays = entries_of(path)
    for each in arrays:
        for checksums in (True, False):
            fewer = {other: array for other, array in arrays.items() if other != each}
            put_together(path, header, fewer, checksums=checksums)
            assert refused(path)
            put_together(path, header, {**arrays, f"{each}2": arrays[each]}, checksums=checksums)
            assert refused(path)


def test_entries_of_other_kinds(path):
    model = fitted("GaussianMixture")

    def entries(**changed):
        def change(contents):
            contents.update({name.replace("_", "."): each for name, each in changed.items()})

        return change

    for change in (
        entries(header_json=b""),
        entries(header_json=b"[]"),
        entries(header_json=b"{}"),
        entries(header_json=b'{"format": "emfast"}'),
        entries(header_json=b"\xff\xfe"),
        entries(header_json=b"[" * 100_000),
        entries(header_json=b"9" * 100_000),
        entries(other=b""),
        entries(model_latent_npy=b""),
        entries(model_latent_npy=b"\x93NUMPY\x01\x00"),
        lambda contents: contents.pop(HEADER),
        lambda contents: contents.clear(),
    ):
        model.save(path)
        repacked(path, change)
        assert refused(path)


def with_bytes_of_array(path, name, content):
    """The file with other bytes of an array, and a checksum that is right."""

    def change(contents):
        header = json.loads(contents[HEADER])
        contents[f"{name}.npy"] = content
        header["checksums"][f"{name}.npy"] = zlib.crc32(content)
        contents[HEADER] = json.dumps(header).encode()

    repacked(path, change)


@pytest.mark.parametrize(
    "told",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-2, -1)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2, 10)}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': 2}",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (0, 1000000000000000000000)}",
        "{'descr': '|O', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '|V8', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<U0', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<M8[s]', 'fortran_order': False, 'shape': (2,)}",
        "{'descr': '<c16', 'fortran_order': False, 'shape': (1,)}",
        "{'descr': [('a', '<f8')], 'fortran_order': False, 'shape': (2,)}",
        "{'descr': ('<f8', (2,)), 'fortran_order': False, 'shape': (1,)}",
        "{'descr': '<f8'}",
        "__import__('os').getcwd()",
        "",
    ],
)
def test_arrays_that_say_something_else_of_themselves(told, path):
    fitted("GaussianMixture").save(path)
    text = told.encode() + b"\n"
    start = b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text
    with_bytes_of_array(path, "model.latent", start + np.array([0.5, 0.5]).tobytes())
    assert refused(path)


def test_the_other_byte_order_and_the_order_of_columns_are_read(path):
    model, case = fitted("GaussianMixture tied"), CASES["GaussianMixture tied"]
    model.save(path)
    _, arrays = entries_of(path)
    for name, array in arrays.items():
        stream = BytesIO()
        np.save(stream, np.asfortranarray(array.astype(array.dtype.newbyteorder("S"))))
        with_bytes_of_array(path, name, stream.getvalue())
    assert_same_answers(answers(emfast.load(path), case.X), answers(model, case.X))


def test_entries_that_are_compressed_or_there_twice(path):
    fitted("GaussianMixture").save(path)
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    with pytest.raises(ValueError, match="compressed"):
        emfast.load(path)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in [*contents.items(), ("model.latent.npy", b"")]:
            with pytest.warns(UserWarning, match="Duplicate") if content == b"" else nullcontext():
                archive.writestr(name, content)
    with pytest.raises(ValueError, match="twice"):
        emfast.load(path)


class Payload:
    """What is called where a pickle is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@EVERY
def test_objects_in_arrays_are_not_made(name, path, tmp_path):
    fitted(name).save(path)
    header, arrays = entries_of(path)
    witness = tmp_path / "executed"
    objects = np.array([Payload(witness)], object)
    for each in arrays:
        put_together(path, header, {**arrays, each: objects})
        assert refused(path)
    put_together(path, header, {**arrays, "more": objects})
    assert refused(path)
    assert not witness.exists()


# The header


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"format_version": 2},
            r"written by emfast .* in format version 2; .* newer one is needed",
        ),
        ({"format_version": 10**30}, "newer one is needed"),
        ({"format_version": 0}, "no format version"),
        ({"format_version": True}, "no format version"),
        ({"format_version": 1.0}, "no format version"),
        ({"format": "others"}, "not an emfast model"),
        ({"format": None}, "not an emfast model"),
        ({"class": "Gaussian", "parameters": {}}, "no fitted estimator|unknown arrays"),
        ({"class": "Mine"}, "class 'Mine'; expected one of"),
        ({"class": ["GaussianMixture"]}, "unhashable"),
        ({"class": "EMEstimator"}, "expected one of"),
        ({"parameters": {"__class__": "Mine"}}, "unknown parameters"),
        ({"parameters": {"self": 1}}, "unknown parameters"),
        ({"state": {}}, "found nothing"),
        ({"state": {"__class__": "Mine"}}, "unknown values __class__"),
        ({"state": {"fit": None}}, "unknown values fit"),
        ({"more": 1}, "unknown entries"),
    ],
)
def test_headers_of_other_kinds(changed, message, path):
    fitted("GaussianMixture").save(path)
    header, arrays = entries_of(path)
    put_together(path, {**header, **changed}, arrays)
    assert refused(path)
    with pytest.raises(ValueError, match=message):
        emfast.load(path)


WRONG = [
    None, True, 0, -1, 2.5, 10**30, float("inf"), float("nan"), "", "emfast", [], [[]], [None] * 3,
    {}, {"array": "model.latent"}, {"array": "none"}, {"array": []}, {"float": "nan"},
    {"float": "x"}, {"tuple": []}, {"tuple": 1}, {"set": [[]]}, {"slice": [1]}, {"named": {}},
    {"named": []}, {"mapping": [[1]]}, {"mapping": [[[], 1]]}, {"values": [1, None]}, {"what": 1},
    {"array": "model.latent", "float": "nan"}, {"object": {}},
    {"object": {"class": "GaussianMixture", "parameters": {}}},
    {"object": {"class": "GaussianMixture", "parameters": {}, "state": {}}},
    {"object": {"class": "Gaussian", "parameters": {}}},
]  # fmt: skip


N_WRONG = 4


def places(node, here=()):
    """The ways to all values of JSON."""
    yield here
    items = node.items() if isinstance(node, dict) else enumerate(node[:2])
    for key, each in items:
        if isinstance(each, dict | list):
            yield from places(each, (*here, key))
        else:
            yield (*here, key)


def with_value(node, way, value):
    if not way:
        return value
    node = copy.copy(node)
    node[way[0]] = with_value(node[way[0]], way[1:], value)
    return node


@EVERY
def test_values_of_other_types_and_sizes(name, path):
    """A few of the wrong values at each place, of all cases other ones."""
    case = CASES[name]
    fitted(name).save(path)
    header, arrays = entries_of(path)
    # Threads and iterations without end are none of the file's business.
    ways = [way for way in places(header) if way and way[-1] not in ("n_threads", "written_by")]
    rng = np.random.default_rng(SEEDS[name])
    for way in ways:
        for number in rng.permutation(len(WRONG))[:N_WRONG]:
            put_together(path, with_value(header, way, WRONG[number]), arrays, checksums=False)
            refused_or_whole(path, case)


@EVERY
def test_what_is_left_out_of_the_header(name, path):
    case = CASES[name]
    fitted(name).save(path)
    header, arrays = entries_of(path)
    for way in places(header):
        parent = header
        for key in way[:-1]:
            parent = parent[key]
        if way and isinstance(parent, dict):
            fewer = {key: each for key, each in parent.items() if key != way[-1]}
            put_together(path, with_value(header, way[:-1], fewer), arrays, checksums=False)
            refused_or_whole(path, case)
            if way[0] == "state" and len(way) == 2 and way[1] not in MAY_BE_ABSENT:
                assert refused(path), way


MAY_BE_ABSENT = ("feature_names_in_", "classes_")


def other_arrays(array):
    yield array[:0]
    yield array[:-1] if array.ndim else array
    yield np.concatenate([array, array[-1:]])
    yield array[None]
    yield array[..., None]
    yield array.ravel()[:1][0]
    if array.dtype.kind in "fiub":
        yield array.astype(np.float32)
        yield array.astype(np.int32)
        yield array.astype("U")
        yield array > 0
        for wrong in (np.nan, np.inf, -np.inf):
            changed = np.array(array, np.float64)
            changed.flat[-1] = wrong
            yield changed
        for factor in (-1, 0, 3):
            yield array * factor


@EVERY
def test_arrays_of_other_shapes_types_and_values(name, path):
    case = CASES[name]
    fitted(name).save(path)
    header, arrays = entries_of(path)
    n_refused = n_tried = 0
    for each, array in arrays.items():
        for other in other_arrays(array):
            put_together(path, header, {**arrays, each: np.asarray(other)})
            n_refused += refused_or_whole(path, case)
            n_tried += 1
    assert n_refused > n_tried / 2
