"""What a command needs around a flow: environment, signals, a Prefect API, the outcome."""
