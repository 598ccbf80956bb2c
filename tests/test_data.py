"""The data: what the loaders give, and what happens to files that are not what they should be."""

import contextlib
import gzip
import hashlib
import http.server
import math
import os
import struct
import subprocess
import sys
import threading
import tracemalloc
import zlib

import numpy as np
import pytest
import sklearn.datasets
import sklearn.model_selection
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from softmax_notes import data

# The dtype codes of the format, each with the letter that `struct` packs such a number by.
CODES = {
    "uint8": (0x08, "B"), "int8": (0x09, "b"), "int16": (0x0B, "h"),
    "int32": (0x0C, "i"), "float32": (0x0D, "f"), "float64": (0x0E, "d"),
}  # fmt: skip

idx_arrays = st.sampled_from(sorted(CODES)).flatmap(
    lambda name: arrays(
        np.dtype(name), array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)
    )
)


def idx_bytes(array):
    """Write an IDX file number by number, without NumPy's own conversion to bytes."""
    code, letter = CODES[array.dtype.name]
    head = struct.pack(">BBBB", 0, 0, code, array.ndim) + struct.pack(
        f">{array.ndim}I", *array.shape
    )
    return head + struct.pack(f">{array.size}{letter}", *array.ravel().tolist())


PICTURES = np.arange(3 * 28 * 28, dtype=np.int64).reshape(3, 28, 28).astype(np.uint8)
CONTENT = {
    "train-images-idx3-ubyte.gz": PICTURES,
    "train-labels-idx1-ubyte.gz": np.array([9, 0, 4], dtype=np.uint8),
    "t10k-images-idx3-ubyte.gz": PICTURES[:2] // 2,
    "t10k-labels-idx1-ubyte.gz": np.array([1, 5], dtype=np.uint8),
}


@pytest.fixture
def published(monkeypatch):
    """Four small files in the place of the authors', with their true checksums."""
    files = {name: gzip.compress(idx_bytes(array), mtime=0) for name, array in CONTENT.items()}
    checksums = {name: hashlib.md5(body).hexdigest() for name, body in files.items()}
    monkeypatch.setattr(data, "_FASHION_MNIST", checksums)
    monkeypatch.delenv("SOFTMAX_NOTES_DATA", raising=False)
    return files


