"""The commands of `brain`, one module for what belongs together; surfaces/cli.py loads a module when its command is used."""
