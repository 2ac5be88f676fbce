"""docs/conformance.md does what it says."""

from __future__ import annotations

import re
import sys
import types
from pathlib import Path

import pytest

from node.testing import BrokenLaw, Contraction, Shares, check_mechanism

PAGE = (Path(__file__).parents[2] / "docs" / "conformance.md").read_text(encoding="utf-8")
CODE = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
SHOWN = re.findall(r"```text\n(.*?)\n```", PAGE, re.DOTALL)


@pytest.fixture
def page(monkeypatch):
    """Names that the code blocks of the page define: the market, its test, and the price-taking one."""
    _, market, test, price_taking = CODE
    module = types.ModuleType("market")
    exec(market, module.__dict__)
    monkeypatch.setitem(sys.modules, "market", module)
    names: dict = {"Market": module.Market}
    exec(price_taking, names)
    exec(test, names)
    return names


def without_rounding(report: str) -> str:
    """Numbers of the size of rounding may differ between machines."""
    return re.sub(r" +\d(\.\d+)?e-1[3-9] ", " rounding ", report)


def test_the_market_passes_its_test_and_prints_what_is_shown(page):
    page["test_the_market_keeps_the_laws"]()
    claim = Contraction(0.995, weights={i: [1.0, 1.01] for i in page["HEARS"]})
    report = check_mechanism(
        page["build"], page["HEARS"], page["UTILITIES"], Shares([10.0]), contraction=claim
    )
    assert without_rounding(str(report)) == without_rounding(SHOWN[0])


def test_the_price_taking_one_fails_as_is_shown(page):
    def build(hears, utilities):
        return page["build"](hears, utilities, page["PriceTaking"])

    report = check_mechanism(build, page["HEARS"], page["UTILITIES"], Shares([10.0]))
    assert without_rounding(str(report)) == without_rounding(SHOWN[1])
    with pytest.raises(BrokenLaw, match="no profitable deviation"):
        report.raise_if_broken()
