"""What describes a scan: TOML in, checked dataclasses out."""
