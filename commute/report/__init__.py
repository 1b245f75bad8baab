"""What is told of a verdict: tables for the terminal and a page for the browser."""
