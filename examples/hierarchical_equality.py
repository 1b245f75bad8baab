"""Does a trained network compute hierarchical equality by way of its two equalities?"""

import commute as cm

def left(a, b): return a == b            # parameter names are the parents
def right(c, d): return c == d
def same(left, right): return left == right

shapes = cm.Finite(range(8))
algorithm = cm.CausalModel("hierarchical equality", inputs=dict(a=shapes, b=shapes, c=shapes, d=shapes),
                           mechanisms=[left, right, same])

@cm.claim
def hierarchical_equality() -> cm.Claim:
    network = cm.zoo.hierarchical_equality()          # or cm.Network(your_module, encode=…, decode=…)
    return cm.Claim(algorithm, network,
                    search=cm.Search(["left", "right"], sites=network.sites("*relu*"), method=cm.DAS(dims=8)),
                    at_least=0.95, confidence=0.99)
