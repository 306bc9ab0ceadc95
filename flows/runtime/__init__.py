"""What a command sets up around a flow: environment, signals, a Prefect API, the run's outcome."""
