"""The sentence that every output carries."""

DISCLAIMER = "Research software, not a medical device. Planned, not for clinical use."
