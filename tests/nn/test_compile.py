"""Compilers: few recompilations, a real code generator, export, autocast, function transforms."""

import copy

import pytest
import torch
from torch._dynamo.testing import CompileCounter

from nonlocalnet.nn.block import EXTENTS, NonLocalBlock
from nonlocalnet.ops.pairwise import KINDS


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def awake(**options):
    torch.manual_seed(0)
    block = NonLocalBlock(8, **options)
    if block.norm is not None:
        torch.nn.init.ones_(block.norm.weight)
    else:
        torch.nn.init.normal_(block.w_z.weight)
    return block


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact", "auto"])
def test_three_sizes_compile_twice_at_most(kind, engine):
    torch._dynamo.reset()
    counter = CompileCounter()
    block = torch.compile(awake(kind=kind, engine=engine).eval(), backend=counter, fullgraph=True)
    for size in ((2, 6, 6), (3, 8, 10), (5, 9, 7)):
        block(noise(2, 8, *size))
    assert counter.frame_count <= 2


@pytest.mark.parametrize("extent", EXTENTS)
def test_three_sizes_of_an_extent_compile_twice_at_most(extent):
    torch._dynamo.reset()
    counter = CompileCounter()
    block = torch.compile(awake(extent=extent).eval(), backend=counter, fullgraph=True)
    for size in ((2, 6, 6), (3, 8, 10), (5, 9, 7)):
        block(noise(2, 8, *size))
    assert counter.frame_count <= 2


@pytest.mark.parametrize(
    "options",
    [
        {"kind": "embedded_gaussian", "engine": "exact"},
        {"kind": "concatenation", "engine": "exact", "norm": None},
        {"kind": "gaussian", "engine": "exact", "subsample_input": True},
    ],
    ids=lambda options: options["kind"],
)
@pytest.mark.filterwarnings("ignore")  # the code generator's own warnings are not ours
def test_the_code_generator_agrees(options):
    torch._dynamo.reset()
    block = awake(**options)
    x = noise(1, 8, 3, 6, 6).requires_grad_()
    compiled = torch.compile(copy.deepcopy(block), fullgraph=True)
    got, want = compiled(x), block(x)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)
    grads = [torch.autograd.grad(y.square().sum(), x)[0] for y in (got, want)]
    torch.testing.assert_close(*grads, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
def test_exports_with_a_free_size(kind, engine):
    block = awake(kind=kind, engine=engine).eval()
    frames = torch.export.Dim("frames", min=2, max=64)
    exported = torch.export.export(
        block, (noise(1, 8, 4, 6, 6),), dynamic_shapes={"x": {2: frames}}
    )
    x = noise(1, 8, 7, 6, 6)
    torch.testing.assert_close(exported.module()(x), block(x))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["dense", "exact"])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_trains_to_finite_gradients(kind, engine, dtype):
    block = awake(kind=kind, engine=engine)
    x = noise(2, 8, 3, 6, 6).requires_grad_()
    with torch.autocast("cpu", dtype=dtype):
        y = block(x)
    assert (y - block(x)).abs().mean() < 0.03
    y.float().square().mean().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in block.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_a_bfloat16_block_bears_large_activations(kind):
    block = awake(kind=kind, engine="exact", norm=None).bfloat16()
    x = (1e4 * noise(2, 8, 3, 6, 6)).bfloat16().requires_grad_()
    y = block(x)
    y.float().mean().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")  # torch's attention
def test_per_clip_gradients(kind):
    """torch.func over the whole block: the gradient of each clip's loss, all at once."""
    block = awake(kind=kind, engine="exact", norm=None)
    parameters = {name: value.detach() for name, value in block.named_parameters()}

    def loss(parameters, clip):
        return torch.func.functional_call(block, parameters, (clip[None],)).square().sum()

    clips = noise(3, 8, 2, 4, 4)
    every = torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, clips)
    for index, clip in enumerate(clips):
        alone = torch.func.grad(loss)(parameters, clip)
        for name, value in alone.items():
            size = value.abs().max().item()
            torch.testing.assert_close(every[name][index], value, rtol=1e-4, atol=1e-5 * size)
