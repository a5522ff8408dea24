"""What type checkers see: links to the folders that `neuroleon` gives its name to (docs/adr/0001-import-name.md)."""
