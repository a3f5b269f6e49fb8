"""What a run's report says of the orders that the exchange turned down."""

from __future__ import annotations

from orders_world import World


def rejected(world: World, seq: int, message: str) -> None:
    world.send(seq)
    world.update(world.row() | {"status": "REJECTED", "status_message": message})


def test_the_words_of_most_rejections_are_told_whatever_their_numbers() -> None:
    world = World().start()
    stage = world.stage

    def told() -> dict[str, int]:
        words: dict[str, int] = stage.report()["orders"]["rejected_for"]
        return words

    assert told() == {}
    rejected(world, 1, "Circuit limit exceeded.")
    rejected(world, 2, "Insufficient funds. Required 4,500.50, available 12.")
    rejected(world, 3, "Insufficient funds. Required 99.")
    assert set(told().values()) == {1}, "other words are another reason"
    rejected(world, 4, "Insufficient funds. Required 7,100.00, available 3.")
    assert told() == {"Insufficient funds. Required 4,500.50, available 12.": 2}
