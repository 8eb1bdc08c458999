"""The folders agents work in."""
