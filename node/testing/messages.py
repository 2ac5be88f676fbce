"""Laws about messages: what a contract reads, gives and accepts, whatever it is for."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from node.testing.instance import Heard, same_bits
from node.testing.report import Finding, Worst

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.numbers import Matrix
    from node.part import AgentId
    from node.testing.instance import Instance, Profile


def everything(instance: Instance, agent: AgentId, profile: Profile) -> tuple[Any, Any]:
    """An agent's best response and outcome at a profile."""
    return instance.reply(agent, profile), instance.outcome(agent, profile)


def _equal(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    return all(same_bits(a, b) for a, b in zip(one, other, strict=True))


def deterministic(instance: Instance) -> Finding:
    """The same messages give the same bits: asked again, after other messages, and built a second time."""
    worst = Worst()
    profile, other = instance.random(0), instance.random(1)
    for i in instance.some:
        # Built for this agent, and no other one asked: what others do is for the law "distributed".
        answers = []
        for _ in range(2):
            fresh = replace(instance, contracts=instance.build(instance.hears, instance.utilities))
            opening, first = fresh.contracts[i].opening(), everything(fresh, i, profile)
            everything(fresh, i, other)
            if not _equal(first, everything(fresh, i, profile)):
                worst.count(f"{i} answers the same messages differently when asked again")
            answers.append((opening, *first))
        if not _equal(*answers):
            worst.count(f"{i}, built again, opens or answers differently")
    return worst.finding("deterministic", 0)


def untouched(instance: Instance) -> Finding:
    """Messages and views are read, never written."""
    worst = Worst()
    profile = instance.random(20)
    for i in instance.agents:
        contract, heard, own = instance.contracts[i], Heard(profile, instance.hears[i]), profile[i].copy()
        view = contract.view(heard)
        steady = same_bits(contract.outcome(own, view), before := contract.outcome(own, view))
        contract.best_response(view)
        after = contract.outcome(own, view)
        for j, message in heard.messages.items():
            if not same_bits(message, profile[j]):
                worst.count(f"{i} writes into the message of {j}")
        if not same_bits(own, profile[i]):
            worst.count(f"{i} writes into its own message")
        if steady and not same_bits(before, after):  # if not steady, it is not deterministic
            worst.count(f"{i}: the outcome is another after best_response was asked for with the same view")
    return worst.finding("messages untouched", 0)


def well_formed(instance: Instance) -> Finding:
    """Messages are finite float64 (rows, K), shaped like the opening; outcomes are (K,), (K,), float."""
    worst = Worst()
    for salt, scale in ((30, 1.0), (31, 1e-3), (32, 1e3)):
        profile = instance.random(salt, scale)
        for i in instance.agents:
            goods, opening = instance.utilities[i].goods, instance.contracts[i].opening()
            reply, outcome = everything(instance, i, profile)
            for name, message in (("opening", opening), ("best response", reply)):
                if not _is_array(message, (len(opening), goods)):
                    worst.count(
                        f"{i}: its {name} is {_shown(message)}, expected float64 {(len(opening), goods)}"
                    )
            for name, numbers in (("allocation", outcome.allocation), ("price", outcome.price)):
                if not _is_array(numbers, (goods,)):
                    worst.count(f"{i}: the {name} is {_shown(numbers)}, expected float64 {(goods,)}")
            if not (isinstance(outcome.tax, float) and np.isfinite(outcome.tax)):
                worst.count(f"{i}: the tax is {outcome.tax!r}, expected a finite float")
    return worst.finding("well formed", 0)


def _is_array(value: Any, shape: tuple[int, ...]) -> bool:
    return (
        type(value) is np.ndarray
        and value.dtype == np.float64
        and value.shape == shape
        and bool(np.isfinite(value).all())
    )


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}" + ("" if np.isfinite(value).all() else " with NaN or infinity")
    return type(value).__name__


