"""The conformance kit, tried on what is right and on what is wrong in one way each."""
