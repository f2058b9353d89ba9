"""The image pool against its definition, one image at a time."""

import torch

from trainables.systems.image_pool import ImagePool


def numbered(first: int, count: int) -> torch.Tensor:
    """Images of 2 x 2 pixels that hold their number."""
    return torch.arange(first, first + count).float()[:, None, None, None].expand(-1, 3, 2, 2)


def numbers(images: torch.Tensor) -> list[int]:
    assert images.shape[1:] == (3, 2, 2)
    assert (images == images[:, :1, :1, :1]).all()
    return images[:, 0, 0, 0].int().tolist()


def test_a_pool_of_none_shows_what_is_new() -> None:
    pool, new = ImagePool(0), numbered(0, 5)
    assert pool.exchange(new) is new
    assert pool.images is None


def test_a_pool_that_is_not_full_keeps_and_shows_what_is_new() -> None:
    pool = ImagePool(5)
    assert numbers(pool.exchange(numbered(0, 3))) == [0, 1, 2]
    assert numbers(pool.exchange(numbered(3, 2))) == [3, 4]
    assert numbers(pool.images) == [0, 1, 2, 3, 4]


def test_a_full_pool_follows_the_definition() -> None:
    """The same draws, taken in the same order, image by image; batches are larger than the pool."""
    pool, kept, first = ImagePool(3), [], 0
    for count in (2, 4, 7, 1):
        torch.manual_seed(first)
        shown = numbers(pool.exchange(numbered(first, count)))
        torch.manual_seed(first)
        chances, places = torch.rand(count), torch.randint(3, (count,))
        expected = []
        for new, chance, place in zip(range(first, first + count), chances, places, strict=True):
            if len(kept) < 3:
                kept.append(new)
                expected.append(new)
            elif chance < 0.5:
                expected.append(kept[place])
                kept[place] = new
            else:
                expected.append(new)
        assert shown == expected
        assert numbers(pool.images) == kept
        first += count


def test_half_of_what_is_shown_is_older_and_nothing_is_lost() -> None:
    torch.manual_seed(0)
    pool, shown = ImagePool(50), []
    for first in range(0, 2000, 10):
        shown.append((first, numbers(pool.exchange(numbered(first, 10)))))
    old = sum(number < first for first, batch in shown[5:] for number in batch)
    assert 0.44 < old / 1950 < 0.53  # a half, less what was swapped within its own batch: an error of 1.1 %
    assert sorted([*(number for _, batch in shown[5:] for number in batch), *numbers(pool.images)]) == list(range(2000))


def test_what_is_kept_is_a_copy() -> None:
    pool, new = ImagePool(4), numbered(0, 2).clone()
    pool.exchange(new)
    new.zero_()
    assert numbers(pool.images) == [0, 1]
