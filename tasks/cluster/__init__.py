"""The Ray cluster, and the processes and signals of this machine."""
