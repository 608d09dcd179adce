"""The engine that stores no N x M: equal to the dense one, in values, gradients and transforms."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from nonlocalnet.ops import exact as exact_module
from nonlocalnet.ops import operation as operation_module
from nonlocalnet.ops import softmax_rows
from nonlocalnet.ops.operation import exact_is_faster, nonlocal_op
from nonlocalnet.ops.pairwise import KINDS
from nonlocalnet.ops.sorted_relu import sorted_relu

SOFTMAX = ("gaussian", "embedded_gaussian", "gaussian_distance")
OURS = ("gaussian", "concatenation", "gaussian_distance")  # with operators of our own, at C != D


def inputs(kind, n=7, m=5, d=4, c=3, batch=2, dtype=torch.float64):
    rng = torch.Generator().manual_seed(0)
    shapes = [(batch, n, d), (batch, m, d), (batch, m, c)]
    shapes += [(2 * d,)] if kind == "concatenation" else []
    return [torch.randn(shape, generator=rng, dtype=dtype, requires_grad=True) for shape in shapes]


def operation(kind, engine, scale=0.7):
    scale = 1.0 if kind == "concatenation" else scale

    def apply(theta, phi, g, w_f=None):
        return nonlocal_op(theta, phi, g, kind=kind, scale=scale, w_f=w_f, engine=engine)

    return apply


def values_and_gradients(apply, tensors):
    y = apply(*tensors)
    rng = torch.Generator().manual_seed(1)
    grad = torch.randn(y.shape, generator=rng, dtype=torch.float64).to(y.dtype)
    return y, torch.autograd.grad(y, tensors, grad)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"c": 4},
        {"n": 1, "m": 1},
        {"n": 0, "c": 4},
        {"n": 0},
        {"n": 300, "m": 190, "d": 33, "c": 33, "batch": 1},
        {"n": 2100, "m": 7, "batch": 2},
    ],
    ids=str,
)
@pytest.mark.parametrize("tile", [2**21, 500])
def test_equals_dense_in_double(kind, sizes, tile, monkeypatch):
    monkeypatch.setattr(softmax_rows, "TILE", tile)
    tensors = inputs(kind, **sizes)
    got = values_and_gradients(operation(kind, "exact"), tensors)
    want = values_and_gradients(operation(kind, "dense"), tensors)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [32, 20])
def test_equals_dense_in_single(kind, c):
    tensors = inputs(kind, n=700, m=300, d=32, c=c, batch=1, dtype=torch.float32)
    scale = 32**-0.5
    got = values_and_gradients(operation(kind, "exact", scale), tensors)
    want = values_and_gradients(operation(kind, "dense", scale), tensors)
    torch.testing.assert_close(got[0], want[0], rtol=1e-5, atol=1e-5)
    for one, other in zip(got[1], want[1], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5 * other.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_the_derivatives(kind):
    assert torch.autograd.gradcheck(operation(kind, "exact"), inputs(kind, n=5, m=4, d=3, c=2))


@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_a_tie_of_the_concatenation_is_inactive(engine):
    """a_i + b_j = 0 exactly: no value, and no gradient, as ReLU'(0) = 0."""
    theta = torch.tensor([[[1.0], [2.0], [-3.0]]], dtype=torch.float64, requires_grad=True)
    phi = torch.tensor([[[-1.0], [-2.0], [3.0], [3.0]]], dtype=torch.float64, requires_grad=True)
    g = torch.eye(4, dtype=torch.float64)[None].requires_grad_()
    w_f = torch.ones(2, dtype=torch.float64, requires_grad=True)
    y, grads = values_and_gradients(operation("concatenation", engine), [theta, phi, g, w_f])
    assert (4 * y).tolist() == [[[0, 0, 4, 4], [1, 0, 5, 5], [0, 0, 0, 0]]]
    rng = torch.Generator().manual_seed(1)
    grad_y = torch.randn(y.shape, generator=rng, dtype=torch.float64)[0] / 4
    active = torch.tensor([[0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 0, 0]], dtype=torch.float64)
    torch.testing.assert_close(grads[0][0, :, 0], (active * grad_y).sum(1))
    torch.testing.assert_close(grads[1][0, :, 0], (active * grad_y).sum(0))


