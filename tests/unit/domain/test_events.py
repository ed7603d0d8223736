"""The event bus: order, late receivers, and a receiver that raises."""

import pytest

from llmatic_daemon.domain.events import DeviceRemoved, Event, EventBus, PauseChanged

PAUSED = PauseChanged(is_paused=True)


def test_every_receiver_gets_each_event_in_the_order_of_subscription():
    events, received = EventBus(), []
    events.subscribe(lambda event: received.append(("first", event)))
    events.subscribe(lambda event: received.append(("second", event)))

    events.publish(PAUSED)

    assert received == [("first", PAUSED), ("second", PAUSED)]


def test_late_receiver_gets_later_events_only():
    events, received = EventBus(), []
    events.publish(PAUSED)
    events.subscribe(received.append)

    events.publish(DeviceRemoved(device="cpu"))

    assert received == [DeviceRemoved(device="cpu")]


def test_receiver_that_raises_is_a_bug_of_whoever_publishes():
    def broken(event: Event) -> None:
        raise ValueError("a bug")

    events, received = EventBus(), []
    events.subscribe(broken)
    events.subscribe(received.append)

    with pytest.raises(ValueError, match="a bug"):
        events.publish(PAUSED)

    assert received == []


def test_receiver_may_subscribe_another_one_meanwhile():
    events, received = EventBus(), []
    events.subscribe(lambda event: events.subscribe(received.append))

    events.publish(PAUSED)

    assert received == []
