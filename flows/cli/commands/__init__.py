"""One module per command of `stylegallery`; imported only when the command is called."""
