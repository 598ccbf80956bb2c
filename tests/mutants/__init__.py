"""Mutation testing: change the package in one place, and see a test fail (`make mutants`)."""