@pytest.mark.parametrize("kind", ["gaussian", "gaussian_distance"])
def test_the_sharpest_rows_have_no_subnormal_weight(kind):
    """Of a raw gaussian most weights are nearly 0; products with subnormal ones took twice as long.

    Here they fall from 1 to exp(-240) and further; g shows each of them.
    """
    theta = torch.linspace(-80, 80, 81)[None, :, None]
    phi = torch.linspace(-3, 3, 61)[None, :, None]
    g = torch.eye(61)[None]
    weights = nonlocal_op(theta, phi, g, kind=kind, engine="exact")
    assert float(weights.min()) >= torch.finfo(torch.float32).tiny
    dense = nonlocal_op(theta, phi, g, kind=kind, engine="dense")
    assert float(dense[dense > 0].min()) < torch.finfo(torch.float32).tiny
    torch.testing.assert_close(weights, dense, atol=1e-25, rtol=1e-4)
    tensors = [part.double().requires_grad_() for part in (theta, phi, g)]
    found = []
    for engine in ("exact", "dense"):
        y = nonlocal_op(*tensors, kind=kind, engine=engine)
        found.append((y, *torch.autograd.grad(y.square().sum(), tensors)))
    for exact, dense in zip(*found, strict=True):
        torch.testing.assert_close(exact, dense, atol=1e-12, rtol=1e-12)


