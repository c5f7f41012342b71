"""Steps of optimizers in kn1: every operation rounded to the arrays' type, and so was each factor, once.

Kernels change their arguments; here new arrays are made, which is what the kernels' results are compared with.
"""

import numpy as np

from kn1.arithmetic import FMA, laid_out, lane_sum, numbers, one_nan


def fma(a, b, c):
    return FMA[c.dtype](*np.broadcast_arrays(np.asarray(a, c.dtype), np.asarray(b, c.dtype), c))


def power(x, n):
    y = 1.0
    for bit in bin(n)[:1:-1]:
        y, x = y * x if bit == "1" else y, x * x
    return y


def towards(x, weight, start):
    return fma(weight, x - start, start)


def _gradient(p, g, scale, decay, lr=None):
    """The parameter and the gradient with weight decay in one of them; given lr, in the parameter."""
    g = g * g.dtype.type(scale)
    if lr is not None:
        return p * p.dtype.type(1 - lr * decay), g
    return p, fma(decay, p, g) if decay else g


def _square(g, v, beta):
    return fma(g.dtype.type(1 - beta) * g, g, v.dtype.type(beta) * v)


def _root(v, beta2, step, eps):
    return fma(np.sqrt(v), 1 / np.sqrt(1 - power(beta2, step)), np.full_like(v, eps))


def sgd(p, g, b, lr, momentum, dampening, weight_decay, is_nesterov, is_first, scale):
    p, g = _gradient(p, g, scale, weight_decay)
    if b is None:
        return fma(-lr, g, p), None
    b = g if is_first else fma(1 - dampening, g, b.dtype.type(momentum) * b)
    return fma(-lr, fma(momentum, b, g) if is_nesterov else b, p), b


def adam(p, g, m, v, most, step, lr, beta1, beta2, eps, weight_decay, is_decoupled, scale):
    p, g = _gradient(p, g, scale, weight_decay, lr if is_decoupled else None)
    m, v = towards(g, 1 - beta1, m), _square(g, v, beta2)
    most = None if most is None else np.maximum(v, most)
    root = _root(v if most is None else most, beta2, step, eps)
    return fma(-lr / (1 - power(beta1, step)), m / root, p), m, v, most


def nadam(p, g, m, v, step, lr, beta1, beta2, eps, weight_decay, is_decoupled, mu, mu_next, mu_product, scale):
    p, g = _gradient(p, g, scale, weight_decay, lr if is_decoupled else None)
    m, v = towards(g, 1 - beta1, m), _square(g, v, beta2)
    root = _root(v, beta2, step, eps)
    p = fma(-(lr * (1 - mu) / (1 - mu_product)), g / root, p)
    return fma(-(lr * mu_next / (1 - mu_product * mu_next)), m / root, p), m, v


def rmsprop(p, g, v, a, b, lr, alpha, eps, weight_decay, momentum, scale):
    p, g = _gradient(p, g, scale, weight_decay)
    v = _square(g, v, alpha)
    a = None if a is None else towards(g, 1 - alpha, a)
    u = g / (np.sqrt(v if a is None else fma(-a, a, v)) + g.dtype.type(eps))
    b = None if b is None else fma(momentum, b, u)
    return fma(-lr, u if b is None else b, p), v, a, b


def adagrad(p, g, s, step, lr, lr_decay, eps, weight_decay, scale):
    p, g = _gradient(p, g, scale, weight_decay)
    s = fma(g, g, s)
    return fma(-(lr / (1 + (step - 1) * lr_decay)), g / (np.sqrt(s) + g.dtype.type(eps)), p), s


def lion(p, g, m, lr, beta1, beta2, weight_decay, scale):
    p, g = _gradient(p, g, scale, weight_decay, lr)
    return fma(-lr, np.sign(towards(g, 1 - beta1, m)), p), towards(g, 1 - beta2, m)


