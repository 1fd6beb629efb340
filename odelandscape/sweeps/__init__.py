"""Seeds over cores and machines, kept in a store, grouped into families."""
