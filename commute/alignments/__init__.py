"""How an algorithm's variables and a network's features correspond, and how such an alignment is searched for."""
