"""Enclosures: rigorous bounds on what a program gives over a set of inputs, for all of many sets at once.

`methods.bounds` gives them by any of the methods that there are.
"""
