"""Figures beside their bars; each module is a program that exits 1 where a bar is missed."""
