"""Network scenarios: links and flows of a scenario file, made into what each agent is told."""
