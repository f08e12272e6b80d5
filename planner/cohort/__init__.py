"""Many patients: the same planner over a cohort, its tables and its summary."""
