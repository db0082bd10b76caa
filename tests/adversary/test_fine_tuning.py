"""Fine-tuning of K models at once is that of ordinary modules, one after the other."""

import torch
from torch import nn
from torch.nn import functional as F

from unlearnbench.adversary.fine_tuning import logits_of, losses, tuned
from unlearnbench.plugin import Stack

COUNT, SHAPE, CLASSES = 3, (1, 4, 4), 5


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(16, 7), nn.Tanh(), nn.Linear(7, CLASSES))

    def forward(self, images, noise=None):
        return self.layers(images.flatten(1))


def models():
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Stack.of([Small() for _ in range(COUNT)])


def batch(*leading):
    random = torch.Generator().manual_seed(1)
    return torch.rand(*leading, *SHAPE, generator=random), torch.randint(CLASSES, leading, generator=random)


def test_shared_images_and_each_models_own():
    stack = models()
    for images, labels in (batch(6), batch(COUNT, 6)):
        found, cost = logits_of(stack, images), losses(stack, images, labels)
        for k in range(COUNT):
            own, truth = (images, labels) if images.ndim == 4 else (images[k], labels[k])
            expected = stack.module(k)(own)
            torch.testing.assert_close(found[k], expected)
            torch.testing.assert_close(cost[k], F.cross_entropy(expected, truth, reduction="none"))


def test_steps_are_those_of_ordinary_adam_and_the_models_stay_as_they_are():
    stack = models()
    before = {name: value.clone() for name, value in stack.tensors.items()}
    batches = [batch(COUNT, 6), batch(6), batch(COUNT, 2)]
    after = tuned(stack, batches, lr=0.01)
    assert all(torch.equal(value, before[name]) for name, value in stack.tensors.items())
    for k in range(COUNT):
        module = stack.module(k)
        adam = torch.optim.Adam(module.parameters(), lr=0.01)
        for images, labels in batches:
            own, truth = (images, labels) if images.ndim == 4 else (images[k], labels[k])
            adam.zero_grad()
            F.cross_entropy(module(own), truth).backward()
            adam.step()
        for name, value in module.named_parameters():
            torch.testing.assert_close(after.params[name][k], value.detach(), atol=1e-6, rtol=1e-4)
