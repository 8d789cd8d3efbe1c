"""Pictures of runs and models: pages of HTML that load nothing, attention matrices, curves of losses."""
