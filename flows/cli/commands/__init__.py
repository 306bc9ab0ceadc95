"""The commands of `stylegallery`; a module is imported only when its command is called."""