def accepts_its_own(instance: Instance) -> Finding:
    """Everybody who hears an agent accepts its opening and its best responses."""
    worst = Worst()
    profiles = [instance.opening(), *([] if instance.nash is None else [instance.nash])]
    profiles += [instance.replies(profile) for profile in (*profiles, instance.random(40))]
    for profile in profiles:
        for i in instance.agents:
            for j in instance.listeners(i):
                if not instance.contracts[j].accepts(profile[i], i):
                    worst.count(f"{j} refuses a message that {i} says")
    return worst.finding("accepts its own messages", 0)


def refuses_others(instance: Instance) -> Finding:
    """What has another type, number type or shape is refused, without raising."""
    worst = Worst()
    for i in instance.agents:
        for j in instance.hears[i]:
            for words, body in _no_messages(instance.contracts[j].opening()):
                try:
                    accepted = instance.contracts[i].accepts(body, j)
                except Exception as error:  # whatever it is, it must not reach the driver
                    worst.count(f"{i}.accepts raises {type(error).__name__} ({error}) on {words} from {j}")
                    continue
                if accepted:
                    worst.count(f"{i} accepts {words} from {j}")
    return worst.finding("refuses other bodies", 0)


def _no_messages(message: Matrix) -> Iterator[tuple[str, Any]]:
    rows, goods = message.shape
    for plain in (None, True, 3, 1.5, "text", b"bytes", (), (1.0, 2.0)):
        yield repr(plain), plain
    yield "a tuple of tuples", tuple(tuple(row) for row in message.tolist())
    for dtype in (np.float32, np.int64):
        yield f"an array of {np.dtype(dtype)}", np.zeros(message.shape, dtype)
    for shape in (
        (rows + 1, goods),
        (rows - 1, goods),
        (rows, goods + 1),
        (rows * goods,),
        (1, rows, goods),
        (0, 0),
    ):
        if shape != message.shape and min(shape) >= 0:
            yield f"an array of shape {shape}", np.zeros(shape)
    if rows != goods:
        yield f"an array of shape {(goods, rows)}", np.zeros((goods, rows))


def distributed(instance: Instance) -> Finding:
    """Response and outcome depend on the neighbours' messages only, and the response not on the own one."""
    worst = Worst()
    profile, noise, more = instance.random(50), instance.random(51), instance.random(52)
    for i in instance.agents:
        contract, heard = instance.contracts[i], Heard(profile, instance.hears[i])
        view = contract.view(heard)
        first = contract.best_response(view), contract.outcome(profile[i].copy(), view)
        for j in heard.strangers:
            own = "its own message" if j == i else f"the message of {j}, whom it does not hear"
            worst.count(f"{i} reads {own}")
        if not _equal(first, everything(instance, i, profile)):
            return Finding("distributed", None, 0, f"{i} is not deterministic")
        # Everybody else hears and says something else, and only then i is asked again.
        near = {i, *instance.hears[i]}
        scrambled = {j: message if j in near else noise[j] for j, message in profile.items()}
        for j in instance.agents:
            if j != i:
                everything(instance, j, more)
        if not _equal(first, everything(instance, i, scrambled)):
            worst.count(f"{i} answers differently when agents that it does not hear say something else")
        contract.outcome(more[i].copy(), view)
        if not same_bits(first[0], contract.best_response(view)):
            worst.count(f"the best response of {i} depends on its own message")
    return worst.finding("distributed", 0)


def own_price(instance: Instance) -> Finding:
    """The price that an agent faces does not depend on its own message: equal bit for bit."""
    worst = Worst()
    profile = instance.random(60)
    for i in instance.agents:
        contract, view = instance.contracts[i], instance.view(i, profile)
        first = contract.outcome(profile[i].copy(), view).price
        for salt, scale in ((61, 1.0), (62, 30.0), (63, 1e-3)):
            price = contract.outcome(instance.random(salt, scale)[i], view).price
            if not same_bits(price, first):
                worst.see(
                    float(np.abs(price - first).max()), f"{i} moves its own price from {first} to {price}"
                )
    return worst.finding("own price", 0)
