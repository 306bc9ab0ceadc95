"""The style transfer methods: one file each, named like the method; see `registry`."""
