"""Sacroplasty needle planning from pelvic CT. Research software, not a medical device."""