def test_the_sorted_sum_keeps_its_digits_at_large_offsets():
    """Only a + b matters: at offsets of 1e3 the two running sums must not cancel."""
    rng = torch.Generator().manual_seed(0)
    a, b = (torch.randn(1, size, generator=rng).mul(256).round().div(256) for size in (400, 300))
    g = torch.randn(1, 300, 8, generator=rng)
    near = sorted_relu(a, b, g)
    far = sorted_relu(a + 1024, b - 1024, g)
    torch.testing.assert_close(far, near, rtol=1e-6, atol=1e-5 * near.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("c", [4, 3])
# torch maps its own fused attention by a loop, and says so.
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_function_transforms_agree_with_dense(kind, c):
    tensors = [part.detach() for part in inputs(kind, c=c)]
    clips = torch.stack([tensors[0], tensors[0] + 1, 2 * tensors[0]], dim=1)
    rest = tuple(tensors[1:])

    def results(engine):
        apply = operation(kind, engine)

        def loss(*parts):
            return apply(*parts).square().sum()

        every = tuple(range(len(tensors)))
        mapped = torch.func.vmap(torch.func.grad(loss, every), (1, *(None for _ in rest)))
        y, pull = torch.func.vjp(apply, *tensors)
        return [
            torch.func.grad(loss, every)(*tensors),
            mapped(clips, *rest),
            pull(torch.ones_like(y)),
            torch.func.vmap(apply, (1, *(None for _ in rest)), 2)(clips, *rest),
            torch.func.jacrev(apply)(*tensors),
        ]

    torch.testing.assert_close(results("exact"), results("dense"))


@pytest.mark.parametrize("kind", OURS)
def test_our_operators_are_mapped_at_once(kind):
    """Torch would warn of a loop, and a warning fails a test here."""
    tensors = [part.detach() for part in inputs(kind, c=3)]

    def loss(*parts):
        return operation(kind, "exact")(*parts).square().sum()

    clips = torch.stack([tensors[0], 2 * tensors[0]])
    torch.func.vmap(torch.func.grad(loss), (0, *(None for _ in tensors[1:])))(clips, *tensors[1:])


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # torch's own, forward mode
@pytest.mark.parametrize("kind", KINDS)
def test_dense_has_forward_mode_and_second_derivatives(kind):
    tensors = inputs(kind, n=3, m=4, d=2, c=2)
    dense = operation(kind, "dense")
    assert torch.autograd.gradcheck(dense, tensors, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(dense, tensors)


@pytest.mark.parametrize("batch", [0, 1, 3, 8])
@pytest.mark.parametrize(("queries", "keys"), [(5, 3), (200, 7), (333, 40), (70, 900), (64, 8)])
def test_tiles_cover_every_row_once_and_fit_their_buffer(batch, queries, keys, monkeypatch):
    monkeypatch.setattr(softmax_rows, "TILE", 1000)
    seen, sizes = torch.zeros(batch, queries), [0]
    for clips, rows in softmax_rows.tiles(batch, queries, keys):
        part = seen[clips, rows].add_(1)
        sizes.append(part.numel() * keys)
        assert sizes[-1] <= 1000 or part.shape == (1, 1)
        assert len(part) == 1 or part.shape[1] == queries, "whole clips, or part of one"
        whole = 1000 // keys  # rows that would fit
        last = rows.stop >= queries
        assert last or part.shape[1] == whole - (whole % 64 if whole > 64 else 0) or whole == 0
    assert bool((seen == 1).all())
    theta, phi = torch.empty(batch, queries, 2), torch.empty(batch, keys, 2)
    assert softmax_rows._largest_tile(theta, phi) == max(sizes)


@pytest.mark.parametrize("kind", OURS)
def test_second_derivatives_of_exact_are_refused_in_words(kind):
    tensors = inputs(kind)
    first = torch.autograd.grad(
        operation(kind, "exact")(*tensors).sum(), tensors[0], create_graph=1
    )
    with pytest.raises(RuntimeError, match="engine='dense' for second ones"):
        first[0].sum().backward()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("c", [16, 8])
def test_large_activations_stay_finite_in_half_precision(kind, engine, dtype, c):
    """1e4 is large enough for theta . phi to leave float16, and for a sum to leave it as well."""
    tensors = inputs(kind, n=40, m=30, d=16, c=c, dtype=torch.float32)
    size = 1e4
    if dtype == torch.float16 and kind == "dot_product":
        size = 10.0  # 1e4 cubed is no float16: results that fit must come out, sums beside them
    elif dtype == torch.float16 and kind == "concatenation":
        size = 30.0
    tensors = [(part.detach() * size).to(dtype).requires_grad_() for part in tensors[:3]] + [
        part.detach().to(dtype).requires_grad_() for part in tensors[3:]
    ]
    y = operation(kind, engine)(*tensors)
    assert y.dtype == dtype
    assert y.isfinite().all()
    for grad in torch.autograd.grad(y.float().mean(), tensors):
        assert grad.dtype == dtype
        assert grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_half_precision_sums_in_single(kind, engine):
    """bfloat16 in, and the answer of float32 rounded once at the end."""
    tensors = [part.detach().bfloat16() for part in inputs(kind, n=60, m=50, d=8, c=8)]
    if kind == "concatenation":
        tensors[3] = tensors[3].float()  # a parameter, as autocast leaves it
    with torch.autocast("cpu", dtype=torch.bfloat16):
        y = operation(kind, engine)(*tensors)
    want = operation(kind, "dense")(*(part.float() for part in tensors))
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y.float(), want, rtol=1.6e-2, atol=1e-2)


@pytest.mark.parametrize("kind", SOFTMAX)
def test_mixed_types_of_autocast_are_accepted(kind):
    """The raw gaussian sees x in float32 and g in bfloat16."""
    theta, phi, g = (part.detach().float() for part in inputs(kind, c=4))
    for engine in ("dense", "exact"):
        y = operation(kind, engine)(theta, phi, g.bfloat16())
        assert y.dtype == torch.bfloat16


def test_fused_attention_never_falls_back_to_storing_the_weights():
    """Where no such kernel fits, the context refuses; `can_fuse` keeps us from asking."""
    theta, phi, g = inputs("embedded_gaussian")
    assert not exact_module.can_fuse(theta, phi, g)
    with (
        exact_module.sdpa_kernel(exact_module.FUSED),
        pytest.raises(RuntimeError, match="No available kernel"),
    ):
        exact_module.scaled_dot_product_attention(theta[:, None], phi[:, None], g[:, None])
    assert not exact_module.can_fuse(theta.mT.contiguous().mT, phi, phi)


@pytest.mark.parametrize(
    ("kind", "fused"),
    [("gaussian", True), ("embedded_gaussian", True), ("gaussian_distance", False)],
)
def test_equal_widths_take_fused_attention_where_there_is_no_bias(kind, fused, monkeypatch):
    called = []

    def spy(*arguments, **options):
        called.append(arguments)
        return torch.nn.functional.scaled_dot_product_attention(*arguments, **options)

    monkeypatch.setattr(exact_module, "scaled_dot_product_attention", spy)
    theta, phi, _ = inputs(kind)
    operation(kind, "exact")(theta, phi, phi)
    assert bool(called) is fused


@pytest.mark.parametrize(
    ("kind", "shape", "exact"),
    [
        ("dot_product", (1, 784, 196, 512, 512), False),
        ("dot_product", (1, 3136, 784, 512, 512), True),
        ("concatenation", (784, 4, 4, 256, 256), False),
        ("concatenation", (1, 784, 784, 256, 256), True),
        ("embedded_gaussian", (1, 784, 196, 512, 512), False),
        ("gaussian", (1, 12544, 3136, 512, 256), True),
        ("embedded_gaussian", (1, 1000, 1000, 4, 4), False),
        ("concatenation", (1, 100, 100, 4, 4), False),
        # As good as each other: the one that stores less.
        ("dot_product", (1, 8, 8, 8, 8), True),
        ("concatenation", (1, 300, 300, 4, 4), True),
        ("gaussian", (1, 2048, 2048, 4, 4), True),
    ],
)
def test_auto_follows_the_measured_crossover(kind, shape, exact):
    batch, n, m, d, c = shape
    theta, phi, g = (
        torch.empty(size, device="meta") for size in [(batch, n, d), (batch, m, d), (batch, m, c)]
    )
    assert exact_is_faster(theta, phi, g, kind) is exact


@pytest.mark.parametrize(("n", "exact"), [(64, True), (2, False)])
def test_auto_is_one_of_the_two(n, exact, monkeypatch):
    called = []
    engine = operation_module.exact
    monkeypatch.setattr(
        operation_module, "exact", lambda *a, **k: called.append(1) or engine(*a, **k)
    )
    part = torch.randn(1, n, 4, dtype=torch.float64)
    y = nonlocal_op(part, part, part, kind="dot_product")
    assert bool(called) is exact
    torch.testing.assert_close(y, part @ part.mT @ part / n)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_compiles_and_exports_whole(kind, engine):
    torch._dynamo.reset()
    tensors = inputs(kind)
    apply = operation(kind, engine)
    compiled = torch.compile(apply, fullgraph=True, backend="aot_eager")
    got = values_and_gradients(compiled, tensors)
    torch.testing.assert_close(got, values_and_gradients(apply, tensors))

    class Module(torch.nn.Module):
        def forward(self, *parts):
            return apply(*parts)

    plain = tuple(part.detach() for part in tensors)
    exported = torch.export.export(Module(), plain)
    torch.testing.assert_close(exported.module()(*plain), apply(*plain))


@pytest.mark.parametrize(("name", "arguments"), [("softmax_rows", 5), ("sorted_relu", 3)])
def test_operators_keep_their_promises(name, arguments):
    """Schema, fake tensors and autograd registration, as torch checks them."""
    kind = "concatenation" if name == "sorted_relu" else "gaussian"
    theta, phi, g = (part.detach() for part in inputs(kind)[:3])
    if name == "sorted_relu":
        passed = (theta[..., 0], phi[..., 0], g)
    else:
        passed = (theta, phi, g, phi[..., 0], 0.5)
    assert len(passed) == arguments
    operator = getattr(torch.ops.nonlocalnet, name).default
    torch.library.opcheck(operator, passed, test_utils=("test_schema", "test_faketensor"))


@pytest.mark.parametrize(
    ("width", "dtype", "fits"),
    [
        (8, torch.float32, True),
        (256, torch.bfloat16, True),
        (12, torch.float32, False),
        (8, torch.float64, False),
    ],
)
def test_the_fused_kernels_of_cuda_take_whole_lines_and_no_doubles(width, dtype, fits):
    """The choice alone, on tensors without data: it needs no such device."""
    with FakeTensorMode():
        part = torch.empty(1, 4, width, dtype=dtype, device="cuda")
    assert exact_module.can_fuse(part, part, part) == fits
