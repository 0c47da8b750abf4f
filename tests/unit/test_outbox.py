"""What is sent again and what is not; and that in the end every object's newest state arrives."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgemesh.model.objects import ObjectKey
from edgemesh.policy.bus.arrivals import Arrival, Arrivals
from edgemesh.policy.bus.outbox import Due, Outbox, Outgoing
from edgemesh.wire.message import Message, Operation, Stamp, new_message

SECONDS = 5.0
RESENDS = 4
NOTHING = Due([], [])


def key(name: str) -> ObjectKey:
    return ObjectKey("Service", "default", name)


def about(name: str, msg_id: str = "") -> Outgoing:
    return Outgoing(msg_id or name, f"text of {name}", (key(name),))


def an_outbox(size: int = 1) -> Outbox:
    return Outbox(size, SECONDS, RESENDS)


def test_one_after_the_other_is_a_window_of_one() -> None:
    outbox = an_outbox()
    assert (outbox.has_room, outbox.next_time(), len(outbox)) == (True, None, 0)
    outbox.add(about("a"), 0.0)
    assert (outbox.has_room, outbox.next_time(), len(outbox)) == (False, SECONDS, 1)
    assert outbox.acknowledge("a")
    assert (outbox.has_room, outbox.next_time(), len(outbox)) == (True, None, 0)


def test_what_is_not_acknowledged_is_sent_again_and_given_up_after_25_seconds() -> None:
    outbox = an_outbox()
    outbox.add(about("a"), 0.0)
    assert outbox.due(4.9) == NOTHING
    for seconds in (5.0, 10.0, 15.0, 20.0):
        assert outbox.due(seconds) == Due([about("a")], [])
        assert outbox.due(seconds) == NOTHING
    assert outbox.due(25.0) == Due([], [about("a")])
    assert (len(outbox), outbox.due(100.0)) == (0, NOTHING)


def test_a_late_or_unknown_acknowledgement_means_nothing() -> None:
    outbox = an_outbox(2)
    outbox.add(about("a"), 0.0)
    assert not outbox.acknowledge("b")
    assert outbox.acknowledge("a")
    assert not outbox.acknowledge("a")


def test_an_older_message_of_an_object_is_not_sent_again_after_a_newer_one() -> None:
    outbox = an_outbox(2)
    outbox.add(about("a", "old"), 0.0)
    outbox.add(about("a", "new"), 3.0)
    assert (len(outbox), outbox.next_time()) == (1, 8.0)
    assert outbox.due(8.0).again == [about("a", "new")]
    assert not outbox.acknowledge("old")
    assert outbox.acknowledge("new")


def test_messages_about_no_object_do_not_replace_each_other() -> None:
    outbox = an_outbox(2)
    for msg_id in ("a", "b"):
        outbox.add(Outgoing(msg_id, "", ()), 0.0)
    assert len(outbox) == 2
    assert outbox.acknowledge("a")
    lost = [outbox.due(SECONDS * turn) for turn in range(1, 6)][-1].lost
    assert [each.msg_id for each in lost] == ["b"]


def test_several_are_due_in_their_order() -> None:
    outbox = an_outbox(3)
    for number, name in enumerate("abc"):
        outbox.add(about(name), float(number))
    assert outbox.due(6.0).again == [about("a"), about("b")]
    assert outbox.next_time() == 7.0
    assert outbox.due(7.0).again == [about("c")]


def test_a_frame_counts_as_many_messages_as_are_in_it_and_is_acknowledged_as_one() -> None:
    outbox = an_outbox(3)
    outbox.add(Outgoing("ab", "", (key("a"), key("b"))), 0.0)
    assert (len(outbox), outbox.has_room) == (2, True)
    outbox.add(Outgoing("cd", "", (key("c"), key("d"))), 1.0)
    assert (len(outbox), outbox.has_room) == (4, False)
    assert outbox.acknowledge("cd")
    assert (len(outbox), outbox.next_time()) == (2, SECONDS)


def test_a_frame_of_which_a_part_is_void_is_not_sent_again_but_asked_for_anew() -> None:
    outbox = an_outbox(8)
    frame = Outgoing("ab", "", (key("a"), key("b")))
    outbox.add(frame, 0.0)
    outbox.add(about("a", "newer"), 1.0)
    assert outbox.due(5.0) == Due([], [frame])
    outbox.add(about("b", "newer b"), 5.0)
    assert outbox.due(6.0).again == [about("a", "newer")]


def test_a_frame_that_is_void_as_a_whole_is_forgotten() -> None:
    outbox = an_outbox(8)
    outbox.add(Outgoing("ab", "", (key("a"), key("b"))), 0.0)
    outbox.add(Outgoing("newer", "", (key("b"), key("a"))), 1.0)
    assert (len(outbox), outbox.next_time()) == (2, 6.0)
    assert not outbox.acknowledge("ab")


@dataclass
class World:
    """A cloud whose objects change, a node that keeps them, and a network between them.

    The network loses and repeats what it likes, and carries it in any order; now and then the
    connection breaks, and with it goes what both sides knew of it. What is at the node stays.
    """

    chance: random.Random
    window: int
    losses: int = 1
    most: int = 1
    now: float = 0.0
    revision: int = 0
    cloud: dict[str, int] = field(default_factory=dict)
    node: dict[str, int] = field(default_factory=dict)
    due: dict[str, None] = field(default_factory=dict)
    down: list[tuple[int, str]] = field(default_factory=list)
    up: list[tuple[int, str]] = field(default_factory=list)
    connection: int = 0

    def __post_init__(self) -> None:
        self.reconnect()

    def reconnect(self) -> None:
        self.connection += 1
        self.outbox = an_outbox(self.window)
        self.arrivals = Arrivals(limit=64)
        # As the sync protocol does: what the node has not, it is sent.
        stale = [name for name in self.cloud if self.node.get(name) != self.cloud[name]]
        self.due = dict.fromkeys(stale)

    def change(self, name: str) -> None:
        self.revision += 1
        self.cloud[name] = self.revision
        self.due[name] = None

    def send(self) -> None:
        due = self.outbox.due(self.now)
        for lost in due.lost:
            self.due |= {each.name: None for each in lost.keys}
        for again in due.again:
            self._carry(again.text)
        while self.outbox.has_room and self.due:
            names = list(self.due)[: self.most]
            for name in names:
                del self.due[name]
            frame = " ".join(
                f"{self.connection}:{name}@{self.cloud[name]}:{self.now}" for name in names
            )
            last = frame.rpartition(" ")[2]
            self.outbox.add(Outgoing(last, frame, tuple(map(key, names))), self.now)
            self._carry(frame)
        assert len(self.outbox) < self.window + self.most

    def _carry(self, carried: str) -> None:
        for _ in range(self.chance.choice([0] * self.losses + [1, 1, 2])):
            self.down.append((self.connection, carried))

    def arrive(self, *, in_order: bool) -> None:
        while self.down:
            index = 0 if in_order else self.chance.randrange(len(self.down))
            connection, carried = self.down.pop(index)
            if connection == self.connection:
                self._keep(carried)

    def _keep(self, frame: str) -> None:
        for msg_id in frame.split(" "):
            text = msg_id.split(":")[1]
            if self.arrivals.take(message(msg_id, text)) is Arrival.NEW:
                name, _, revision = text.partition("@")
                assert int(revision) >= self.node.get(name, 0), "an older state over a newer one"
                self.node[name] = int(revision)
        if self.chance.random() < 0.7:
            self.up.append((self.connection, frame.rpartition(" ")[2]))
        assert len(self.arrivals) <= 128

    def hear(self) -> None:
        self.chance.shuffle(self.up)
        for connection, msg_id in self.up:
            if connection == self.connection:
                self.outbox.acknowledge(msg_id)
        self.up.clear()


def message(msg_id: str, text: str) -> Message:
    name, _, revision = text.partition("@")
    return new_message(
        Stamp(msg_id, 0),
        source="edgecontroller",
        group="resource",
        operation=Operation.UPDATE,
        resource=f"default/service/{name}",
        content=text,
        revision=revision,
    )


STEPS: dict[str, Callable[[World], None]] = {
    "change a": lambda world: world.change("a"),
    "change b": lambda world: world.change("b"),
    "change c": lambda world: world.change("c"),
    "send": World.send,
    "arrive": lambda world: world.arrive(in_order=False),
    "hear": World.hear,
    "break": World.reconnect,
}


@settings(max_examples=300)
@given(
    st.integers(0, 2**32),
    st.sampled_from([1, 2, 64]),
    st.sampled_from([0, 1, 30]),
    st.sampled_from([1, 2, 3]),
    st.lists(st.tuples(st.sampled_from(sorted(STEPS)), st.floats(0, 6)), max_size=80),
)
@example(5, 2, 0, 1, [*[("change a", 0.0), ("send", 0.0)] * 2, ("arrive", 0.0)] * 20)
@example(0, 1, 30, 1, [*[("change a", 0.0), ("send", 5.0)], ("send", 5.0)] * 20)
def test_in_the_end_every_newest_state_is_there_and_none_went_back(
    seed: int, window: int, losses: int, most: int, steps: list[tuple[str, float]]
) -> None:
    world = World(random.Random(seed), window, losses, most)
    for step, seconds in steps:
        world.now += seconds
        STEPS[step](world)
    world.losses = 1
    for _ in range(1000):
        if world.node == world.cloud and not world.due and not len(world.outbox):
            break
        world.send()
        world.arrive(in_order=True)
        world.hear()
        world.now += SECONDS
    assert world.node == world.cloud


def update(msg_id: str, revision: str, operation: str = "update", name: str = "a") -> Message:
    return new_message(
        Stamp(msg_id, 0),
        source="edgecontroller",
        group="resource",
        operation=operation,
        resource=f"default/pod/{name}",
        revision=revision,
    )


def test_a_message_that_comes_again_is_a_duplicate() -> None:
    arrivals = Arrivals(8)
    assert arrivals.take(update("1", "5")) is Arrival.NEW
    assert arrivals.take(update("1", "5")) is Arrival.DUPLICATE
    assert arrivals.take(update("2", "5")) is Arrival.NEW


def test_a_state_older_than_one_that_came_is_stale_for_its_object_only() -> None:
    arrivals = Arrivals(8)
    assert arrivals.take(update("1", "50")) is Arrival.NEW
    assert arrivals.take(update("2", "9")) is Arrival.STALE
    assert arrivals.take(update("3", "9", name="b")) is Arrival.NEW
    assert arrivals.take(update("4", "51", "delete")) is Arrival.NEW


def test_what_has_no_revision_has_no_order() -> None:
    arrivals = Arrivals(8)
    assert arrivals.take(update("1", "50")) is Arrival.NEW
    assert arrivals.take(update("2", "", "delete")) is Arrival.NEW
    assert arrivals.take(update("3", "x")) is Arrival.NEW
    assert arrivals.take(update("4", "9" * 5000)) is Arrival.NEW
    assert arrivals.take(update("5", "1", "response")) is Arrival.NEW


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 50)), max_size=200))
def test_what_is_remembered_is_bounded(numbers: list[tuple[int, int]]) -> None:
    arrivals = Arrivals(limit=4)
    for number, name in numbers:
        arrivals.take(update(str(number), str(number), name=str(name)))
        assert len(arrivals) <= 8
