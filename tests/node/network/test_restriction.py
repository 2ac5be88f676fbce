"""What an agent is told, restricted to those that take part: as if the scenario had never had the others."""

from __future__ import annotations

import random

import pytest

from node.protocols.network.facts import contract_of
from node.protocols.network.restriction import among
from topologies import load_scenario
from topologies.network import building
from topologies.network.sections import NetworkEnvironment, NetworkMechanism

FLOOR = 1e-3


def drawn(mechanism, rng):
    """A random network: links, groups, relays; and which of its agents stay."""
    agents = [f"a{k:02d}" for k in range(rng.randint(5, 9))]
    links = {}
    for k in range(rng.randint(2, 5)):
        members = rng.sample(agents, rng.randint(2, len(agents)))
        links[f"l{k}"] = {
            "capacity": 4.0,
            "coefficients": {i: round(rng.uniform(0.5, 1.5), 3) for i in sorted(members)},
            "relays": sorted(i for i in agents if i not in members and rng.random() < 0.3),
        }
    groups = {}
    if mechanism != "unicast":
        shuffled = rng.sample(agents, len(agents))
        groups = {"one": tuple(sorted(shuffled[:3])), "two": tuple(sorted(shuffled[3:]))}
    used = {i for link in links.values() for i in link["coefficients"]}
    used |= {i for members in groups.values() for i in members} if mechanism == "linear" else set()
    for link in links.values():
        link["relays"] = [i for i in link["relays"] if i in used]
    there = {i for i in used if rng.random() < 0.7}
    return links, groups, sorted(used), there


def told(mechanism, prices, links, groups, agents):
    network = building.Network(links, groups, tuple(agents))
    environment = NetworkEnvironment(kind="network", floor=FLOOR)
    chosen = NetworkMechanism(name=mechanism, prices=prices)
    return building.told(network, environment, chosen, {i: {"family": "log", "w": 3.0} for i in agents})


@pytest.mark.parametrize("prices", ["fast", "newton"])
@pytest.mark.parametrize("mechanism", ["unicast", "multicast", "linear"])
def test_it_is_what_the_scenario_tells_without_the_others(mechanism, prices):
    compared = changed = 0
    for seed in range(60):
        links, groups, agents, there = drawn(mechanism, random.Random(seed))
        left = {
            name: {
                "capacity": link["capacity"],
                "coefficients": {i: a for i, a in link["coefficients"].items() if i in there},
                "relays": [i for i in link["relays"] if i in there],
            }
            for name, link in links.items()
        }
        left = {name: link for name, link in left.items() if link["coefficients"]}
        if any(len(link["coefficients"]) == 1 for link in left.values()):
            continue  # one user alone is refused, or its link dropped: below
        kept = {k: tuple(i for i in members if i in there) for k, members in groups.items()}
        kept = {k: members for k, members in kept.items() if len(members) > (mechanism == "linear")}
        expected = told(mechanism, prices, left, kept, sorted(there))
        rules = {"mechanism": mechanism, "dynamics": {"rule": prices}}
        everybody = told(mechanism, prices, links, groups, agents)
        for i in sorted(there):
            assert among(i, rules, everybody[i], agents) == everybody[i]
            assert among(i, rules, everybody[i], there) == expected[i], (seed, i)
            compared, changed = compared + 1, changed + (expected[i] != everybody[i])
    assert compared > 50
    assert changed > 20


UNICAST = {"mechanism": "unicast", "balance": "strong", "eta": 0.02, "zeta": 1.0}


def flow(narrow):
    return {
        "valuation": {"family": "log", "w": 3.0, "s": 1.0},
        "links": {
            "narrow": {"capacity": narrow, "coefficients": {"a": 1.0, "b": 1.0}},
            "wide": {"capacity": 2.0, "coefficients": {"a": 2.0, "c": 1.0}},
        },
        "relays": {"narrow": [], "wide": []},
        "forwards": {},
    }


@pytest.mark.parametrize(
    ("rule", "narrow", "kept"),
    [
        ("fast", 1.0, ["wide"]),  # wide allows a 2.0 / 2 = 1.0
        ("fast", 0.999, ["narrow", "wide"]),
        ("newton", 1.0, ["narrow", "wide"]),  # the others know of it, so it cannot just be dropped
    ],
)
def test_a_link_that_one_agent_is_left_on_is_dropped_if_it_cannot_bind_and_refused_otherwise(
    rule, narrow, kept
):
    rules = {**UNICAST, "dynamics": {"rule": rule}}
    left = among("a", rules, flow(narrow), {"a", "c"})
    assert list(left["links"]) == list(left["relays"]) == kept
    if len(kept) == 1:
        assert contract_of("a", rules, left).channels == ("wide",)
    else:
        with pytest.raises(ValueError, match="link narrow: used by a alone"):
            contract_of("a", rules, left)


def test_a_group_with_one_member_left_is_none_and_its_rows_are_only_those_with_a_coefficient():
    scenario = load_scenario("network-microgrid-7")
    own = scenario.utilities["bakery"]
    left = among("bakery", scenario.contract(), own, set(scenario.agents) - {"house-1", "house-2"})
    # The bakery knew of the branch by house-1 alone, with which it shared the battery.
    assert own["group"]["name"] == "battery"
    assert left["group"] is None
    assert sorted(own["rows"]) == ["branch", "transformer"]
    assert list(left["rows"]) == ["transformer"]
    assert left["rows"]["transformer"]["groups"] == {}
