"""Network mechanisms without the coordinator that the papers assume (spec of chapters 1-3, section 7)."""
