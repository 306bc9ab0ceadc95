"""Read, check and build manifests: catalogs of photos and galleries of references."""