class Server(http.server.ThreadingHTTPServer):
    def __init__(self, files):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(files)
        self.broken_off = set()  # names whose connection closes half way
        self.hanging = set()  # names whose second half is long in coming
        self.hangs, self.go_on = threading.Event(), threading.Event()
        self.length_said = True
        self.headers = {}
        self.requests = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_port}/"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        self.server.requests.append(name)
        if name not in self.server.files:
            self.send_error(404)
            return
        body = self.server.files[name]
        self.send_response(200)
        if self.server.length_said:
            self.send_header("Content-Length", str(len(body)))
        for header, value in self.server.headers.items():
            self.send_header(header, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # who asked may have had enough
            self.wfile.write(body[: len(body) // 2])
            if name in self.server.hanging:
                self.server.hangs.set()
                self.server.go_on.wait(60)
            if name not in self.server.broken_off:
                self.wfile.write(body[len(body) // 2 :])

    def log_message(self, *args):
        pass


@pytest.fixture
def server(published, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(published) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def store(folder, files):
    for name, body in files.items():
        (folder / name).write_bytes(body)


def assert_is_the_published_data(loaded):
    np.testing.assert_allclose(loaded.X_train, PICTURES.reshape(3, 784) / 255, rtol=1e-7)
    np.testing.assert_allclose(loaded.X_test, (PICTURES[:2] // 2).reshape(2, 784) / 255, rtol=1e-7)
    assert loaded.y_train.tolist() == [9, 0, 4]
    assert loaded.y_test.tolist() == [1, 5]


# --- laws


@given(array=idx_arrays, compressed=st.booleans())
def test_what_was_written_in_idx_is_read_back_in_every_dtype_and_shape(
    tmp_path_factory, array, compressed
):
    path = tmp_path_factory.mktemp("idx") / "file"
    path.write_bytes(gzip.compress(idx_bytes(array)) if compressed else idx_bytes(array))
    found = data.read_idx(path)
    assert found.dtype == array.dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found, array, strict=True)


@settings(deadline=None, max_examples=25)  # each example unpacks scikit-learn's file
@given(test_size=st.floats(0.05, 0.95), seed=st.integers(0, 2**32 - 1))
def test_every_digit_is_either_learned_from_or_held_out_and_each_class_keeps_its_share(
    test_size, seed
):
    digits, source = (
        data.load_digits(test_size=test_size, seed=seed),
        sklearn.datasets.load_digits(),
    )
    X = np.concatenate([digits.X_train, digits.X_test]) * 16
    y = np.concatenate([digits.y_train, digits.y_test])
    found = np.column_stack([X, y])
    expected = np.column_stack([source.data, source.target])
    np.testing.assert_array_equal(found[np.lexsort(found.T)], expected[np.lexsort(expected.T)])
    assert len(digits.y_test) == math.ceil(test_size * 1797)
    counts = np.bincount(digits.y_test, minlength=10)
    np.testing.assert_allclose(counts, test_size * np.bincount(source.target), atol=2)


# --- references


def test_an_idx_file_spelled_out_by_hand():
    # Two zero bytes; 0B: int16; 02: two axes, of lengths 2 and 1; then 258 = 0x0102 and -2.
    spelled = bytes.fromhex("0000 0B02 0000 0002 0000 0001 0102 FFFE")
    assert idx_bytes(np.array([[258], [-2]], dtype=np.int16)) == spelled


def test_digits_are_the_1797_of_scikit_learn_in_float64_from_0_to_1():
    digits = data.load_digits()
    assert digits.X_train.shape == (1347, 64)
    assert digits.X_test.shape == (450, 64)
    assert digits.X_train.dtype == digits.X_test.dtype == np.float64
    assert digits.y_train.dtype == digits.y_test.dtype == np.int64
    assert (digits.X_train.min(), digits.X_train.max()) == (0, 1)
    assert digits.image_shape == (8, 8)
    assert digits.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


def test_by_default_a_quarter_is_held_out_as_scikit_learn_does_with_the_seed_0():
    source = sklearn.datasets.load_digits()
    _, X, _, y = sklearn.model_selection.train_test_split(
        source.data, source.target, test_size=0.25, random_state=0, stratify=source.target
    )
    digits = data.load_digits()
    np.testing.assert_array_equal(digits.X_test * 16, X)
    np.testing.assert_array_equal(digits.y_test, y)


def test_the_same_seed_holds_out_the_same_pictures_and_another_seed_others():
    first, again, other = (data.load_digits(seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.X_test, again.X_test)
    assert not np.array_equal(first.y_test, other.y_test)


def test_the_checksums_and_names_are_those_that_the_authors_publish():
    # From the table of the README of github.com/zalandoresearch/fashion-mnist.
    assert data._FASHION_MNIST == {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    }
    assert "github.com/zalandoresearch/fashion-mnist/" in data.FASHION_MNIST_URL


def test_fashion_mnist_is_read_from_a_folder_named_by_argument(tmp_path, published):
    store(tmp_path, published)
    clothes = data.load_fashion_mnist(tmp_path, base_url="http://127.0.0.1:9/")
    assert_is_the_published_data(clothes)
    assert clothes.X_train.dtype == np.float32
    assert clothes.y_train.dtype == np.int64
    assert clothes.image_shape == (28, 28)
    assert clothes.class_names[9] == "Ankle boot"
    assert len(clothes.class_names) == 10


def test_fashion_mnist_is_read_from_the_folder_of_the_environment_variable(
    tmp_path, published, monkeypatch
):
    store(tmp_path, published)
    monkeypatch.setenv("SOFTMAX_NOTES_DATA", str(tmp_path))
    assert_is_the_published_data(data.load("fashion-mnist", download_if_missing=False))


def test_fashion_mnist_is_downloaded_once_and_then_read_from_its_folder(tmp_path, server):
    folder = tmp_path / "new"
    assert_is_the_published_data(data.load_fashion_mnist(folder, base_url=server.url))
    assert server.requests == list(CONTENT)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == server.files
    assert_is_the_published_data(data.load_fashion_mnist(folder, base_url=server.url))
    assert len(server.requests) == 4


def test_the_words_of_moby_dick_are_counted_and_in_order():
    words, counts = data.load_word_counts()
    assert len(words) == len(counts) == len(set(words)) == 17_079
    assert counts.dtype == np.int64
    rows = [(-count, word) for word, count in zip(words, counts.tolist(), strict=True)]
    assert rows == sorted(rows)
    assert counts.min() == 1
    assert counts.sum() == 212_053
    # What grep and wc count in the text; for "pequod" less its "pequod's".
    found = dict(zip(words, counts.tolist(), strict=True))
    assert [found[word] for word in ("the", "don't", "pequod", "pequod's")] == [14151, 119, 124, 49]


# --- edges


def test_a_download_that_breaks_off_leaves_nothing_of_the_file_and_the_next_one_succeeds(
    tmp_path, server
):
    name = "t10k-images-idx3-ubyte.gz"
    server.broken_off.add(name)
    with pytest.raises(
        ConnectionError, match=f"{name} could not be downloaded.*SOFTMAX_NOTES_DATA"
    ):
        data.load_fashion_mnist(tmp_path, base_url=server.url)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(list(CONTENT)[:2])
    server.broken_off.clear()
    assert_is_the_published_data(data.load_fashion_mnist(tmp_path, base_url=server.url))
    assert server.requests.count("train-images-idx3-ubyte.gz") == 1


def test_a_download_with_another_checksum_is_refused_by_name_and_deleted(tmp_path, server):
    name = "train-images-idx3-ubyte.gz"
    server.files[name] = server.files[name][:-1] + b"?"
    with pytest.raises(ValueError, match=rf"{name}.*{data._FASHION_MNIST[name]}"):
        data.load_fashion_mnist(tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_the_file_is_a_connection_error_that_says_what_to_do(tmp_path, server):
    server.files.clear()
    with pytest.raises(
        ConnectionError, match=r"could not be downloaded: 404.*load_fashion_mnist\(folder"
    ):
        data.load_fashion_mnist(tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-5], lambda b: b + b"\0", lambda b: b[:20] + b"!" + b[21:], lambda b: b""],
    ids=["truncated", "longer", "changed", "empty"],
)
def test_a_stored_file_that_is_not_the_published_one_is_named_and_left_alone(
    tmp_path, published, spoil
):
    name = "t10k-labels-idx1-ubyte.gz"
    store(tmp_path, published)
    (tmp_path / name).write_bytes(spoil(published[name]))
    with pytest.raises(
        ValueError, match=rf"{name} is not the published file.*{data._FASHION_MNIST[name]}"
    ):
        data.load_fashion_mnist(tmp_path, base_url="http://127.0.0.1:9/")
    assert (tmp_path / name).read_bytes() == spoil(published[name])


def test_a_missing_file_is_named_when_nothing_may_be_downloaded(tmp_path, published):
    with pytest.raises(FileNotFoundError, match=r"train-images-idx3-ubyte.gz is missing"):
        data.load_fashion_mnist(tmp_path, download_if_missing=False)


@pytest.mark.parametrize("compressed", [False, True])
def test_every_shorter_beginning_of_a_file_is_refused_by_name(tmp_path, compressed):
    whole = idx_bytes(np.arange(6, dtype=np.int32).reshape(2, 3))
    whole = gzip.compress(whole) if compressed else whole
    path = tmp_path / "cut.idx"
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match=r"cut\.idx is (truncated|damaged|no IDX file)"):
            data.read_idx(path)


@pytest.mark.parametrize("compressed", [False, True])
def test_a_file_that_holds_more_than_its_header_says_is_refused(tmp_path, compressed):
    path = tmp_path / "long.idx"
    body = idx_bytes(np.zeros((2, 3), dtype=np.int16)) + b"\0"
    path.write_bytes(gzip.compress(body) if compressed else body)
    with pytest.raises(
        ValueError,
        match=r"long\.idx (has trailing data|.*)promises 12 bytes, int16 of shape \(2, 3\)",
    ):
        data.read_idx(path)


def test_rubbish_behind_a_gzip_file_is_refused(tmp_path):
    path = tmp_path / "rubbish.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(3, dtype=np.uint8))) + b"rubbish")
    with pytest.raises(ValueError, match=r"rubbish\.gz is damaged or truncated"):
        data.read_idx(path)


def test_damage_to_the_compressed_content_is_found(tmp_path):
    path = tmp_path / "block.gz"
    body = bytearray(gzip.compress(idx_bytes(np.zeros(3, dtype=np.uint8)), mtime=0))
    body[10] |= 0b110  # behind the ten bytes of the header: a block type that does not exist
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"block\.gz is damaged.*invalid block type"):
        data.read_idx(path)


def test_a_wrong_checksum_inside_a_gzip_file_is_found(tmp_path):
    path = tmp_path / "crc.gz"
    body = bytearray(gzip.compress(idx_bytes(np.zeros(3, dtype=np.uint8))))
    body[-6] ^= 1  # in the CRC-32 of the content
    path.write_bytes(body)
    with pytest.raises(ValueError, match=r"crc\.gz is damaged.*CRC"):
        data.read_idx(path)


@pytest.mark.parametrize(
    "start", ["00000803", "00010801 00000000", "00000A01 00000000", "00000841", "89504E47"]
)
def test_a_wrong_magic_number_is_named_with_what_is_expected(tmp_path, start):
    path = tmp_path / "magic.idx"
    path.write_bytes(bytes.fromhex(start))
    expected = (
        r"must name the lengths of 3 axes" if start == "00000803" else r"00 00, a dtype code \(0x08"
    )
    with pytest.raises(ValueError, match=rf"magic\.idx is .*{expected}"):
        data.read_idx(path)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("shape", [(2**32 - 1,), (2**32 - 1,) * 3, (2**32 - 1, 2**32 - 1, 0)])
def test_a_header_that_promises_more_than_can_be_there_takes_no_memory(tmp_path, shape, compressed):
    path = tmp_path / "promise.idx"
    body = struct.pack(f">BBBB{len(shape)}I", 0, 0, 0x0E, len(shape), *shape)
    path.write_bytes(gzip.compress(body) if compressed else body)
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"promise\.idx is truncated or no IDX file: its header"):
        data.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**20


def test_a_file_that_would_grow_far_past_its_header_is_not_unpacked(tmp_path):
    path = tmp_path / "bomb.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.zeros(3, dtype=np.uint8)) + bytes(2**26)))
    tracemalloc.start()
    with pytest.raises(ValueError, match=r"bomb\.gz has trailing data"):
        data.read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**21  # the file unpacks to 64 MiB


@pytest.mark.parametrize("compressed", [False, True])
def test_a_flipped_bit_is_refused_by_name_or_changes_what_no_checksum_covers(tmp_path, compressed):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    whole = gzip.compress(idx_bytes(array), mtime=0) if compressed else idx_bytes(array)
    path = tmp_path / "flipped.idx"
    refused = 0
    for bit in range(8 * len(whole)):
        body = bytearray(whole)
        body[bit // 8] ^= 1 << bit % 8
        path.write_bytes(body)
        found, message = None, ""
        try:
            found = data.read_idx(path)
        except ValueError as error:
            message = str(error)
        if found is None:
            assert "flipped.idx " in message
            refused += 1
        elif compressed:  # the time, the system and the like of the header
            np.testing.assert_array_equal(found, array, strict=True)
        else:  # the entries, or lengths and dtypes that make as many bytes
            assert found.nbytes == array.nbytes
    assert refused > 8 * len(whole) / 4


def test_what_is_there_but_no_file_is_refused_and_not_waited_for(tmp_path, published):
    for make in (os.mkdir, *([os.mkfifo] if hasattr(os, "mkfifo") else [])):
        path = tmp_path / make.__name__ / "train-images-idx3-ubyte.gz"
        path.parent.mkdir()
        make(path)
        with pytest.raises(OSError, match=r"train-images-idx3-ubyte\.gz is no regular file"):
            data.read_idx(path)
        with pytest.raises(OSError, match=r"train-images-idx3-ubyte\.gz is no regular file"):
            data.load_fashion_mnist(path.parent, base_url="http://127.0.0.1:9/")


def test_a_link_to_nowhere_is_replaced_by_the_file_and_nothing_is_written_behind_it(
    tmp_path, server
):
    folder, outside = tmp_path / "folder", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    link = folder / "train-images-idx3-ubyte.gz"
    link.symlink_to(outside / "target")
    assert_is_the_published_data(data.load_fashion_mnist(folder, base_url=server.url))
    assert list(outside.iterdir()) == []
    assert not link.is_symlink()


def test_no_name_that_a_server_sends_leads_out_of_the_folder(tmp_path, server):
    folder = tmp_path / "folder"
    server.headers = {"Content-Disposition": 'attachment; filename="../../escaped"'}
    assert_is_the_published_data(
        data.load_fashion_mnist(folder, base_url=server.url + "a/../../b/../")
    )
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert sorted(path.name for path in folder.iterdir()) == sorted(CONTENT)


@pytest.mark.parametrize("size", ["said", "not said"])
def test_a_download_that_does_not_end_is_broken_off(tmp_path, server, monkeypatch, size):
    monkeypatch.setattr(data, "_LARGEST", 2**17)
    name = "train-images-idx3-ubyte.gz"
    server.files[name] = bytes(2**24)
    server.length_said = size == "said"
    with pytest.raises(ValueError, match=rf"{name} is not the published file: it is larger"):
        data.load_fashion_mnist(tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


def test_a_download_as_large_as_the_largest_file_is_whole(tmp_path, server, monkeypatch):
    monkeypatch.setattr(data, "_LARGEST", max(map(len, server.files.values())))
    assert_is_the_published_data(data.load_fashion_mnist(tmp_path, base_url=server.url))


def test_a_stream_that_unpacks_to_far_more_is_broken_off(tmp_path, server, monkeypatch):
    monkeypatch.setattr(data, "_LARGEST", 2**17)
    name = "train-images-idx3-ubyte.gz"
    server.files[name] = gzip.compress(bytes(2**24))  # 16 MiB in 16 KiB
    server.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(ValueError, match=rf"{name} is not the published file: it is larger"):
        data.load_fashion_mnist(tmp_path, base_url=server.url)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", ["file:///etc/", "ftp://127.0.0.1:9/", "http://", "nowhere"])
def test_an_address_that_is_not_of_the_web_is_a_connection_error(tmp_path, published, url):
    with pytest.raises(ConnectionError, match=r"could not be downloaded: .*load_fashion_mnist\("):
        data.load_fashion_mnist(tmp_path, base_url=url)
    assert list(tmp_path.iterdir()) == []


def test_after_a_download_whose_process_was_killed_the_next_one_succeeds(tmp_path, server):
    server.hanging.add("train-images-idx3-ubyte.gz")
    code = (
        "import sys; from softmax_notes import data\n"
        f"data._FASHION_MNIST = {data._FASHION_MNIST!r}\n"
        "data.load_fashion_mnist(sys.argv[1], base_url=sys.argv[2])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(tmp_path), server.url])
    assert server.hangs.wait(60)
    child.kill()
    child.wait()
    server.hanging.clear()
    server.go_on.set()
    left = {path.name for path in tmp_path.iterdir()}
    assert not left & set(CONTENT)  # no half file under a name that is read
    assert_is_the_published_data(data.load_fashion_mnist(tmp_path, base_url=server.url))
    assert {path.name for path in tmp_path.iterdir()} - left == set(CONTENT)


@pytest.mark.parametrize("options", [{"folder": 1}, {"base_url": None}])
def test_what_is_no_path_or_address_is_named(published, options):
    with pytest.raises(TypeError, match=next(iter(options))):
        data.load_fashion_mnist(**options)


@pytest.mark.parametrize(
    ("name", "missing"), [("digits", "sklearn.datasets"), ("fashion-mnist", "pooch")]
)
def test_without_the_libraries_of_the_extra_the_error_names_it(monkeypatch, name, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(ImportError, match=r"pip install 'softmax-notes\[data\]'"):
        data.load(name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no data set 'mnist'; choose from \['digits', 'fashion-mnist'\]"
    ):
        data.load("mnist")
    assert data.load("digits", test_size=0.5).X_test.shape == (899, 64)


@pytest.mark.parametrize("test_size", [0, 1, -0.5, 10, float("nan")])
def test_a_share_that_is_not_between_0_and_1_is_refused(test_size):
    with pytest.raises(ValueError, match="test_size must be between 0 and 1"):
        data.load_digits(test_size=test_size)


# --- proofs


def test_gzip_shrinks_nothing_below_one_part_in_1032():
    # A deflate code gives at most 258 bytes and takes at least two bits, one for the length
    # and one for the distance: 258 bytes in a quarter of a byte.
    assert data._DEFLATE_LIMIT == 258 * 8 / 2
    packed = zlib.compress(bytes(10**7), level=9)
    assert 1000 < 10**7 / len(packed) < data._DEFLATE_LIMIT
