"""Where a configuration comes from: files, overlay, variables, profiles, and what is said of each key."""
