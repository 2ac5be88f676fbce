"""Before a run: what its agents will agree on, and whether that guarantees anything.

The runner knows the whole scenario, so it can tell what the agents will find out by messages, and refuse a
run that they would refuse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from node import lockstep
from node.consensus.survey import survey
from node.mechanisms.contraction import BLOCK_NORM, NoGuarantee
from node.mechanisms.summary import weights
from node.protocols.parameters import foreseen
from node.protocols.scalable import contribution_of
from node.utilities import build
from runner.errors import UserError
from topologies.consensus import robustness
from topologies.model import ConsensusMechanism

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.mechanisms.summary import Terms
    from node.protocols.parameters import Certificate
    from topologies import LoadedScenario

MECHANISMS = ("private-goods", "public-goods")
NETWORK = ("unicast", "multicast", "linear")


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is known of a run before it starts.

    Attributes:
        certificate: what the agents will agree on, bit for bit.
        spectral_radius: of the whole Jacobian, if there is no guarantee and it can be computed.
    """

    certificate: Certificate
    spectral_radius: float | None

    def warning(self) -> str | None:
        """What the user has to know, in one line; None if the run is guaranteed to converge."""
        certificate = self.certificate
        if certificate.guaranteed:
            return None
        text = (
            f"no guarantee: at xi = {certificate.xi!r}, delta = {certificate.delta!r} the contraction bound "
            f"is {certificate.bound:.9g} in the {certificate.norm}; expected below 1"
        )
        radius = self.spectral_radius
        if radius is not None:
            text += f". The spectral radius of the whole Jacobian is {radius:.9g}, which is no norm bound: "
            text += (
                "best response to the last round converges in the end, at about that factor a round"
                if radius < 1
                else "play diverges"
            )
        elif certificate.norm == BLOCK_NORM:
            text += ". The spectral radius is known for quadratic utilities and moderate sizes only"
        return text


def outlook(loaded: LoadedScenario) -> Outlook | None:
    """What the agents of a scenario will agree on; None for mechanisms of other kinds.

    Raises:
        NoGuarantee: if the agents would refuse to play.
        ValueError: if some parameter cannot be.
    """
    rules = loaded.contract()
    if rules["mechanism"] not in MECHANISMS:
        return None
    hears = {i: tuple(sorted(loaded.graph.successors(i))) for i in loaded.agents}
    routes = lockstep.run({i: survey(i) for i in loaded.agents}, hears).results
    utilities = {i: build(loaded.utilities[i]) for i in loaded.agents}
    certificate = foreseen(
        [(routes[i], utilities[i]) for i in loaded.agents], {**rules, "unguaranteed": True}
    )
    radius = None
    if not certificate.guaranteed:
        from runner.spectrum import spectral_radius

        radius = spectral_radius(rules["mechanism"], routes, utilities, certificate.xi, certificate.delta)
    return Outlook(certificate, radius)


def require(loaded: LoadedScenario, warn: Callable[[str], None]) -> float | None:
    """Refuse a run without a guarantee that is not meant to have none.

    Args:
        loaded: the whole scenario.
        warn: called with what there is to know of a run that is not guaranteed to converge and that the user
            wants all the same.
    Returns:
        The spectral radius of the whole Jacobian, if there is no guarantee and it can be computed.
    Raises:
        UserError: if the agents would refuse to play, or could not; of a network, if the equilibrium that is
            claimed is none.
    """
    rules = loaded.contract()
    if rules["mechanism"] == "summary":
        _require_of_summary(loaded, warn)
        return None
    if rules["mechanism"] == "consensus":
        _require_robust(loaded, warn)
        return None
    if rules["mechanism"] in NETWORK:
        from runner import equilibrium  # late: it takes the planner of networks

        equilibrium.require(loaded)
    if rules["mechanism"] in NETWORK and rules["dynamics"]["rule"] == "strategic":
        warn(
            'prices = "strategic": best responses of the game. They do not converge here; they are played to '
            "show that. Prices stay near where they start or run off, and the allocation is not the planner's"
        )
        return None
    if rules["mechanism"] not in MECHANISMS or _always_guaranteed(loaded):
        return None
    try:
        seen = outlook(loaded)
    except (ValueError, NoGuarantee) as error:
        raise UserError(f"{loaded.path}: mechanism: {error}") from None
    if seen is None or (text := seen.warning()) is None:
        return None
    if not rules.get("unguaranteed"):
        raise UserError(f"{loaded.path}: mechanism: {text}; to play all the same: --unguaranteed")
    warn(text)
    return seen.spectral_radius


def robust(loaded: LoadedScenario) -> str | None:
    """What the user has to know of trimmed averaging on a graph of which nobody can tell whether it bears the
    liars; None if it does, and for all other runs. One that does not is no scenario at all."""
    rules = loaded.contract()
    if rules.get("primitive") != "trimmed" or not rules["f"]:
        return None
    need, (_, proven) = robustness(rules["f"], loaded.graph)
    if proven:
        return None
    return (
        f"no guarantee: f = {rules['f']} liars need a {need}-robust graph, and whether this one of "
        f"{len(loaded.agents)} agents is {need}-robust is neither proven nor refuted: there is no cut among "
        f"balls around agents and the orders by eigenvectors, and the search over all of them was given up. "
        f"If there is one, agents on its two sides may keep different values; within the range of the honest "
        f"inputs they stay in any case"
    )


def _require_robust(loaded: LoadedScenario, warn: Callable[[str], None]) -> None:
    """``require`` for consensus."""
    if (text := robust(loaded)) is None:
        return
    mechanism = loaded.spec.mechanism
    assert isinstance(mechanism, ConsensusMechanism)
    if not mechanism.unguaranteed:
        raise UserError(f"{loaded.path}: mechanism: {text}; to play all the same: --unguaranteed")
    warn(text)


def _always_guaranteed(loaded: LoadedScenario) -> bool:
    """Whether nothing has to be computed to know: these choices of parameters contract on every graph."""
    rules = loaded.contract()
    separable = all(build(utility).separable for utility in loaded.utilities.values())
    return separable and rules["parameters"] in ("tuned", "eta")


def summary_outlook(loaded: LoadedScenario) -> Terms:
    """Price scale and certificate that the agents of a summary contract will find out; the rest of the terms
    is the first agent's. They depend on the utilities and not on the graph.

    Raises:
        ValueError: if some parameter cannot be.
    """
    rules = loaded.contract()
    everybody = [contribution_of(build(loaded.utilities[i]), rules) for i in loaded.agents]
    return weights.foreseen(everybody, rules, "features" in rules)


def _require_of_summary(loaded: LoadedScenario, warn: Callable[[str], None]) -> None:
    """``require`` for summary contracts."""
    rules = loaded.contract()
    try:
        agreed = summary_outlook(loaded)
    except ValueError as error:
        raise UserError(f"{loaded.path}: mechanism: {error}") from None
    if agreed.limit < 1.0:
        return
    text = (
        f"no guarantee: variant {rules['variant']!r} at delta = {agreed.delta.tolist()} has the certificate "
        f"L = {agreed.limit:.9g}; expected below 1"
    )
    if not rules.get("unguaranteed"):
        raise UserError(f"{loaded.path}: mechanism: {text}; to play all the same: --unguaranteed")
    warn(text)
