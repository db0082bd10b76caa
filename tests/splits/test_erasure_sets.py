import pytest
import torch
from small_worlds import blobs, erasures

from unlearnbench.plugin import Batch
from unlearnbench.splits.batches import BatchSource
from unlearnbench.system.seeding import stream


def source(rows, batch, seeds, pool=None, join=False):
    return BatchSource(pool or blobs(40), rows, batch, [stream(seed) for seed in seeds], torch.float32, join)


ROWS = torch.stack([torch.arange(0, 10), torch.arange(20, 30), torch.arange(5, 15)])
SEEDS = (1, 2, 3)


@pytest.mark.parametrize("batch", [3, 5, 10, 99, None])
def test_an_epoch_visits_each_row_once(batch):
    batches = source(ROWS, batch, SEEDS)
    for _ in range(2):
        parts = list(batches.epoch())
        assert len(parts) == batches.steps_per_epoch
        visited = torch.cat([part.rows for part in parts], 1)
        assert torch.equal(visited.sort(1).values, torch.arange(10).expand(3, -1))


@pytest.mark.parametrize(("batch", "joined"), [(3, [3, 3, 4]), (9, [10]), (4, [4, 4, 2]), (5, [5, 5]), (None, [10])])
def test_a_last_image_is_joined_to_the_minibatch_before_it_where_that_is_wanted(batch, joined):
    apart, together = source(ROWS, batch, SEEDS), source(ROWS, batch, SEEDS, join=True)
    for _ in range(2):
        parts = list(together.epoch())
        assert [part.rows.shape[1] for part in parts] == joined
        assert together.steps_per_epoch == len(joined)
        assert all(part.weight.shape == part.labels.shape == part.rows.shape for part in parts)
        # The same images in the same order.
        assert torch.equal(torch.cat([part.rows for part in parts], 1), torch.cat([p.rows for p in apart.epoch()], 1))


def test_epochs_have_different_orders():
    batches = source(ROWS, 4, SEEDS)
    first, second = (torch.cat([part.rows for part in batches.epoch()], 1) for _ in range(2))
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1])


def test_a_batch_holds_the_images_of_its_rows():
    pool = blobs(40)
    for batch in source(ROWS, 4, SEEDS, pool).epoch():
        for k in range(3):
            rows = ROWS[k][batch.rows[k]]
            torch.testing.assert_close(batch.images[k], pool.pixels[rows].float() / 255)
            assert torch.equal(batch.labels[k], pool.labels[rows])
    assert float(batch.weight.min()) == float(batch.weight.max()) == 1


def test_the_order_of_a_replica_depends_on_its_stream_only():
    three = list(source(ROWS, 4, SEEDS).epoch())
    one = list(source(ROWS[2:], 4, SEEDS[2:]).epoch())
    for together, alone in zip(three, one, strict=True):
        assert torch.equal(together.rows[2], alone.rows[0])
        assert torch.equal(together.images[2], alone.images[0])


def test_keep_within_an_epoch_leaves_every_replica_its_own_order():
    whole, thinned = source(ROWS, 4, SEEDS).forever(), source(ROWS, 4, SEEDS)
    some = thinned.forever()
    for step in range(8):  # more than two epochs of 3 steps
        if step == 2:
            thinned.keep(torch.tensor([0, 2]))
        expected, found = next(whole), next(some)
        kept = [0, 2] if step >= 2 else [0, 1, 2]
        assert torch.equal(found.rows, expected.rows[kept])
        assert torch.equal(found.images, expected.images[kept])


def test_the_whole_set_is_in_its_own_order():
    batch = source(ROWS, 4, SEEDS).whole()
    assert torch.equal(batch.rows, torch.arange(10).expand(3, -1))


def test_remaining_is_all_members_but_the_erased():
    sets = erasures(replicas=3, size=6, members=60)
    for k in range(3):
        erased, remaining = set(sets.erased[k].tolist()), set(sets.remaining(k).tolist())
        assert len(erased) == 6
        assert erased.isdisjoint(remaining)
        assert erased | remaining == set(sets.members.tolist())
        assert len(remaining) == sets.remaining_size


def test_splits_are_the_images_of_the_rows():
    sets = erasures()
    splits = sets.splits(1)
    assert splits.erased.ids.tolist() == sets.erased[1].tolist()
    assert splits.remaining.ids.tolist() == sets.remaining(1).tolist()


def test_take_keeps_the_erasures_and_their_never_seen_images_together():
    sets = erasures()
    part = sets.take(1, 3)
    assert torch.equal(part.erased, sets.erased[1:])
    assert torch.equal(part.holdout, sets.holdout[1:])
    assert torch.equal(part.remaining(0), sets.remaining(1))


def test_rows_of_weight_zero_do_not_count_in_a_mean():
    zero = torch.zeros(3, dtype=torch.int64)
    padded = Batch(torch.empty(3, 1, 1, 1), zero, torch.tensor([1.0, 1.0, 0.0]), zero)
    assert float(padded.mean(torch.tensor([1.0, 3.0, 1e9]))) == 2
