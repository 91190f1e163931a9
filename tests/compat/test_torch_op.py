"""The operator of PyTorch: eager, compiled, and on tensors that have a shape only."""

from __future__ import annotations

import pytest
import torch

from idsim import reference
from idsim.compat.torch_op import topk
from support import torch_threads
from support.compare import assert_same
from support.data import grid_rows

one_thread = torch_threads.one_thread

# Traces and makes the graph that a code generator would get, without compiling C++ for a minute.
BACKEND = "aot_eager"


@pytest.fixture
def rows(rng):
    return [torch.from_numpy(part) for part in grid_rows(rng, 6, 90, 20)]


def definition(queries, gallery, k, **options):
    return reference.search(queries.double().numpy(), gallery.double().numpy(), k, **options)


def as_arrays(result):
    assert [part.dtype for part in result] == [torch.float32, torch.int64]
    assert [str(part.device) for part in result] == ["cpu", "cpu"]
    return tuple(part.numpy() for part in result)


@pytest.mark.parametrize("metric", ["cosine", "dot", "l2"])
@pytest.mark.parametrize("exclude_self", [False, True])
def test_it_is_search(exclude_self, metric, rows):
    for k in (0, 1, 5, 100):
        wanted = definition(*rows, k, metric=metric, exclude="self" if exclude_self else None)
        assert_same(as_arrays(topk(*rows, k, metric=metric, exclude_self=exclude_self)), wanted, f"k={k}")
    assert_same(as_arrays(torch.ops.idsim.topk(*rows, 3)), definition(*rows, 3))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_dtypes(dtype, rows):
    queries, gallery = (part.to(dtype) for part in rows)
    assert_same(as_arrays(topk(queries, gallery, 4)), definition(queries, gallery, 4))


def test_compiled_is_eager(rows):
    def head(queries, gallery):
        scores, ids = topk(queries * 2, gallery, 4, metric="dot")
        return scores + 1, ids, gallery[ids[:, 0]]

    compiled = torch.compile(head, backend=BACKEND, fullgraph=True)
    eager = head(*rows)
    assert_same(tuple(part.numpy() for part in compiled(*rows)), tuple(part.numpy() for part in eager))
    # Another number of queries, and none: the graph is made for any.
    for some in (rows[0][:3], rows[0][:0]):
        found, wanted = compiled(some, rows[1]), head(some, rows[1])
        assert_same(tuple(part.numpy() for part in found), tuple(part.numpy() for part in wanted))


def test_any_k_in_one_graph(rows):
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(topk, backend=backend, fullgraph=True, dynamic=True)
    for k in (3, 5, 8, 120):
        assert_same(as_arrays(compiled(*rows, k)), definition(*rows, k), f"k={k}")
    assert len(graphs) == 1


def test_the_checks_of_pytorch(rows):
    for k, options in ((3, {}), (0, {}), (95, {"metric": "l2", "exclude_self": True})):
        found = torch.library.opcheck(torch.ops.idsim.topk, (*rows, k), options)
        assert set(found.values()) == {"SUCCESS"}


def test_shapes_without_values():
    queries, gallery = (torch.empty(shape, device="meta", dtype=torch.float16) for shape in ((7, 3), (9, 3)))
    scores, ids = topk(queries, gallery, 11)
    assert (scores.shape, scores.dtype, scores.device.type) == ((7, 11), torch.float32, "meta")
    assert (ids.shape, ids.dtype, ids.device.type) == ((7, 11), torch.int64, "meta")


def test_there_is_no_gradient(rows):
    scores, ids = topk(rows[0].requires_grad_(), rows[1], 2)
    assert not ids.requires_grad
    with pytest.raises(RuntimeError, match="no autograd formula"):
        scores.sum().backward()
    with torch.no_grad():
        assert not topk(*rows, 2)[0].requires_grad


CALLS = {
    "columns": (ValueError, "20 columns", lambda f, q, g: f(q, g[:, :7], 2)),
    "metric": (ValueError, "metric", lambda f, q, g: f(q, g, 2, metric="l1")),
    "k": (ValueError, "k must be 0 or more", lambda f, q, g: f(q, g, -1)),
    "integers": (TypeError, "int64", lambda f, q, g: f(q.long(), g, 2)),
    "NaN": (ValueError, "row 0 holds NaN", lambda f, q, g: f(q * float("nan"), g, 2)),
    "one dimension": (ValueError, "2 dimensions", lambda f, q, g: f(q[0], g, 2)),
}


@pytest.mark.parametrize("call", CALLS)
def test_errors(call, rows):
    kind, text, ask = CALLS[call]
    with pytest.raises(kind, match=text):
        ask(topk, *rows)


def test_errors_of_values_come_through_a_compiled_graph(rows):
    compiled = torch.compile(lambda q, g: topk(q, g, 2), backend=BACKEND, fullgraph=True)
    with pytest.raises(ValueError, match="row 0 holds NaN"):
        compiled(rows[0] * float("nan"), rows[1])
    with pytest.raises(ValueError, match="20 columns"):
        compiled(rows[0], rows[1][:, :7])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device and PyTorch built for it")
def test_on_a_device_and_its_streams(rows):
    wanted = definition(*rows, 5)
    on_device = [part.cuda() for part in rows]
    compiled = torch.compile(lambda q, g: topk(q, g, 5), backend=BACKEND, fullgraph=True)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for ask in (lambda q, g: topk(q, g, 5), compiled):
            scores, ids = ask(*on_device)
            assert {scores.device, ids.device} == {on_device[0].device}
            assert_same((scores.cpu().numpy(), ids.cpu().numpy()), wanted)
