"""A model that answers with draws: how they are distributed, and how often it may be asked."""

import pytest
import torch
from small_worlds import SEEDS, context, utility

from unlearnbench.adversary.sampled_model import BATCH, SampledModel
from unlearnbench.models.stack import Stack
from unlearnbench.system.errors import AccessError


@pytest.fixture
def stack():
    return Stack.of([context(utility(), SEEDS[:1], torch.float32).build(3)])


def images(count, seed=0):
    return torch.randint(0, 256, (count, 1, 6, 6), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)


def test_draws_have_the_mean_and_scale_of_p_z(stack):
    (image,), model = images(1), stack.module(0)
    with torch.no_grad():
        mean, scale = (value[0] for value in model.encode(image[None].float() / 255))
    asked = SampledModel(stack, 1, "before", 4_000)
    drawn = torch.stack([asked(image[None])[0][0] for _ in range(4_000)])
    deviation = (drawn - mean) / scale
    bound = 3.9 / 4_000**0.5  # 99.99 % of means
    assert float(deviation.mean(0).abs().max()) < bound
    assert float((deviation.square().mean(0) - 1).abs().max()) < 1.5 * bound * 2**0.5


def test_logits_are_those_at_the_draw(stack):
    drawn, logits = SampledModel(stack, 1, "before", 1)(images(5))
    torch.testing.assert_close(logits, stack.module(0).classify(drawn))


def test_noise_is_seeded_independent_of_the_batch_and_of_each_model_its_own(stack):
    many = images(BATCH + 7)
    first, again = (SampledModel(stack, 1, "before", 1)(many)[0] for _ in range(2))
    assert torch.equal(first, again)
    assert not torch.allclose(first[:7], SampledModel(stack, 1, "after", 1)(many)[0][:7])
    assert not torch.allclose(first[:7], SampledModel(stack, 2, "before", 1)(many)[0][:7])
    few = SampledModel(stack, 1, "before", 1)(many[:7])[0]
    torch.testing.assert_close(few, first[:7])


def test_each_answer_is_another_draw_and_answers_are_counted(stack):
    asked, some = SampledModel(stack, 1, "before", 2), images(5)
    first, second = asked(some)[0], asked(some)[0]
    assert float((first - second).abs().min()) > 0
    asked(images(5, seed=1))  # others have not been asked about yet
    with pytest.raises(AccessError, match="more than 2 times: declare more `queries`"):
        asked(some[2:3])


def test_copies_in_one_call_get_one_answer(stack):
    image = images(1)
    drawn, _ = SampledModel(stack, 1, "before", 1)(torch.cat([image, images(3, seed=1), image]))
    assert torch.equal(drawn[0], drawn[4])


def test_images_that_are_asked_about_again_are_encoded_once(stack, monkeypatch):
    asked, some, others = SampledModel(stack, 1, "before", 9), images(5), images(4, seed=1)
    encoded, encode = [], asked._model.encode
    monkeypatch.setattr(asked._model, "encode", lambda x: encoded.append(len(x)) or encode(x))
    answers = [asked(group)[0] for group in (some, some, others, some)]
    assert encoded == [5, 4, 5]
    fresh = SampledModel(stack, 1, "before", 9)
    for group, answer in zip((some, some, others, some), answers, strict=True):
        fresh._encoded = [], []
        assert torch.equal(fresh(group)[0], answer)
