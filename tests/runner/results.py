"""A made-up result of a run, for whoever shows one."""

from __future__ import annotations

from typing import Any

from runner.result import RunResult


def result_of(n: int = 5, **other: Any) -> RunResult:
    """The result of a run of ``n`` agents in which everything went well, but for ``other``."""
    agents = [f"n{i:02d}" for i in range(n)]
    shares = {agent: [1.0 + i] for i, agent in enumerate(agents)}
    fields: dict[str, Any] = {
        "run": "demo-20250101-120000-ab12",
        "scenario": "demo",
        "mode": "processes",
        "agents": n,
        "diameter": 8,
        "rounds": 347,
        "mechanism": "private-goods",
        "play_rounds": 305,
        "stopped_in_round": 346,
        "messages": 20_820,
        "bytes": 6_870_600,
        "published": 10_757,
        "retransmissions": 0,
        "seconds": 4.32,
        "first_round_seconds": 2.1,
        "allocation": shares,
        "prices": {agent: [4.0] for agent in agents},
        "taxes": {agent: i - 2.0 for i, agent in enumerate(agents)},
        "optimal_allocation": shares,
        "optimal_prices": {agent: [4.0] for agent in agents},
        "multiplier": [4.0],
        "allocation_error": 2.9e-9,
        "price_error": 2e-9,
        "tax_sum": 5.6e-7,
        "tax_scale": 224.0,
        "welfare": 397.278398,
        "optimal_welfare": 397.2783979,
        "parameters": {"xi": 0.9927, "delta": 15.96},
        "contraction_bound": 0.992717,
        "norm": "maximum norm over all messages",
        "guaranteed": True,
        "observed_rate": 0.9358,
        "tolerance": 1e-6,
        "stopped_unsatisfied": 0,
        "dropped": {},
        "run_dir": None,
    }
    return RunResult(**{**fields, **other})
