"""Random causal models, settings and interventions."""

import numpy as np
from hypothesis import strategies as st

import commute as cm
from commute.causal.mechanisms import Table

LABELS = ((False, True), ("red", "green", "blue"), (0, 1, 2, 3), ((0, 1), (1, 0)), (None, "some"))


@st.composite
def models(draw) -> cm.CausalModel:
    """Models with up to three inputs and four mechanisms that are tables."""
    domains = {f"x{i}": cm.Finite(draw(st.sampled_from(LABELS))) for i in range(draw(st.integers(1, 3)))}
    inputs = dict(domains)
    mechanisms = {}
    for i in range(draw(st.integers(1, 4))):
        parents = draw(st.lists(st.sampled_from(sorted(domains)), min_size=1, max_size=3, unique=True))
        domain = cm.Finite(draw(st.sampled_from(LABELS)))
        shape = [len(domains[p]) for p in parents]
        codes = np.random.default_rng(draw(st.integers(0, 2**32))).integers(len(domain), size=shape)
        mechanisms[f"v{i}"] = Table({p: domains[p] for p in parents}, codes, domain)
        domains[f"v{i}"] = domain
    declared = {v: domains[v] for v in mechanisms}
    return cm.CausalModel("random", inputs, mechanisms, domains=declared)


def settings_of(model: cm.CausalModel):
    """One setting of the inputs."""
    return st.fixed_dictionaries({v: st.sampled_from(model.domain(v).values) for v in model.inputs})


def batches_of(model: cm.CausalModel):
    """A batch of one to five settings, as lists."""
    rows = st.lists(settings_of(model), min_size=1, max_size=5)
    return rows.map(lambda listed: {v: [row[v] for row in listed] for v in model.inputs})
