"""Read, check and build manifests."""
