"""Help for tests of programs that use the package."""
