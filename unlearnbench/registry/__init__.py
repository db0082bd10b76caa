"""Which plugins there are: their base class, finding, facts, identity, fingerprints. No torch until one is loaded."""
