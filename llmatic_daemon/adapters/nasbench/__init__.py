"""NAS-Bench-201 in the place of LLM, lifter and trainers: cells are rewritten, parsed and looked up."""
