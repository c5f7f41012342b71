"""Profile kn1 in plain Python and NumPy, family by family: slow, exact, and written from its rules alone.

Each module has `KERNELS`, the kernels by name; `case(rng, dtype, most)`, a random call as (name, arguments, keywords);
and `digest_calls()`, (label, name, arguments, keywords) of fixed calls large enough for every path of the native code.
"""
