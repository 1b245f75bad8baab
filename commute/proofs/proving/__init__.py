"""Proving interchange claims: every base and source of a finite domain, or every input near given ones."""
