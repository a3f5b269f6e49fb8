"""The sections of the configuration as pydantic models, one file for what each is about."""
