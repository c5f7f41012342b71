"""The Python Array API standard, name by name: what `kinone.ops.array_api` covers, and why the rest is missing."""

STANDARD = {
    "Constants": "e inf nan newaxis pi",
    "Creation": "arange asarray empty empty_like eye from_dlpack full full_like linspace meshgrid ones ones_like tril "
    "triu zeros zeros_like",
    "Data types": "bool int8 int16 int32 int64 uint8 uint16 uint32 uint64 float32 float64 complex64 complex128",
    "Functions of data types": "astype can_cast finfo iinfo isdtype result_type",
    "Elementwise": "abs acos acosh add asin asinh atan atan2 atanh bitwise_and bitwise_invert bitwise_left_shift "
    "bitwise_or bitwise_right_shift bitwise_xor ceil clip conj copysign cos cosh divide equal exp expm1 floor "
    "floor_divide greater greater_equal hypot imag isfinite isinf isnan less less_equal log log10 log1p log2 logaddexp "
    "logical_and logical_not logical_or logical_xor maximum minimum multiply negative nextafter not_equal positive pow "
    "real reciprocal remainder round sign signbit sin sinh sqrt square subtract tan tanh trunc",
    "Indexing": "take take_along_axis",
    "Linear algebra": "matmul matrix_transpose tensordot vecdot",
    "Manipulation": "broadcast_arrays broadcast_to concat expand_dims flip moveaxis permute_dims repeat reshape roll "
    "squeeze stack tile unstack",
    "Searching": "argmax argmin count_nonzero nonzero searchsorted where",
    "Sets": "unique_all unique_counts unique_inverse unique_values",
    "Sorting": "argsort sort",
    "Statistics": "cumulative_prod cumulative_sum max mean min prod std sum var",
    "Utilities": "all any diff",
    "Inspection": "__array_api_version__ __array_namespace_info__",
    "linalg": "linalg.cholesky linalg.cross linalg.det linalg.diagonal linalg.eigh linalg.eigvalsh linalg.inv "
    "linalg.matmul linalg.matrix_norm linalg.matrix_power linalg.matrix_rank linalg.matrix_transpose linalg.outer "
    "linalg.pinv linalg.qr linalg.slogdet linalg.solve linalg.svd linalg.svdvals linalg.tensordot linalg.trace "
    "linalg.vecdot linalg.vector_norm",
    "fft": "fft",
}
"""Section → the names in it, of the edition 2024.12; linalg and fft are the standard's optional extensions."""

_COMPLEX = "Kinone has no complex numbers"
_NO_OPERATOR = "no operator of Kinone computes it yet"
SKIPPED = {
    "complex64": _COMPLEX,
    "complex128": _COMPLEX,
    "conj": _COMPLEX,
    "imag": _COMPLEX,
    "real": _COMPLEX,
    "fft": _COMPLEX,
    "nextafter": "it steps through the bits of a number, which no operator does",
    **dict.fromkeys(("unique_all", "unique_counts", "unique_inverse"), _NO_OPERATOR),
    **dict.fromkeys(
        (f"linalg.{name}" for name in (
            "cross", "eigh", "eigvalsh", "matrix_norm", "matrix_power", "matrix_rank", "pinv", "qr", "svd", "svdvals",
        )),
        _NO_OPERATOR,
    ),
}  # fmt: skip
"""Name → why it is missing."""

NOTES = {
    "float32 and float64": "do not mix: the standard gives float64, Kinone refuses (DtypeError)",
    "x[i] = v": "is refused while a graph records x; `where` makes a new array",
    "copy=": "has no visible effect except in `asarray`, since nothing writes into an array",
    "device=": 'is None or "cpu"',
    "empty, empty_like": "give zeros: memory left as it was found would never replay",
    "linalg.vector_norm": "takes ord ≥ 1 and ±inf",
    "__array_namespace_info__": "names no default complex dtype",
}
"""Where what is covered differs from the standard."""

COVERED = [name for names in STANDARD.values() for name in names.split() if name not in SKIPPED]


def page() -> str:
    """docs/array-api.md, which a test holds against this text.

    >>> page().splitlines()[0]
    '# The Array API standard'
    """
    lines = [
        "# The Array API standard",
        "",
        "`x.__array_namespace__()` gives a namespace under the names and signatures of the Python Array API standard,",
        f"edition 2024.12. It covers {len(COVERED)} of its {len(COVERED) + len(SKIPPED)} names, and gradients flow",
        "through it. Code written for the standard runs on Tensors:",
        "",
        "```python",
        ">>> import kinone as kn",
        ">>> def standardize(x):",
        "...     xp = x.__array_namespace__()",
        "...     return (x - xp.mean(x)) / xp.std(x)",
        ">>> standardize(kn.Tensor([2.0, 2.0, 6.0, 6.0], requires_grad=True))",
        "Tensor([-1., -1.,  1.,  1.], dtype=float32, from=divide)",
        "```",
        "",
        "This page is made from `kinone/ops/standard.py`; each covered name is tested against NumPy.",
        "",
        "## Covered",
        "",
        "| part | names |",
        "|---|---|",
    ]
    for section, names in STANDARD.items():
        kept = [f"`{name}`" for name in names.split() if name in COVERED]
        if kept:
            lines.append(f"| {section} | {' '.join(kept)} |")
    lines += ["", "## Where it differs", "", "| what | how |", "|---|---|"]
    lines += [f"| {what} | {how} |" for what, how in NOTES.items()]
    lines += ["", "## Skipped", "", "| name | why |", "|---|---|"]
    lines += [f"| `{name}` | {why} |" for name, why in SKIPPED.items()]
    return "\n".join([*lines, ""])