def ema(a, p, decay):
    return (towards(p, 1 - decay, a),)


def _update(rule, lists):
    """A rule for one parameter as a kernel for all of them; `lists` arguments hold arrays of each, or are None."""

    def kernel(*args):
        arrays, rest = args[:lists], args[lists:]
        with np.errstate(all="ignore"):
            each = [rule(*(None if a is None else a[k] for a in arrays), *rest) for k in range(len(args[0]))]
        return [one_nan(y) for results in zip(*each, strict=True) for y in results if y is not None]

    return kernel


def global_norm(grads):
    total = 0.0
    with np.errstate(all="ignore"):
        for g in grads:
            total += lane_sum(np.square(g, dtype=np.float64), None, False)
        return np.sqrt(one_nan(np.asarray(total)))


RULES = {"sgd": (sgd, 3), "adam": (adam, 5), "nadam": (nadam, 4), "rmsprop": (rmsprop, 5), "adagrad": (adagrad, 3),
         "lion": (lion, 3), "ema": (ema, 2)}  # fmt: skip
KERNELS = {**{f"{name}_update": _update(*rule) for name, rule in RULES.items()}, "global_norm": global_norm}


# ------------------------------------------------------------------ calls
def call_of(rng, name, draw, shapes):
    """A call of the kernel `name`, its arrays from draw(shape), all else chosen at random."""
    if name == "global_norm":
        return ([draw(shape) for shape in shapes],)
    several = lambda: [draw(shape) for shape in shapes]  # noqa: E731
    roots = lambda: [np.asarray(1 + np.abs(draw(shape))) for shape in shapes]  # noqa: E731
    perhaps = lambda made: made() if rng.integers(2) else None  # noqa: E731
    params, grads = several(), several()
    lr, scale, step = float(rng.choice([0.1, 1e-3])), float(rng.choice([1.0, 0.37])), int(rng.integers(1, 2000))
    decay, eps = float(rng.choice([0.0, 0.01])), float(rng.choice([1e-8, 1e-3]))
    yes, betas = lambda: bool(rng.integers(2)), (0.9, 0.999)
    match name:
        case "sgd_update":
            return params, grads, perhaps(several), lr, 0.9, float(rng.choice([0.0, 0.1])), decay, yes(), yes(), scale
        case "adam_update":
            return params, grads, several(), roots(), perhaps(roots), step, lr, *betas, eps, decay, yes(), scale
        case "nadam_update":
            return params, grads, several(), roots(), step, lr, *betas, eps, decay, yes(), 0.45, 0.46, 0.1, scale
        case "rmsprop_update":
            averages, momenta = perhaps(several), perhaps(several)
            return params, grads, roots(), averages, momenta, lr, 0.99, eps, decay, 0.9, scale
        case "adagrad_update":
            return params, grads, roots(), step, lr, float(rng.choice([0.0, 1e-3])), eps, decay, scale
        case "lion_update":
            return params, grads, several(), lr, *betas, decay, scale
    return params, grads, 0.999


def case(rng, dtype, most):
    name = str(rng.choice(list(KERNELS)))
    shapes = [tuple(rng.integers(0, most, rng.integers(0, 4))) for _ in range(rng.integers(0, 4))]
    return name, call_of(rng, name, lambda shape: laid_out(rng, np.asarray(numbers(rng, shape, dtype))), shapes), {}


def digest_calls():
    """Several parameters of every size, in blocks that threads share; all kinds of every rule."""
    rng = np.random.default_rng(19)
    for dtype in (np.float32, np.float64):
        for name in KERNELS:
            for i in range(6):
                draw = lambda shape: np.asarray(rng.standard_normal(shape), dtype)  # noqa: B023, E731
                args = call_of(rng, name, draw, [(3,), (50, 300), (), (40_001,), (0, 3), (16, 8, 3, 3)])
                yield f"{i} {np.dtype(dtype).name}", name, args, {}
