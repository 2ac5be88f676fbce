"""A second account of chapter 4, from its formulas alone: the oracle of the mechanisms under node/."""
