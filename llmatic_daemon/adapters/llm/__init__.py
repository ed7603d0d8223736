"""LLM servers: clients, endpoints, retries, the circuit breaker, recordings."""
