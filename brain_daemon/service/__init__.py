"""The daemon: settings, start-up with recovery, one attempt from claim to outcome, the supervisor."""
