"""What things cost. Figures and commands are in benchmarks/README.md; nothing here runs in the tests."""
