import pytest
import torch
from torch import nn

from unlearnbench.models.architecture import bottleneck
from unlearnbench.models.information_bottleneck import SMALLEST_SCALE, InformationBottleneck
from unlearnbench.models.noise import NoiseStreams, StreamNoise
from unlearnbench.settings.scenario import Network

MNIST = (1, 28, 28)


def build(network, shape, classes, seed):
    return bottleneck(network).build(shape, classes, seed)


def linears(module):
    return [(part.in_features, part.out_features) for part in module.modules() if isinstance(part, nn.Linear)]


def test_mnist_model_has_the_released_codes_layers():
    model = build(Network(), MNIST, 10, 0)
    assert linears(model.representer) == [(784, 96), (96, 98)]
    assert linears(model.approximator) == [(49, 96), (96, 10)]
    assert sum(value.numel() for value in model.parameters()) == 90_636


def test_colour_model_is_a_resnet18_with_an_approximator_of_147():
    network = Network(name="resnet18", latent=147)
    model = build(network, (3, 32, 32), 10, 0)
    assert linears(model.representer) == [(512, 294)]
    assert linears(model.approximator) == [(147, 96), (96, 10)]
    convolutions = sum(isinstance(part, nn.Conv2d) for part in model.representer.modules())
    assert convolutions == 17 + 3  # 17 and 3 on shortcuts; the 18th layer is linear


@pytest.mark.parametrize(
    ("stem", "channels", "kernel", "pooled"),
    [("small", 3, (3, 3), False), ("small", 1, (3, 3), False), ("imagenet", 3, (7, 7), True),
     ("imagenet", 1, (7, 7), True)],
)  # fmt: skip
def test_resnet18_stems_and_shapes(stem, channels, kernel, pooled):
    shape = (channels, 32, 32)
    model = build(Network(name="resnet18", latent=6, hidden=8, stem=stem), shape, 5, 0).eval()
    assert model.representer.conv1.kernel_size == kernel
    assert isinstance(model.representer.maxpool, nn.MaxPool2d) == pooled
    with torch.no_grad():
        mean, scale = model.encode(torch.rand(2, *shape))
        assert mean.shape == scale.shape == (2, 6)
        assert model(torch.rand(2, *shape)).shape == (2, 5)


def test_forward_reads_the_mean_or_a_sample():
    model = build(Network(hidden=12, latent=5), (1, 6, 6), 4, 0)
    x = torch.rand(3, 1, 6, 6)
    mean, scale = model.encode(x)
    assert torch.equal(model(x), model.classify(mean))
    eps = StreamNoise(NoiseStreams(1), torch.device("cpu"), torch.float32).normal(3, 5)
    sampled = model(x, StreamNoise(NoiseStreams(1), torch.device("cpu"), torch.float32))
    assert torch.equal(sampled, model.classify(mean + scale * eps))
    assert not torch.equal(sampled, model(x))


@pytest.mark.parametrize("raw", [-110.0, -90.0, 0.0, 50.0])
def test_scales_are_positive_with_finite_gradients(raw):
    """softplus underflows: without a floor the gradient of -log sigma is -inf at -90 and NaN at -110."""
    values = torch.tensor([[0.0, raw]], requires_grad=True)
    model = InformationBottleneck(nn.Identity(), 1, 4, 3)
    _, scale = model.encode(values)
    assert float(scale.detach()) >= SMALLEST_SCALE * (1 - 1e-6)
    (gradient,) = torch.autograd.grad(-scale.log().sum(), values)
    assert torch.isfinite(gradient).all()


def test_scale_is_the_softplus():
    model = InformationBottleneck(nn.Identity(), 1, 4, 3)
    _, scale = model.encode(torch.tensor([[0.0, 1.0]]))
    assert float(scale) == pytest.approx(1.3132617, abs=2e-6)


@pytest.mark.parametrize("name", ["mlp", "resnet18"])
def test_a_seed_is_an_initialisation_and_the_global_stream_is_left_alone(name):
    network = Network(name=name, hidden=8, latent=4)
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    first, again, other = (build(network, (3, 8, 8), 4, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.rand(3), expected)
    pairs = list(zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert not torch.equal(first.approximator[0].weight, other.approximator[0].weight)
